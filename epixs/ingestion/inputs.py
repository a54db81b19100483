"""Catalogs and regions, given as values or as paths."""

from __future__ import annotations

from pathlib import Path

from epixs.catalog.experiments import Catalog, read_catalog
from epixs.genome.bed import read_regions
from epixs.genome.regions import Regions


def catalog_of(
    catalog: Catalog | str | Path, species: str | None, chrom_alias: str | Path | None = None
) -> Catalog:
    """A catalog as it is, or read from a path."""
    if isinstance(catalog, Catalog):
        return catalog
    return read_catalog(catalog, species, check_files=False, chrom_alias=chrom_alias)


def regions_from(regions: Regions | str | Path, catalog: Catalog) -> Regions:
    """Regions as they are, or read from a BED."""
    return regions if isinstance(regions, Regions) else read_regions(regions, catalog.assembly)[0]
