"""A new store for a catalog, or the one to go on with."""

from __future__ import annotations

from epixs.catalog.experiments import Catalog
from epixs.compendium.create import prepare_store, store_exists
from epixs.compendium.plan import Plan
from epixs.errors import TrackError
from epixs.genome.assembly import Assembly
from epixs.genome.regions import Regions
from epixs.ingestion.plan import no_regions, plan_ingest
from epixs.ingestion.tile import State
from epixs.tracks import Uncovered
from epixs.tracks.opened import open_checked
from epixs.tracks.source import source_states

MOST_TRIED = 64
"""Files that are tried before a store is refused because none of them can be read."""


def begin(
    path: str, catalog: Catalog, regions: Regions | None, uncovered: Uncovered
) -> tuple[Plan, list[State | None]]:
    """Create the store of a catalog, or go on with it; returns its plan and the state of each source."""
    if regions is None:
        raise no_regions(path)
    states = source_states(catalog.experiments["path"])
    plan = plan_ingest(catalog, regions, uncovered, states)
    if not store_exists(path):
        refuse_if_nothing_is_readable(plan, catalog.assembly)
    return prepare_store(path, plan), list(states)


def refuse_if_nothing_is_readable(plan: Plan, assembly: Assembly) -> None:
    """Refuse to make a store of which no row can be read.

    Raises
    ------
    TrackError
        With the reason of the first file.
    """
    chroms = dict.fromkeys(plan.regions.chrom)
    reasons = []
    for source in plan.experiments["source"].head(MOST_TRIED):
        try:
            open_checked(source, assembly, chroms).close()
        except TrackError as error:
            reasons.append(error.message)
        else:
            return
    raise TrackError(
        f"none of the {len(reasons)} files can be read over these regions, so no store was made. "
        f"The first: {reasons[0]}"
    )
