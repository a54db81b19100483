"""Settings that define a context model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from epixs.config import SHARE, ModelSettings, between, sizes

KEYS = 16
"""Length of a head's keys and queries."""


@dataclass(frozen=True)
class ContextSettings(ModelSettings):
    """Settings of the kind `context`, which reads the tracks observed around a bin.

    Parameters
    ----------
    members
        Number of networks that are trained side by side, each on its own targets; the prediction is their
        mean.
    token, heads, hidden, assay_factors
        Sizes of each network: width of a track's token, heads that weigh the tokens, widths of the layers
        behind, and length of the factors of an assay.
    member_held_out
        Share of the tracks that each member never sees; errors are measured on these.
    episodes
        Share of the training targets whose assay is hidden from their whole species, as for zero-shot
        imputation; half of that if no assay is to be imputed zero-shot, and at most a tenth with one species.
    target
        Target species of zero-shot imputation, several separated by commas: all assays that they lack are
        trained for. If empty, the model is trained for the assays that are excluded as a whole.
    """

    kind: ClassVar[str] = "context"

    members: Annotated[int, between(2, 64)] = 8
    token: Annotated[int, between(1, 65_536)] = 32
    heads: Annotated[int, between(1, 1_024)] = 4
    hidden: Annotated[tuple[int, ...], sizes()] = (64, 64)
    assay_factors: Annotated[int, between(1, 65_536)] = 16
    member_held_out: Annotated[float, SHARE] = 0.1
    episodes: Annotated[float, SHARE] = 0.5
    target: str = ""
