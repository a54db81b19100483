"""The plan that an ingest would carry out on what is there, before it does."""

from __future__ import annotations

from epixs.catalog.experiments import Catalog
from epixs.compendium.create import check_store_of, store_exists
from epixs.compendium.plan import Plan
from epixs.compendium.read import stored_plan
from epixs.genome.regions import Regions
from epixs.ingestion.append import grown_plan
from epixs.ingestion.plan import no_regions, plan_ingest
from epixs.storage.location import reaching
from epixs.tracks import Uncovered


def preview(
    path: str,
    catalog: Catalog,
    regions: Regions | None,
    uncovered: Uncovered = "zero",
    *,
    append: bool = False,
) -> Plan:
    """The plan that an ingest would carry out; nothing is written.

    Raises
    ------
    StoreError
        If what is at `path` was made from something else.
    """
    with reaching(path):
        there = store_exists(path)
    if append and there:
        return grown_plan(path, stored_plan(path), catalog, regions, uncovered)[0]
    if regions is None:
        raise no_regions(path)
    plan = plan_ingest(catalog, regions, uncovered)
    if there:
        check_store_of(path, plan)
    return plan
