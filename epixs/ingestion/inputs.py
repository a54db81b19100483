"""Read catalogs and regions, given as values or as paths, and chromosome sizes from the tracks' headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from epixs.catalog.experiments import Catalog, read_catalog
from epixs.compendium.read import stored_plan
from epixs.errors import RegionError, TrackError, counted
from epixs.genome.assembly import Assembly, read_chrom_sizes
from epixs.genome.bed import GENOME, holds_sizes, read_regions
from epixs.genome.names import match_chromosomes, plain_name
from epixs.genome.regions import Regions
from epixs.storage.location import absolute, reaching
from epixs.storage.store import store_exists
from epixs.tracks.bigwig import chrom_sizes_of
from epixs.tracks.remote import REQUESTS_AT_ONCE

Sizes = Mapping[str, int]

MOST_NAMED = 3


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
        whole = str(regions) == GENOME
        given = None if whole or regions is None or isinstance(regions, Regions) else Path(regions)
        table = read_chrom_sizes(given) if given and holds_sizes(given) else {}
        known = {**table, **_stored_sizes(path)}
        if not (whole and known) or append:  # else a file that became readable later would add regions
            headers = _headers_of(catalog, bool(known))
            notes = _compared(table, headers, catalog.assembly, str(regions))
            known, more = _with_headers(catalog.assembly, headers, known)
            notes += more
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


def _headers_of(catalog: Catalog, known: bool) -> list[Sizes]:
    """Read chromosome sizes from the headers of a catalog's tracks; at least one, unless some are `known`."""
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
            f"chromosome sizes of {catalog.assembly.name}, which epixs does not know, cannot be taken from "
            f"the headers of {len(reasons)} files: not one can be read. The first: "
            f"{reasons[0] if reasons else 'empty'}"
        )
    return headers


def _compared(table: Sizes, headers: list[Sizes], assembly: Assembly, path: str) -> list[str]:
    """Compare a table of sizes with headers; note the chromosomes that no file has.

    Raises
    ------
    RegionError
        If all files that have a chromosome give it another length than the table.
    """
    distinct = {tuple(header.items()): header for header in headers}.values()
    matches = [
        (match_chromosomes(h, Assembly(assembly.name, dict(table), assembly.aliases)), h) for h in distinct
    ]
    nowhere = []
    for chrom in table:
        lengths = [header[match.names[chrom]] for match, header in matches if chrom in match.names]
        unclear = any(chrom in match.ambiguous for match, _ in matches)
        if not lengths and not unclear:
            nowhere.append(chrom)
        elif lengths and table[chrom] not in lengths:
            raise RegionError(
                f"{path}: length of {chrom}",
                got=f"{table[chrom]} bp",
                expected=f"{lengths[0]} bp, as in the headers of the files",
                next_step="correct the table, or the catalog's assembly if the files are of another",
            )
    if not nowhere or not headers:
        return []
    which = ", ".join(nowhere[:MOST_NAMED]) + (", ..." if len(nowhere) > MOST_NAMED else "")
    return [
        f"of the {len(table):,} chromosomes in {path}, no file has {len(nowhere):,}, whose bins will count "
        f"as not covered: {which}. If the files have other names for them, give --chrom-alias; "
        "else leave them out"
    ]


def _with_headers(assembly: Assembly, headers: list[Sizes], known: Sizes) -> tuple[dict[str, int], list[str]]:
    """Add to chromosome sizes those in headers that are not known yet.

    Files that agree with most others are read first, so that their names are used. A file on another assembly
    adds nothing.
    """
    longest = [max(sizes.items(), key=lambda item: item[1]) for sizes in headers]
    common = Counter(longest)
    order = sorted(range(len(headers)), key=lambda at: -common[longest[at]])
    sizes = dict(known)
    for at in order:
        match = match_chromosomes(headers[at], Assembly(assembly.name, sizes, assembly.aliases))
        if not sizes or 2 * len(match.other_lengths) <= len(match.names):
            taken, unclear = set(match.names.values()), {plain_name(chrom) for chrom in match.ambiguous}
            sizes |= {
                chrom: size
                for chrom, size in headers[at].items()
                if chrom not in taken and plain_name(chrom) not in unclear
            }
    if len(sizes) == len(known):
        return sizes, []
    added = f"{len(sizes) - len(known):,} of its " if known else "its "
    note = (
        f"epixs does not know {assembly.name}: the lengths of {added}{len(sizes):,} chromosomes are those in "
        f"the headers of {counted(len(headers), 'file')}"
    )
    return sizes, [note]
