"""Catalogs and regions, given as values or as paths."""

from __future__ import annotations

from pathlib import Path

from epixs.catalog.experiments import Catalog, read_catalog
from epixs.genome.bed import read_regions
from epixs.genome.regions import Regions


def catalog_of(catalog: Catalog | str | Path, species: str | None) -> Catalog:
    """A catalog as it is, or read from a path."""
    return catalog if isinstance(catalog, Catalog) else read_catalog(catalog, species, check_files=False)


def regions_from(regions: Regions | str | Path, catalog: Catalog) -> Regions:
    """Regions as they are, or read from a BED."""
    return regions if isinstance(regions, Regions) else read_regions(regions, catalog.assembly)[0]
