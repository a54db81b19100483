"""Run a cross-validation: carry out the fits that its ledger lacks, and join the table of scores."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from epixs.cluster.resume import run_pending, unwritten
from epixs.cluster.tasks import Progress
from epixs.crossvalidation.fit import LABELS, carry_out, clear, scores_key, write_region_stores
from epixs.crossvalidation.plan import CrossValidation, Fit, plan_crossvalidation
from epixs.crossvalidation.settings import ALL, Config
from epixs.crossvalidation.status import TASKS, FitRow
from epixs.errors import ConfigError
from epixs.evaluation.runs import PLAN, PLAN_FILE, SCORES_FILE
from epixs.storage.files import write_text
from epixs.storage.fingerprint import crc32
from epixs.storage.ledger import Record, read_ledger
from epixs.storage.lock import writing
from epixs.storage.store import (
    COMPLETE,
    UNFINISHED,
    Store,
    check_ledger,
    differences,
    find_or_make,
    make_store,
    read_json,
)
from epixs.storage.tiling import Key

KIND = "crossvalidation"
"""Kind of the store of tasks."""


def crossvalidate(
    config: Config | str | Path,
    *,
    out: str | Path | None = None,
    client: Any = None,
    progress: Callable[[Progress], None] | None = None,
) -> pd.DataFrame:
    """Fit each model on each training set without each fold, impute the fold and score it.

    Run again, it resumes.

    Parameters
    ----------
    config
        TOML file (docs/crossvalidation.md), or what `read_config` returns for it.
    out
        Folder of the run, instead of the one that the configuration names.
    client
        A `distributed.Client`. Each worker carries out one fit at a time, and all must see the same folders.
        Without a client, fits follow each other in this process, on all its cores.
    progress
        Function called after each fit.

    Returns
    -------
    The table of scores, as in `scores.tsv` in the folder: `training_set model seed fold method species
    biosample assay assay_class` and the columns of `evaluate`. It has one row per fit and experiment, and one
    per baseline for each training set and fold, with model and seed `-`. `attrs["notes"]` are those of
    `evaluate`, and `attrs["plan"]` is the plan, by which `tables` knows the training sets of one species.

    Raises
    ------
    ConfigError
        If a setting is impossible, or the folder holds a run of something else.
    AxisError, StoreError, TrainingError
        If stores do not fit together, or a fit fails; the message names it.
    """
    plan = plan_crossvalidation(config)
    folder = Path(out or plan.config.run.folder).resolve()
    _check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    location = str(folder / TASKS)
    with writing(location):
        store = _prepare(location, plan)
        write_text(folder / PLAN_FILE, json.dumps(plan.to_dict(), indent=1, ensure_ascii=False) + "\n")
        plan.split.write(folder / "splits")
        pending = _pending(store, plan)
        by_fold = {fit.fold: fit for fit in pending if fit.fold.regions}
        for fit in by_fold.values():
            write_region_stores(fit, folder / "regions")
        work = functools.partial(carry_out, str(folder), plan.config.run.keep)
        run_pending(store, work, pending, len(plan.fits), client=client, progress=progress)
        for fit in plan.fits:  # files that a killed run did not delete
            clear(folder / "fits" / fit.name, plan.config.run.keep)
        _remove_if_empty(folder / "fits")
        if plan.config.run.keep != ALL:
            shutil.rmtree(folder / "regions", ignore_errors=True)
        records = _records(store)
        _write_scores(store, plan, folder / SCORES_FILE)
        store.with_attributes({"status": COMPLETE})
    table = read_scores(folder / SCORES_FILE)
    table.attrs |= {"notes": _notes(plan, records), PLAN: plan.to_dict()}
    return table


def read_scores(path: str | Path) -> pd.DataFrame:
    """Read a table of scores, with labels as text and numbers exact to the last digit."""
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    for name in table.columns.difference([*LABELS, "role"]):
        values = table[name]
        if name == "same_units":
            table[name] = values == "True"
        elif name in ("bins", "observed_bins"):
            table[name] = values.astype(int)
        else:  # `float` is exact; `read_csv` is not, in the last digit
            table[name] = np.array([float(text) if text != "NA" else np.nan for text in values])
    return table


def _notes(plan: CrossValidation, records: Mapping[Key, Record]) -> list[str]:
    """List the notes on all fits, each once, with the fits that it is on unless it is on all."""
    fits: dict[str, list[Fit]] = {}
    for fit in plan.fits:
        for note in records[fit.key].rows[0]["remarks"]:
            fits.setdefault(note, []).append(fit)
    notes = []
    for note, on in fits.items():
        others = f" and {len(on) - 1} other{'s' * (len(on) > 2)}" if len(on) > 1 else ""
        notes.append(note if len(on) == len(plan.fits) else f"{on[0].description}{others}: {note}")
    return notes


def _check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / TASKS).is_dir():
        raise ConfigError(
            f"{folder} is not empty and no cross-validation",
            expected="a new or empty folder, or that of the run to go on with",
        )
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file", expected="a folder for the run")


def _prepare(location: str, plan: CrossValidation) -> Store:
    """Open or make the store of tasks, which holds a ledger with one record per fit, and the fits' rows."""
    grid = (len(plan.fits), 1)
    keep = plan.config.run.keep
    attributes = {
        "kind": KIND, "status": UNFINISHED, "plan_settings": json.dumps(plan.settings), "keep": keep
    }  # fmt: skip

    def check(store: Store) -> None:
        stored = read_json(store, "plan_settings", store.attributes.get("plan_settings"))
        differ = differences(plan.settings, stored)
        if store.kind != KIND or differ:
            raise ConfigError(
                f"{Path(location).parent} is the run of another configuration",
                got="; ".join(differ[:3]) or f"a store of kind {store.kind}",
                expected="the same configuration and stores",
                next_step="name another folder with --out, or delete it",
            )
        kept = store.attributes.get("keep", keep)
        if kept != keep:
            raise ConfigError(
                f"keep = {keep!r}: {Path(location).parent} was begun with another setting",
                got=f"{kept!r} there",
                expected="the same, so that every fit keeps the same files",
                next_step=f"set keep = {kept!r} in [run], or name another folder with --out",
            )

    def make(again: bool) -> Store:
        return make_store(location, attributes, grid, lambda store: None, again=again)

    store = find_or_make(location, check, make)
    check_ledger(store, grid)
    return store


def _records(store: Store) -> Mapping[Key, Record]:
    return read_ledger(store, FitRow)


def _pending(store: Store, plan: CrossValidation) -> list[Fit]:
    """List the fits that have no record, or whose rows are lost or damaged."""
    records = _records(store)
    lacking = unwritten(plan.fits, records)
    damaged = [fit for fit in plan.fits if fit not in lacking and not _is_whole(store, fit, records[fit.key])]
    return sorted([*lacking, *damaged], key=lambda fit: fit.number)


def _is_whole(store: Store, fit: Fit, record: Record) -> bool:
    text = store.get(scores_key(fit))
    return text is not None and [f"{crc32(memoryview(text)):08x}"] == [row["checksum"] for row in record.rows]


def _write_scores(store: Store, plan: CrossValidation, path: Path) -> None:
    """Join the rows of all fits as text, so that no digit changes."""
    texts = []
    for fit in plan.fits:
        lines = (store.get(scores_key(fit)) or b"").decode().rstrip("\n").split("\n")
        texts.append((lines[0].split("\t"), [line.split("\t") for line in lines[1:]]))
    columns = list(dict.fromkeys(name for header, _ in texts for name in header))
    lines = ["\t".join(columns)]
    for header, rows in texts:
        for row in rows:
            cells = dict(zip(header, row, strict=True))
            lines.append("\t".join(cells.get(name, "NA") for name in columns))
    write_text(path, "\n".join(lines) + "\n")


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
