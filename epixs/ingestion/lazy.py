"""Open bigWigs as a lazy Dataset, without a store."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from epixs.catalog.experiments import Catalog
from epixs.compendium.lazy import lazy_dataset
from epixs.compendium.plan import Plan
from epixs.errors import RegionError, TrackError
from epixs.genome.assembly import Assembly
from epixs.genome.regions import Regions
from epixs.ingestion.inputs import read_inputs
from epixs.ingestion.plan import plan_ingest
from epixs.ingestion.tile import read_tile, tile_task
from epixs.storage.location import is_url
from epixs.storage.tiling import Tile
from epixs.tracks import Backend, Uncovered
from epixs.tracks.source import source_state


def open_tracks(
    catalog: Catalog | str | Path,
    regions: Regions | str | Path,
    uncovered: Uncovered = "zero",
    *,
    species: str | None = None,
    chrom_alias: str | Path | None = None,
    backend: Backend = "epixs",
) -> xr.Dataset:
    """Open bigWigs lazily as the Dataset that `ingest` would write.

    Parameters
    ----------
    catalog, regions, species, chrom_alias, uncovered, backend
        As in `ingest`.

    Returns
    -------
    `signal` with dims `("experiment", "bin")`, float32 in arcsinh units, backed by Dask: a block reads its
    bigWig only when it is computed.

    Raises
    ------
    TrackError
        When a block is computed and its file cannot be read; only a store can mark rows as failed.

    Examples
    --------
    >>> import epixs
    >>> files = epixs.simulate("world", size="tiny")
    >>> chosen = epixs.make_catalog("world/metadata.tsv", "catalog.tsv")
    >>> tracks = epixs.open_tracks("catalog.tsv", "world/mouse.bed", species="mouse")
    >>> dict(tracks["signal"].sizes)
    {'experiment': 27, 'bin': 2000}
    >>> float(tracks["signal"][0].mean()) > 0  # one bigWig is read, now
    True
    """
    catalog, placed, _ = read_inputs(catalog, regions, species=species, chrom_alias=chrom_alias)
    if placed is None:
        raise RegionError("there are no regions", expected="a BED, or 'genome'")
    # Remote files are not asked for anything before a block is computed.
    states = [[path, -1, -1] if is_url(path) else source_state(path) for path in catalog.experiments["path"]]
    plan = plan_ingest(catalog, placed, uncovered, states)
    return lazy_dataset(plan, functools.partial(_strict_tile, plan, catalog.assembly, backend))


def _strict_tile(plan: Plan, assembly: Assembly, backend: Backend, tile: Tile) -> npt.NDArray[np.float32]:
    values, entries = read_tile(tile_task(plan, assembly, tile, None, backend))
    for entry in entries:
        if "error" in entry:
            raise TrackError(entry["error"])
    return np.stack(values)
