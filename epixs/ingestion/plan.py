"""Make the plan of a catalog's compendium."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import get_args

from epixs.catalog.experiments import Catalog
from epixs.compendium.plan import Plan
from epixs.compendium.schema import EXPERIMENT_LABELS
from epixs.errors import ConfigError
from epixs.genome.assembly import Assembly
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
    """Plan the compendium of a catalog over regions; `states` are those of its files, if already known."""
    if uncovered not in get_args(Uncovered):
        raise ConfigError("uncovered", got=repr(uncovered), expected=" or ".join(get_args(Uncovered)))
    table = catalog.experiments
    states = states or source_states(table["path"])
    sizes = [state[1] for state in states]
    experiments = table.assign(source=table["path"], source_size=sizes).reset_index(drop=True)
    names = [variable.name for variable in EXPERIMENT_LABELS]
    alias = _alias_of(catalog.assembly, regions)
    return Plan(
        "observed",
        catalog.species,
        experiments[names],
        regions,
        uncovered,
        {},
        states=states,
        chrom_alias=alias,
    )


def _alias_of(assembly: Assembly, regions: Regions) -> dict[str, str]:
    """Return the rows of an assembly's alias table that concern chromosomes of some regions."""
    touched = {assembly.aliases[chrom] for chrom in dict.fromkeys(regions.chrom) if chrom in assembly.aliases}
    return {name: same for name, same in assembly.aliases.items() if same in touched}


def states_of(sources: Iterable[str], known: Plan | None = None) -> list[State]:
    """Return the state of each source; those that a plan already knows are not asked again."""
    states = dict(zip(known.experiments["source"], known.states, strict=False)) if known else {}
    missing = [source for source in sources if states.get(source) is None]
    states |= dict(zip(missing, source_states(missing), strict=True))
    return [states[source] for source in sources]


def no_regions(path: str) -> ConfigError:
    """Make the error for a new store without regions."""
    return ConfigError(
        f"{path} does not exist yet, and there are no regions",
        expected="a BED of its regions, with --regions; or `--regions genome`",
        next_step="for training, about 1 % of the genome is enough: the Pilot Regions (catalog/regions), or "
        "for other species stretches of half a megabase on all chromosomes (docs/training.md makes such a "
        "BED)",
    )
