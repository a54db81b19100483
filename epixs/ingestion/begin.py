"""Create the store of a catalog, or open the one to continue."""

from __future__ import annotations

from epixs.catalog.experiments import Catalog
from epixs.compendium.create import prepare_store
from epixs.compendium.plan import Plan
from epixs.errors import TrackError
from epixs.genome.assembly import Assembly
from epixs.genome.regions import Regions
from epixs.ingestion.plan import no_regions, plan_ingest, states_of
from epixs.storage.store import Store
from epixs.tracks import Uncovered
from epixs.tracks.opened import open_checked

MOST_TRIED = 64
"""Number of files to try before a store is refused because none of them can be read."""


def begin(
    location: str, catalog: Catalog, regions: Regions | None, uncovered: Uncovered, known: Plan | None = None
) -> tuple[Store, Plan]:
    """Create the store of a catalog, or open it to continue; returns the store and its plan."""
    if regions is None:
        raise no_regions(location)
    plan = plan_ingest(catalog, regions, uncovered, states_of(catalog.experiments["path"], known))
    return prepare_store(location, plan, before=lambda: refuse_if_nothing_is_readable(plan, catalog.assembly))


def refuse_if_nothing_is_readable(plan: Plan, assembly: Assembly) -> None:
    """Refuse to make a store if no row could be read.

    Raises
    ------
    TrackError
        If none of the files tried can be read; the message gives the first file's reason.
    """
    chroms = tuple(dict.fromkeys(plan.regions.chrom))
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
