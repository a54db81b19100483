"""Read catalogs and regions, given as values or as paths, and chromosome sizes from the tracks' headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from epixs.catalog.experiments import Catalog, read_catalog
from epixs.compendium.read import stored_plan
from epixs.errors import TrackError
from epixs.genome.assembly import Assembly, read_chrom_sizes
from epixs.genome.bed import GENOME, holds_sizes, read_regions
from epixs.genome.names import match_chromosomes, plain_name
from epixs.genome.regions import Regions
from epixs.storage.location import absolute, reaching
from epixs.storage.store import store_exists
from epixs.tracks.bigwig import chrom_sizes_of
from epixs.tracks.remote import REQUESTS_AT_ONCE

Sizes = Mapping[str, int]


def read_inputs(
    catalog: Catalog | str | Path,
    regions: Regions | str | Path | None,
    path: str | Path | None = None,
    *,
    species: str | None = None,
    chrom_alias: str | Path | None = None,
    append: bool = False,
) -> tuple[Catalog, Regions | None, list[str]]:
    """Read catalog and regions, unless they are given as values.

    If the chromosome sizes of the catalog's assembly are not known, they come from the existing store, from a
    table of sizes given as regions, or from the headers of the tracks.

    Returns
    -------
    The catalog, the regions, and notes on them, one sentence each.

    Raises
    ------
    CatalogError, RegionError
        If they cannot be used.
    TrackError
        If chromosome sizes have to come from headers, and none can be read.
    """
    if not isinstance(catalog, Catalog):
        catalog = read_catalog(catalog, species, check_files=False, chrom_alias=chrom_alias)
    notes: list[str] = []
    if not catalog.assembly.chrom_sizes:
        known = _stored_sizes(path)
        whole = str(regions) == GENOME
        if (
            not isinstance(regions, Regions)
            and regions is not None
            and not whole
            and holds_sizes(Path(regions))
        ):
            known = {**read_chrom_sizes(Path(regions)), **known}
        if not (whole and known) or append:  # else a file that became readable later would add regions
            known, notes = _with_headers(catalog, known)
        catalog = replace(catalog, assembly=replace(catalog.assembly, chrom_sizes=known))
    if regions is None or isinstance(regions, Regions):
        return catalog, regions, notes
    placed, more = read_regions(regions, catalog.assembly)
    return catalog, placed, notes + more


def _stored_sizes(path: str | Path | None) -> dict[str, int]:
    """Read the chromosome sizes that a store keeps; none if there is no store."""
    if path is None:
        return {}
    location = absolute(path)
    with reaching(location):
        return dict(stored_plan(location).regions.chrom_sizes) if store_exists(location) else {}


def _with_headers(catalog: Catalog, known: Sizes) -> tuple[dict[str, int], list[str]]:
    """Add to chromosome sizes those in the headers of a catalog's tracks that are not known yet.

    Files that agree with most others are read first, so that their names are used. A file on another assembly
    adds nothing.
    """
    name = catalog.assembly.name
    reasons: list[str] = []

    def header(path: str) -> Sizes:
        try:
            return chrom_sizes_of(path)
        except TrackError as error:
            reasons.append(error.message)
            return {}

    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        headers = [sizes for sizes in pool.map(header, catalog.experiments["path"]) if sizes]
    if not headers and not known:
        raise TrackError(
            f"chromosome sizes of {name}, which epixs does not know, cannot be taken from the headers of "
            f"{len(reasons)} files: not one can be read. The first: {reasons[0] if reasons else 'empty'}"
        )
    longest = [max(sizes.items(), key=lambda item: item[1]) for sizes in headers]
    common = Counter(longest)
    order = sorted(range(len(headers)), key=lambda at: -common[longest[at]])
    sizes = dict(known)
    for at in order:
        match = match_chromosomes(headers[at], Assembly(name, sizes, catalog.assembly.aliases))
        if not sizes or 2 * len(match.other_lengths) <= len(match.names):
            taken, unclear = set(match.names.values()), {plain_name(chrom) for chrom in match.ambiguous}
            sizes |= {
                chrom: size
                for chrom, size in headers[at].items()
                if chrom not in taken and plain_name(chrom) not in unclear
            }
    if len(sizes) == len(known):
        return sizes, []
    note = (
        f"epixs does not know {name}: the lengths of its {len(sizes):,} chromosomes are those in the headers "
        f"of {len(headers):,} file{'s' * (len(headers) != 1)}"
    )
    return sizes, [note]
