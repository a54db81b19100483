"""The plan of a catalog's compendium."""

from __future__ import annotations

from collections.abc import Sequence

from epixs.catalog.experiments import Catalog
from epixs.compendium.plan import Plan
from epixs.compendium.schema import EXPERIMENT_LABELS
from epixs.errors import ConfigError
from epixs.genome.regions import Regions
from epixs.ingestion.tile import State
from epixs.tracks import Uncovered
from epixs.tracks.source import source_states


def plan_ingest(
    catalog: Catalog,
    regions: Regions,
    uncovered: Uncovered = "zero",
    states: Sequence[State] | None = None,
) -> Plan:
    """Plan the compendium of a catalog over regions; `states` are those of its files, if known already."""
    table = catalog.experiments
    sizes = [state[1] for state in states or source_states(table["path"])]
    experiments = table.assign(source=table["path"], source_size=sizes).reset_index(drop=True)
    names = [variable.name for variable in EXPERIMENT_LABELS]
    return Plan("observed", catalog.species, experiments[names], regions, uncovered, {})


def no_regions(path: str) -> ConfigError:
    """The error of a new store without regions."""
    return ConfigError(
        f"{path} does not exist yet, and there are no regions",
        expected="a BED of the regions that it shall hold, with --regions",
    )
