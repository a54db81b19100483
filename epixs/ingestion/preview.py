"""Show the plan of an ingest before it runs."""

from __future__ import annotations

from pathlib import Path

from epixs.catalog.experiments import Catalog
from epixs.compendium.create import check_store_of
from epixs.compendium.plan import Plan
from epixs.compendium.read import stored_plan
from epixs.genome.regions import Regions
from epixs.ingestion.append import grown_plan
from epixs.ingestion.plan import no_regions, plan_ingest
from epixs.storage.location import absolute, reaching
from epixs.storage.store import open_store, store_exists
from epixs.tracks import Uncovered


def preview(
    path: str | Path,
    catalog: Catalog,
    regions: Regions | None,
    uncovered: Uncovered = "zero",
    *,
    append: bool = False,
) -> Plan:
    """Return the plan that an ingest would carry out; nothing is written.

    Raises
    ------
    StoreError
        If the store at `path` was made from something else.
    """
    location = absolute(path)
    with reaching(location):
        store = open_store(location) if store_exists(location) else None
        if append and store:
            return grown_plan(store, stored_plan(store), catalog, regions, uncovered)
        if regions is None:
            raise no_regions(location)
        plan = plan_ingest(catalog, regions, uncovered)
        if store:
            check_store_of(store, plan)
        return plan
