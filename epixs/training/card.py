"""The model card: a page in a model folder that says what the model is good for, and what not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from epixs.axis.axis import JointAxis
from epixs.config import Settings
from epixs.models.description import read_description
from epixs.models.kinds import kind_named
from epixs.storage.files import write_text
from epixs.storage.version import epixs_version
from epixs.training.verdict import GroupError, verdicts_on

CARD_FILE = "MODEL_CARD.md"

MOST_LISTED = 50
"""Maximum number of excluded experiments that the card names."""


def write_card(folder: Path, errors: Sequence[GroupError], held_out: str) -> None:
    """Write the card of a trained model beside its weights.

    Parameters
    ----------
    folder
        Folder of the model.
    errors
        Errors of the epoch that was kept, by species and by assay.
    held_out
        Entries that these errors were measured on, in words.
    """
    description = read_description(folder)
    axis, settings = description.axis, description.settings
    kind = kind_named(settings.kind)
    lines = [
        f"# Model card: {folder.resolve().name}",
        "",
        f"A model of kind `{kind.name}` with {kind.parameters(axis, settings):,} parameters, trained by "
        f"epixs {epixs_version()}. Fingerprint `{description.fingerprint}`.",
        "",
        "## Data",
        "",
        *_table(
            ("species", "assembly", "bins", "biosamples", "assays", "trained on", "excluded", "store"),
            (_species_row(axis, name) for name in axis.species),
        ),
        *_excluded(axis),
        "## Scores",
        "",
        f"Mean squared errors in arcsinh units on {held_out}, beside those of two baselines that know the "
        "same experiments. `history.csv` has those of every epoch. To find out how good imputed tracks of "
        "unmeasured experiments are, exclude measured ones and score them: `epixs train --exclude`, "
        "`epixs evaluate`.",
        "",
        *_table(
            ("species", "assay", "model", "average activity", "mean"),
            ((e.species, e.assay or "all", e.model, e.average_activity, e.mean) for e in errors),
        ),
        *(f"* {verdict.short}" for verdict in verdicts_on(errors)),
        "",
        "## Use",
        "",
        f"Imputes signal tracks at 25 bp, in arcsinh units, of the biosamples of {', '.join(axis.species)} "
        "and the assays that it was trained on: `epixs impute MODEL STORE --out IMPUTED`.",
        "",
        "## Limits",
        "",
        *(f"* {limit}" for limit in (*LIMITS, *kind.limits)),
        "",
        "## Settings",
        "",
        *_settings(settings),
        "",
    ]
    write_text(folder / CARD_FILE, "\n".join(lines))


LIMITS = (
    "Imputed tracks are predictions. They do not show what is particular to a biosample unless other tracks "
    "of it do, and are no evidence that an experiment would find a peak.",
    "The height of an unmeasured track is estimated from few others: its shape is more certain.",
    "It is not meant for diagnosis, or for any decision about a person.",
)


def _species_row(axis: JointAxis, species: str) -> tuple[object, ...]:
    part = axis.part(species)
    return (
        species,
        part.regions.assembly,
        part.n_positions[0],
        len(part.biosamples),
        part.training["assay"].nunique(),
        len(part.training),
        int(part.experiments["excluded"].sum()),
        part.source,
    )


def _excluded(axis: JointAxis) -> list[str]:
    """List the excluded experiments, on which the model may therefore be scored."""
    pairs = [
        (part.species, biosample, assay)
        for part in axis.parts
        for biosample, assay in part.experiments[part.experiments["excluded"]][
            ["biosample", "assay"]
        ].to_numpy()
    ]
    if not pairs:
        return []
    more = len(pairs) - MOST_LISTED
    return [
        f"Excluded, and so never seen in training ({len(pairs):,}):",
        "",
        *_table(("species", "biosample", "assay"), pairs[:MOST_LISTED]),
        *([f"and {more:,} more, which `model.json` names.", ""] if more > 0 else []),
    ]


def _settings(settings: Settings) -> list[str]:
    rows = [(name, value) for part in settings.to_dict().values() for name, value in part.items()]
    return _table(("setting", "value"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Format a table in Markdown, followed by an empty line."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(_cell, line)) + " |" for line in lines] + [""]


def _cell(value: object) -> str:
    """Format a cell, with Markdown's special characters escaped."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}"
    text = f"{value:,}" if type(value) is int else str(value)
    for sign in "\\|<>`*_[]":
        text = text.replace(sign, f"\\{sign}") if text != "---" else text
    return text.replace("\n", " ")
