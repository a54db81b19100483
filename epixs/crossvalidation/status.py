"""Read the progress of a cross-validation, from its folder alone. No TensorFlow is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import pandas as pd

from epixs.declared import read_json_file
from epixs.errors import StoreError
from epixs.evaluation.runs import MAX_PLAN_BYTES, PLAN_FILE, SCORES_FILE
from epixs.storage.ledger import read_ledger
from epixs.storage.store import open_store

TASKS = "tasks"
"""Name of the store of the fits' records, within the folder of a run."""


class FitRow(TypedDict):
    """The ledger's row for a fit; `checksum` is that of its rows in the table of scores."""

    checksum: str
    seconds: float
    epixs_version: str
    remarks: list[str]


class PlannedFit(TypedDict):
    """Fields of a fit that are read from the plan of a run."""

    number: int
    training_set: str
    model: str
    seed: int
    fold: str


class PlannedSplit(TypedDict):
    """Fields of the split that are read from the plan of a run."""

    by: str
    fingerprint: str


class Planned(TypedDict):
    """Fields that are read from the plan of a run."""

    species: str
    split: PlannedSplit
    fits: list[PlannedFit]


@dataclass(frozen=True)
class RunStatus:
    """Progress of a cross-validation.

    Parameters
    ----------
    species, by, split
        Species whose experiments are excluded, the criterion of the split, and the fingerprint of the folds.
    fits
        One row per fit: `number training_set model seed fold done seconds`; NaN seconds until it is done.
    scores
        Path of the table of scores, if all fits are done.
    """

    species: str
    by: str
    split: str
    fits: pd.DataFrame
    scores: Path | None

    @property
    def done(self) -> int:
        """Number of fits that are done."""
        return int(self.fits["done"].sum())


def folder_of_run(path: str | Path) -> Path | None:
    """Return the folder of a cross-validation, given it or its store of tasks; None if `path` is neither."""
    for folder in (Path(path), Path(path).parent):
        if (folder / PLAN_FILE).is_file() and (folder == Path(path) or Path(path).name == TASKS):
            return folder
    return None


def run_status(folder: Path) -> RunStatus:
    """Read the progress of a cross-validation.

    Raises
    ------
    StoreError
        If its plan or its ledger is damaged.
    """
    again = "run `epixs crossvalidate` again: it writes the file anew"
    plan = read_json_file(Planned, folder / PLAN_FILE, MAX_PLAN_BYTES, StoreError, again)
    records = read_ledger(open_store(folder / TASKS), FitRow)
    table = pd.DataFrame([{name: fit[name] for name in PlannedFit.__annotations__} for fit in plan["fits"]])
    rows = [
        records[number - 1, 0].rows[0] if (number - 1, 0) in records else None for number in table["number"]
    ]
    table["done"] = [row is not None for row in rows]
    table["seconds"] = [row["seconds"] if row else float("nan") for row in rows]
    scores = folder / SCORES_FILE
    is_over = bool(table["done"].all()) and scores.is_file()
    return RunStatus(
        plan["species"], plan["split"]["by"], plan["split"]["fingerprint"], table, scores if is_over else None
    )
