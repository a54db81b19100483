"""Add experiments and regions to a store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from epixs.catalog.experiments import Catalog
from epixs.compendium.create import grow_store
from epixs.compendium.plan import LABELS, Plan
from epixs.compendium.read import experiments_of, open_compendium, read_attributes, stored_plan
from epixs.compendium.schema import REMOVED
from epixs.errors import StoreError, counted
from epixs.genome.assembly import Assembly
from epixs.genome.regions import Regions
from epixs.ingestion.cost import unreadable_sources
from epixs.ingestion.plan import plan_ingest, states_of
from epixs.storage.location import is_url
from epixs.storage.store import Store
from epixs.tracks import Uncovered


def grow(
    store: Store, catalog: Catalog, regions: Regions | None, uncovered: Uncovered, known: Plan | None = None
) -> tuple[Store, Plan]:
    """Add to a store the experiments of a catalog, and the regions, that it lacks.

    Returns
    -------
    The store and its plan. If the catalog does not name a source and its file is gone, it has no state: its
    row stays as it is.

    Raises
    ------
    StoreError
        If catalog or regions contradict the store.
    """
    now = stored_plan(store)
    plan = grown_plan(store, now, catalog, regions, uncovered, known)
    attributes = store.attributes
    if attributes["plan"] != plan.fingerprint or "growth" in attributes:
        if "growth" not in attributes:
            _refuse_half_rows(store, now, plan, catalog.assembly)
        store = grow_store(store, plan)
    return store, plan


def grown_plan(
    store: Store,
    now: Plan,
    catalog: Catalog,
    regions: Regions | None,
    uncovered: Uncovered,
    known: Plan | None = None,
) -> Plan:
    """Plan a store with the experiments of a catalog, and the regions, that it lacks."""
    settings = ("observed", catalog.species, catalog.assembly.name, uncovered)
    stored = (now.kind, now.species, now.regions.assembly, now.uncovered)
    if settings != stored:
        raise StoreError(f"cannot append to {store}", got=" / ".join(settings), expected=" / ".join(stored))
    table = catalog.experiments
    states = dict(zip(table["accession"], states_of(table["path"], known), strict=True))
    planned = plan_ingest(catalog, regions or now.regions, uncovered, list(states.values()))
    given = planned.experiments
    _refuse_contradictions(store, now.experiments, given)
    new = given[~given["accession"].isin(now.experiments["accession"])]
    experiments = now.experiments.copy()
    for column in ("source", "source_size"):  # files may have moved
        moved = experiments["accession"].map(given.set_index("accession")[column])
        experiments[column] = moved.where(moved.notna(), experiments[column]).astype(
            experiments[column].dtype
        )
    plan = replace(
        now,
        experiments=pd.concat([experiments, new], ignore_index=True),
        regions=now.regions.extended(regions) if regions else now.regions,
        chrom_alias={**now.chrom_alias, **planned.chrom_alias},
    )
    named = plan.experiments["accession"].isin(list(states))
    exists = np.array([is_url(source) or os.path.exists(source) for source in plan.experiments["source"]])
    others = plan.experiments[~named & exists]  # their files may have changed since they were read
    states |= dict(zip(others["accession"], states_of(others["source"], known), strict=True))
    return replace(plan, states=[states.get(accession) for accession in plan.experiments["accession"]])


def _refuse_half_rows(store: Store, now: Plan, plan: Plan, assembly: Assembly) -> None:
    """Refuse to add to a store if some of its experiments would be lost; nothing is changed.

    These are experiments of the catalog whose files are gone, and, if regions are added, experiments that
    cannot be read over them.

    Raises
    ------
    StoreError
        If there are such experiments; the message names the first ones.
    """
    labels = experiments_of(open_compendium(store, unfinished=True))
    held = plan.experiments["accession"].isin(labels.loc[labels["status"] == "ok", "accession"])
    states = [state for state, is_held in zip(plan.states, held, strict=True) if is_held and state]
    gone = [source for source, size, _ in states if size < 0 and not is_url(source)]
    if gone:
        raise lost_sources(store, gone)
    if plan.regions == now.regions:
        return
    reasons = unreadable_sources(replace(plan, experiments=plan.experiments[held]), assembly)
    if reasons:
        accession, reason = next(iter(reasons.items()))
        raise StoreError(
            f"{counted(len(reasons), 'experiment')} of {store} cannot be read over the regions to add",
            got=f"{accession}: {reason}",
            expected="files that cover the added chromosomes, in their old places",
            next_step="bring the files back, leave those regions out, or `epixs remove` these experiments "
            "first; the store was not changed",
        )


def lost_sources(store: Store, gone: Sequence[str]) -> StoreError:
    """Make the error for rows that a store holds and whose sources are gone."""
    names = list(dict.fromkeys(gone))
    return StoreError(
        f"gone: {counted(len(names), 'source')} of rows that {store} already holds",
        got=", ".join(names[:3]),
        expected="the files the rows were read from",
        next_step="bring them back (is a disk not mounted?), or ingest the others into another store",
    )


def _refuse_contradictions(store: Store, mine: pd.DataFrame, given: pd.DataFrame) -> None:
    """Refuse an accession with labels other than the store's, and a second file for a (biosample, assay)."""
    removed = read_attributes(store)[REMOVED]
    both = mine.merge(given, on="accession", suffixes=("", "_given"))
    for column in LABELS:
        if column == "accession":
            continue
        other = both[both[column] != both[f"{column}_given"]]
        if len(other):
            row = other.iloc[0]
            raise StoreError(
                f"{store} holds {row['accession']} with another {column}",
                got=row[f"{column}_given"],
                expected=row[column],
            )
    present = mine[~mine["accession"].isin(removed)]
    pairs = present.merge(given, on=["biosample", "assay"], suffixes=("", "_given"))
    pairs = pairs[pairs["accession"] != pairs["accession_given"]]
    if len(pairs):
        row = pairs.iloc[0]
        raise StoreError(
            f"{store} has {row['biosample']} / {row['assay']} already",
            got=row["accession_given"],
            expected=row["accession"],
            next_step=f"keep one: `epixs remove {store} {row['accession']}` makes room for the other",
        )
