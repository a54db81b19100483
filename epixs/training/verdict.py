"""Judge a model in one sentence: its held-out errors beside those of average activity and the mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from epixs.errors import counted
from epixs.training.history import HISTORY_FILE, read_history

KINDS = {"model": "held_out_mse", "average_activity": "average_activity_mse", "mean": "mean_mse"}
"""Column of the history for each attribute of `GroupError`."""


@dataclass(frozen=True)
class GroupError:
    """Mean squared errors of one species, or of one assay in it, over the same held-out entries.

    `assay` is empty for all comparable assays of a species together. All errors are in squared arcsinh units.
    Those of the baselines are NaN if an assay has no other experiment. `entries` is None for errors from a
    history, which does not hold it.
    """

    species: str
    assay: str
    entries: int | None
    model: float
    average_activity: float
    mean: float


@dataclass(frozen=True)
class Verdict:
    """Judgement of a model on the held-out entries of one species.

    Parameters
    ----------
    species
        Name of the species.
    model_mse, average_activity_mse, mean_mse
        Errors of the model and of two baselines over the same entries, squared arcsinh units; NaN if nothing
        was held out, or nothing can be compared.
    assays_better, assays_compared, assays_alone
        Number of assays on which the model beats average activity, of all that can be compared, and of those
        with one training experiment, which cannot.
    judgement
        `better than average activity`, `worse than average activity`, `worse than a constant`, or that it is
        not known.
    """

    species: str
    model_mse: float
    average_activity_mse: float
    mean_mse: float
    assays_better: int
    assays_compared: int
    assays_alone: int
    judgement: str

    @property
    def is_bad(self) -> bool:
        """Whether a baseline is at least as good."""
        return self.judgement in (WORSE, USELESS)

    @property
    def short(self) -> str:
        """The judgement and the errors that it rests on."""
        if math.isnan(self.model_mse):
            return f"{self.species}: {self.judgement}"
        text = f"{self.species}: {self.judgement} (MSE {self.model_mse:.4f}"
        if self.assays_compared:
            text += f", average activity {self.average_activity_mse:.4f}, the mean {self.mean_mse:.4f}"
            text += f"; better on {self.assays_better} of {counted(self.assays_compared, 'assay')} scored"
        return f"{text})"


BETTER, WORSE = "better than average activity", "worse than average activity"
USELESS = "worse than a constant"
ALONE = "nothing to compare with"
UNKNOWN = "nothing was held out"


def verdicts_on(errors: Sequence[GroupError]) -> list[Verdict]:
    """Give one verdict per species."""
    return [
        _verdict(whole, [e for e in errors if e.assay and e.species == whole.species])
        for whole in errors
        if not whole.assay
    ]


def _verdict(whole: GroupError, assays: Sequence[GroupError]) -> Verdict:
    compared = [error for error in assays if not math.isnan(error.average_activity)]
    if math.isnan(whole.model):
        judgement = UNKNOWN
    elif not compared:
        judgement = ALONE
    elif whole.model >= whole.mean:
        judgement = USELESS
    else:
        judgement = WORSE if whole.model >= whole.average_activity else BETTER
    better = sum(error.model < error.average_activity for error in compared)
    return Verdict(
        whole.species,
        whole.model,
        whole.average_activity,
        whole.mean,
        better,
        len(compared),
        len(assays) - len(compared),
        judgement,
    )


def verdicts_of(folder: str | Path, best_epoch: int) -> list[Verdict]:
    """Return the verdicts of training on a model folder, from its history; none if it has no history.

    Raises
    ------
    TrainingError
        If the history is damaged.
    """
    folder = Path(folder)
    if not (folder / HISTORY_FILE).is_file():
        return []
    history = read_history(folder)
    if best_epoch not in history["epoch"]:
        return []
    at = history["epoch"].index(best_epoch)
    return verdicts_on(errors_in({name: values[at] for name, values in history.items()}))


def epochs_of(folder: str | Path) -> int:
    """Return the number of epochs in the history of a model folder; 0 without one."""
    folder = Path(folder)
    return len(read_history(folder)["epoch"]) if (folder / HISTORY_FILE).is_file() else 0


def errors_in(row: Mapping[str, float]) -> list[GroupError]:
    """Read errors by species and assay from one row of a history."""
    prefix = f"{KINDS['model']}/"
    groups = [name.removeprefix(prefix) for name in row if name.startswith(prefix)]
    errors = []
    for group in groups:
        species, _, assay = group.partition("/")
        model, average, mean = (row.get(f"{kind}/{group}", math.nan) for kind in KINDS.values())
        errors.append(GroupError(species, assay, None, model, average, mean))
    return errors
