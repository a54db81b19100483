"""Describe content and progress of a store, a model or a cross-validation, without loading TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from epixs.checks.remarks import remarks_on
from epixs.compendium.read import experiments_of, open_compendium, provenance_of, regions_of
from epixs.compendium.status import store_status
from epixs.crossvalidation.status import RunStatus, folder_of_run, run_status
from epixs.errors import a_few
from epixs.factors.store import FactorStatus, factor_status
from epixs.imputation.roles import roles_in
from epixs.models.description import DESCRIPTION_FILE, Description, read_description
from epixs.models.kinds import kind_named
from epixs.storage.files import is_unfinished_run
from epixs.storage.store import Store, open_store
from epixs.training.verdict import Verdict, epochs_of, verdicts_of

FACTORS = "factors"
"""Kind of a store of genome factors."""

COLUMNS = [
    "accession", "biosample", "assay", "assay_class", "output_type", "status", "signal_mean", "signal_max",
    "covered_fraction",
]  # fmt: skip


@dataclass(frozen=True)
class Status:
    """Progress of a store, a model, a store of genome factors or a cross-validation.

    Parameters
    ----------
    path
        Its path or URL.
    holds
        `"compendium"`, `"model"`, `"genome factors"` or `"cross-validation"`.
    status
        `"complete"` or `"unfinished"`; for a model `"finished"`, `"interrupted"`, or `"fitted by a script"`,
        which leaves no record of its quality.
    done, total
        Number of tiles, blocks or fits that are done, and of all. For a model, both are the epochs trained.
    experiments
        Number of rows of a compendium.
    failed, removed
        Its experiments that could not be read, and those that were removed, as `(accession, reason)`.
    noted
        Its experiments whose files were unusual, as `(accession, note)`. The note says how they were read.
    best_epoch
        The epoch of a model whose weights were kept.
    verdicts
        Verdicts of a model's training on held-out entries, one per species.
    """

    path: str
    holds: str
    status: str
    done: int
    total: int
    experiments: int | None = None
    failed: list[tuple[str, str]] = field(default_factory=list)
    removed: list[tuple[str, str]] = field(default_factory=list)
    noted: list[tuple[str, str]] = field(default_factory=list)
    best_epoch: int | None = None
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.status not in ("unfinished", "interrupted")


def status(path: str | Path) -> Status:
    """Read the progress of a store, a model, a store of genome factors or a cross-validation.

    Parameters
    ----------
    path
        Path of any of these; a store may be a URL.

    Raises
    ------
    StoreError, TrainingError, AxisError
        If there is nothing of epixs at `path`, or it is damaged.
    """
    path = str(path)
    if is_model(path):
        return _status_of_model(path)
    if (folder := folder_of_run(path)) is not None:
        run = run_status(folder)
        state = "complete" if run.scores else "unfinished"
        return Status(path, "cross-validation", state, run.done, len(run.fits))
    opened = open_store(path)
    if opened.kind == FACTORS:
        factors = factor_status(opened)
        return Status(path, "genome factors", factors.status, factors.done, factors.plan.n_blocks)
    store = store_status(opened)
    return Status(
        path,
        "compendium",
        store.status,
        store.tiles_done,
        store.tiles,
        store.experiments,
        store.failed,
        store.removed,
        store.noted,
    )


def is_model(path: str | Path) -> bool:
    """Whether a folder holds a model, or a training run that has not written its model yet."""
    return (Path(path) / DESCRIPTION_FILE).is_file() or is_unfinished_run(Path(path))


def _status_of_model(path: str) -> Status:
    if not (Path(path) / DESCRIPTION_FILE).is_file():
        return Status(path, "model", "interrupted", 0, 0)
    description = read_description(Path(path))
    if "epochs" not in description.scores:
        return Status(path, "model", "fitted by a script", 0, 0)
    best, epochs = (int(description.scores.get(name, 0)) for name in ("best_epoch", "epochs"))
    epochs = max(epochs, epochs_of(path))  # the description may be of an earlier epoch, the best one
    state = "interrupted" if description.interrupted else "finished"
    verdicts = verdicts_of(path, best)
    return Status(path, "model", state, epochs, epochs, best_epoch=best, verdicts=verdicts)


@dataclass(frozen=True)
class Info:
    """Content of a store, a model, a store of genome factors or a cross-validation.

    Parameters
    ----------
    path
        Its path or URL.
    facts
        Its properties by name, `kind` first.
    table
        One row per experiment of a compendium, species of a model, or fit of a cross-validation; empty for
        genome factors.
    notes
        Remarks to read before it is used.
    """

    path: str
    facts: dict[str, Any]
    table: pd.DataFrame
    notes: list[str]


def info(path: str | Path) -> Info:
    """Describe the content of a store, a model, a store of genome factors or a cross-validation.

    Parameters
    ----------
    path
        Path of any of these; a store may be a URL, and unfinished.

    Raises
    ------
    StoreError, TrainingError, AxisError
        If there is nothing of epixs at `path`, or it is damaged.
    """
    path = str(path)
    if is_model(path):
        return _info_of_model(path)
    if (folder := folder_of_run(path)) is not None:
        return _info_of_run(path, run_status(folder))
    store = open_store(path)
    return _info_of_factors(path, store) if store.kind == FACTORS else _info_of_store(path, store)


def _info_of_store(path: str, store: Store) -> Info:
    dataset = open_compendium(store, unfinished=True)
    regions, table = regions_of(dataset), experiments_of(dataset)
    names = ("kind", "status", "species", "assembly", "units", "uncovered")
    facts: dict[str, Any] = {name: dataset.attrs[name] for name in names}
    facts |= {"bins": regions.n_bins, "bin_size_bp": dataset.attrs["bin_size"], "regions": len(regions)}
    facts |= {"loci": a_few(regions.loci)}
    facts |= {"experiments": len(table)}
    facts |= {f"{name}s": table[name].nunique() for name in ("biosample", "assay")}
    columns, notes = COLUMNS, []
    if facts["kind"] == "observed":
        notes = remarks_on(table, facts["species"], facts["uncovered"])
    elif roles := roles_in(table, facts["species"], provenance_of(dataset)):
        table, columns = table.assign(role=roles), ["accession", "role", *COLUMNS[1:]]
        facts["roles"] = table["role"].value_counts().to_dict()
    return Info(path, facts, table[columns], notes)


def _info_of_model(path: str) -> Info:
    description, state = read_description(Path(path)), _status_of_model(path)
    settings, axis = description.settings, description.axis
    kind = kind_named(settings.kind)
    facts = {
        "kind": f"model ({kind.name})",
        "status": state.status,
        "best_epoch": state.best_epoch,
        "epochs": state.total,
        "extends": description.extends or None,
        **_errors_of(description),
        "verdicts": [verdict.short for verdict in state.verdicts],
        **{name.replace(" ", "_").replace("-", "_"): text for name, text in kind.described(axis, settings)},
        "parameters": kind.parameters(axis, settings),
        "assays": len(axis.assays),
        "aliases": {part.species: part.aliases for part in axis.parts if part.aliases},
        "fingerprint": description.fingerprint,
    }
    table = pd.DataFrame(
        {
            "species": part.species,
            "assembly": part.regions.assembly,
            "bins": part.regions.n_bins,
            "biosamples": len(part.biosamples),
            "trained_on": len(part.training),
            "excluded": int(part.experiments["excluded"].sum()),
            "store": part.source,
        }
        for part in axis.parts
    )
    return Info(path, facts, table, [])


def _errors_of(said: Description) -> dict[str, float]:
    return {name: error for name, error in said.scores.items() if name.endswith("_mse")}


def _info_of_run(path: str, run: RunStatus) -> Info:
    facts = {
        "kind": "cross-validation",
        "status": "complete" if run.scores else "unfinished",
        "fits_done": run.done,
        "fits": len(run.fits),
        "species": run.species,
        "split_by": run.by,
        "split_fingerprint": run.split,
        **{
            f"{name}s": list(dict.fromkeys(run.fits[name]))
            for name in ("training_set", "model", "fold", "seed")
        },
        "scores": str(run.scores) if run.scores else None,
    }
    return Info(path, facts, run.fits, [])


def _info_of_factors(path: str, store: Store) -> Info:
    state: FactorStatus = factor_status(store)
    plan, part = state.plan, state.plan.part
    facts = {
        "kind": "genome factors",
        "status": state.status,
        "blocks_fitted": state.done,
        "blocks": plan.n_blocks,
        "model_fingerprint": plan.model,
        "species": part.species,
        "assembly": part.regions.assembly,
        "bins": part.regions.n_bins,
        "regions": len(part.regions),
        "experiments": len(part.training),
        "store": part.source,
        "bytes": plan.n_bytes,
    }
    return Info(path, facts, pd.DataFrame(), [])
