"""The model card: a page in a model folder that says what the model is good for, and what not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from epixs.axis.axis import JointAxis
from epixs.axis.targets import lacking_assays
from epixs.config import Settings
from epixs.errors import counted
from epixs.models.description import Description, read_description
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
        f"epixs {epixs_version()}{_epochs(description)}. Fingerprint `{description.fingerprint}`.",
        "",
        "## Data",
        "",
        *_table(
            ("species", "assembly", "bins", "biosamples", "assays", "trained on", "excluded", "store"),
            (_species_row(axis, name) for name in axis.species),
        ),
        *_excluded(axis),
        *_units(axis),
        "## Scores",
        "",
        f"Mean squared errors in arcsinh units on {held_out}, beside those of two baselines that know the "
        "same experiments. `history.csv` has those of every epoch. To find out how good imputed tracks of "
        "unmeasured experiments are, exclude measured ones and score them: `epixs train --exclude`, "
        "`epixs evaluate`.",
        "",
        *_table(
            ("species", "assay", "model", "average activity", "mean"),
            ((e.species, e.assay or "compared", e.model, e.average_activity, e.mean) for e in errors),
        ),
        "In a row `compared` are all entries of the species' assays that average activity can predict.",
        "",
        *(f"* {verdict.short}" for verdict in verdicts_on(errors)),
        *_unscored(axis, errors),
        "",
        "## Use",
        "",
        f"Imputes signal tracks at 25 bp, in arcsinh units, of the biosamples of {', '.join(axis.species)} "
        "and the assays that it was trained on: `epixs impute MODEL STORE --out IMPUTED`.",
        "",
        *_zero_shot(axis),
        "## Limits",
        "",
        *(f"* {limit}" for limit in (*LIMITS, *kind.limits)),
        "",
        "## Settings",
        "",
        "With 0, epixs chooses, or there is no such limit, or this kind of model does not use the setting.",
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


def _epochs(description: Description) -> str:
    """Say for how long a model was trained, if it is known."""
    epochs = int(description.scores.get("epochs", 0))
    kept = int(description.scores.get("best_epoch", 0))
    return f" for {counted(epochs, 'epoch')}, of which it has the weights of number {kept}" if epochs else ""


def _units(axis: JointAxis) -> list[str]:
    """Name the units of each species' tracks, which are those of what is imputed."""
    rows = [
        (part.species, ", ".join(sorted(set(map(str, part.training["output_type"])))))
        for part in axis.parts
        if len(part.training)
    ]
    return [
        "Units of the tracks, before arcsinh. Errors in different units are not comparable:",
        "",
        *_table(("species", "units"), rows),
    ]


def _unscored(axis: JointAxis, errors: Sequence[GroupError]) -> list[str]:
    """List the assays of which nothing was held out."""
    lines = []
    for part in axis.parts:
        scored = {error.assay for error in errors if error.species == part.species}
        unscored = sorted({part.store_name(name) for name in part.training["assay"]} - scored)
        if scored and unscored:
            lines.append(f"* not scored in {_cell(part.species)}: {', '.join(map(_cell, unscored))}")
    return lines


def _zero_shot(axis: JointAxis) -> list[str]:
    """List the assays that can only be imputed zero-shot, by species."""
    lines = []
    for part in axis.parts:
        lacking = sorted(map(part.store_name, lacking_assays(axis, (part.species,))))
        if lacking:
            more = f" and {len(lacking) - MOST_LISTED:,} more" if len(lacking) > MOST_LISTED else ""
            names = ", ".join(map(_cell, lacking[:MOST_LISTED]))
            lines.append(
                f"* zero-shot in {_cell(part.species)}, which has no training experiment: {names}{more}"
            )
    return [*lines, ""] if lines else []


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
