"""Roles of imputed experiments: the assay was never trained on in that species, or only the pair was not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

ZERO_SHOT = "zero-shot"
"""Role of an experiment whose assay has no training experiment in its species."""

GAP_FILL = "gap fill"
"""Role of an experiment that was not trained on, of an assay that was trained on in its species."""

TRAINED_ON = "trained on"


def roles_in(experiments: pd.DataFrame, species: str, provenance: Mapping[str, Any]) -> list[str]:
    """List the role of each experiment of a table; empty if the provenance lacks the training experiments."""
    training = provenance.get("training", {}).get(species)
    if training is None:
        return []
    aliases = training.get("aliases", {})
    pairs = {(biosample, assay) for biosample, assay in training["experiments"]}
    assays = {assay for _, assay in pairs}
    roles = []
    for biosample, name in zip(experiments["biosample"], experiments["assay"], strict=True):
        assay = aliases.get(name, name)
        not_trained_on = GAP_FILL if assay in assays else ZERO_SHOT
        roles.append(TRAINED_ON if (biosample, assay) in pairs else not_trained_on)
    return roles
