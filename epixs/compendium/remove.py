"""Mark experiments as removed, and undo that."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from epixs.compendium.plan import experiment_names
from epixs.compendium.read import read_attributes, stored_plan
from epixs.compendium.schema import EXPERIMENT, REMOVED, STATUS
from epixs.compendium.summary import summarise
from epixs.compendium.write import put_label
from epixs.errors import StoreError
from epixs.storage.ledger import read_ledger
from epixs.storage.location import reaching
from epixs.storage.lock import writing
from epixs.storage.store import Store, consolidate, open_store


def remove(
    store: str | Path,
    accessions: Sequence[str],
    *,
    reason: str = "no reason given",
    undo: bool = False,
) -> list[str]:
    """Mark experiments of a finished store as removed, or undo that.

    Parameters
    ----------
    store
        An observed store. The values stay in it, but epixs no longer uses them.
    accessions
        Accessions of the experiments.
    reason
        Reason, for readers of the store.
    undo
        Remove the mark instead.

    Returns
    -------
    The accessions whose mark changed: with `undo`, those that had been removed.

    Raises
    ------
    StoreError
        If an accession is not in the store, the store is unfinished, or another run is writing it.
    """
    if undo:
        return restore_experiments(store, accessions)
    remove_experiments(store, accessions, reason)
    return list(accessions)


def remove_experiments(place: Store | str | Path, accessions: Sequence[str], reason: str) -> None:
    """Mark experiments of a finished store as removed: epixs no longer uses them; `status` gives the reason.

    Their values stay, so that `restore_experiments` can undo it.

    Raises
    ------
    StoreError
        If an accession is not in the store, the store is unfinished, or another run is writing it.
    """
    _mark(place, accessions, lambda marks: marks | dict.fromkeys(accessions, reason))


def restore_experiments(place: Store | str | Path, accessions: Sequence[str]) -> list[str]:
    """Undo `remove_experiments`; returns the accessions that had been removed.

    Raises
    ------
    StoreError
        If an accession is not in the store, the store is unfinished, or another run is writing it.
    """
    before = _mark(place, accessions, lambda marks: {k: v for k, v in marks.items() if k not in accessions})
    return [accession for accession in accessions if accession in before]


def _mark(
    place: Store | str | Path,
    accessions: Sequence[str],
    change: Callable[[dict[str, str]], dict[str, str]],
) -> dict[str, str]:
    """Change the marks of removed experiments; returns the marks as they were before."""
    location = open_store(place).location
    with reaching(location), writing(location):
        store = open_store(location)  # opened again, now that no other run can change it
        attributes = read_attributes(store)
        if attributes["kind"] != "observed":
            raise StoreError(f"{store} is {attributes['kind']}", expected="a store of observed experiments")
        if not store.is_complete:
            raise StoreError(f"{store} is unfinished", next_step="run the command that writes it again")
        plan = stored_plan(store)
        known = set(plan.experiments["accession"])
        unknown = [name for name in accessions if name not in known]
        if unknown:
            raise StoreError(
                f"{store} has no such experiment",
                got=", ".join(unknown[:5]),
                expected="accessions as `epixs info` lists them",
            )
        marks = change(attributes[REMOVED])
        _refuse_twins(store, plan.experiments, marks)
        store = store.with_attributes({REMOVED: json.dumps(marks)})
        summary = summarise(plan, read_ledger(store), marks)
        status = STATUS
        put_label(store.group, status, summary["status"].to_numpy())
        if EXPERIMENT.name in store.group:  # `finalise` adds it to stores of earlier versions
            put_label(store.group, EXPERIMENT, experiment_names(plan.experiments, marks))
        consolidate(store.group.store)
    return dict(attributes[REMOVED])


def _refuse_twins(store: Store, experiments: pd.DataFrame, marks: Mapping[str, str]) -> None:
    """Refuse marks that leave two experiments of one (biosample, assay)."""
    present = experiments[~experiments["accession"].isin(marks)]
    twins = present[present.duplicated(["biosample", "assay"], keep=False)]
    if len(twins):
        row = twins.iloc[0]
        raise StoreError(
            f"{store} would hold {row['biosample']} / {row['assay']} twice",
            got=", ".join(twins["accession"].iloc[:2]),
            expected="one experiment for each biosample and assay",
            next_step="remove the other one first",
        )
