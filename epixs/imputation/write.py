"""Impute with a trained model, as a lazy xarray Dataset or into a Zarr store laid out as a compendium."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from epixs.axis.axis import JointAxis
from epixs.catalog.pairs import Pair
from epixs.cluster.resume import run_pending, unwritten
from epixs.cluster.tasks import Progress
from epixs.compendium.create import prepare_store, reopen
from epixs.compendium.lazy import lazy_dataset
from epixs.compendium.read import coordinate
from epixs.compendium.schema import SPREAD, STATUS
from epixs.compendium.summary import row_statistics
from epixs.compendium.write import finalise, write_block
from epixs.factors.store import FactorStore
from epixs.genome.regions import BIN_SIZE
from epixs.imputation.pairs import check_store, choose_pairs
from epixs.imputation.plan import plan_imputation
from epixs.imputation.worker import AnyModel, OpenedModel
from epixs.models.folder import as_trained
from epixs.storage.fingerprint import checksum, digest
from epixs.storage.ledger import Record, read_ledger
from epixs.storage.location import absolute, reaching
from epixs.storage.lock import writing
from epixs.storage.store import Store
from epixs.storage.tiling import Key, Tile


@dataclass(frozen=True)
class ImputeTask:
    """One tile to impute, with its pairs and the digest of everything that it depends on."""

    tile: Tile
    pairs: tuple[Pair, ...]
    fingerprint: str

    @property
    def key(self) -> Key:
        """The tile's place in the ledger."""
        return self.tile.key

    def is_written(self, record: Record | None) -> bool:
        """Check whether a ledger record is that of this tile, imputed by the same model."""
        return record is not None and record.fingerprint == self.fingerprint


def impute(
    model: Any,
    store: str | Path,
    out: str | Path,
    *,
    pairs: Sequence[Pair] | None = None,
    everything: bool = False,
    factors: FactorStore | None = None,
    axis: JointAxis | None = None,
    client: Any = None,
    progress: Callable[[Progress], None] | None = None,
) -> pd.DataFrame:
    """Write the imputed compendium of a store's species; run again, it resumes.

    Parameters
    ----------
    model
        A model from `open_model`; or a Keras model that a user's own script has fitted, from `build_model` or
        of any architecture that takes the inputs of a batch (docs/training.md).
    store
        The species' compendium, whose bins are imputed.
    out
        The imputed store.
    pairs
        Pairs to impute; by default every (biosample of the species, assay of the union) not trained on.
    everything
        Impute the pairs that were trained on as well.
    factors
        Genome factors of the store's regions, from `open_factors`, if the model was trained on others.
    axis
        Axis that a Keras model was fitted over, if the model does not hold it.
    client
        A `distributed.Client`, whose workers open the model from its folder; or a
        `concurrent.futures.ThreadPoolExecutor`. Without a client, tiles are imputed one after the other in
        this process, on all its cores.
    progress
        Function called after each tile.

    Returns
    -------
    The imputed experiments as a table.

    Raises
    ------
    AxisError
        If model, store or pairs do not fit together.
    StoreError
        If `out` holds something else, or another run is writing it.
    TrainingError
        If workers are to impute with a model that no folder holds, or the axis of a Keras model is not known.

    Examples
    --------
    >>> import epixs
    >>> files = epixs.simulate("world", size="tiny")
    >>> chosen = epixs.make_catalog("world/metadata.tsv", "catalog.tsv")
    >>> table = epixs.ingest("catalog.tsv", "world/mouse.bed", "mouse.zarr", species="mouse")
    >>> axis = epixs.joint_axis("mouse.zarr")
    >>> model = epixs.build_model(axis, hidden=(8, 8))  # nothing is fitted here
    >>> imputed = epixs.impute(model, "mouse.zarr", "imputed.zarr")
    >>> len(imputed)  # 3 biosamples x 11 assays, but for the 27 that were measured
    6
    """
    trained = as_trained(model, axis)
    with reaching(absolute(store)):
        species = check_store(trained, store, factors)
    chosen = choose_pairs(trained.axis, species, pairs=pairs, everything=everything)
    opened = OpenedModel(trained, factors, absolute(store))
    source = opened if client is None or isinstance(client, ThreadPoolExecutor) else opened.saved
    location = absolute(out)
    with reaching(location), writing(location):
        made, plan = prepare_store(location, plan_imputation(trained, chosen, factors, store))
        origin = (
            trained.fingerprint if factors is None else digest([trained.fingerprint, factors.fingerprint])
        )
        tasks = [_task(origin, chosen, tile) for tile in plan.tiles()]
        pending = unwritten(tasks, read_ledger(made))
        if pending:
            made = reopen(made)
        work = functools.partial(impute_tiles, source)
        run_pending(made, work, pending, len(tasks), client=client, progress=progress)
        by_tile = {task.tile: task for task in tasks}
        return finalise(made, plan, lambda tile, record: by_tile[tile].is_written(record))


def _task(origin: str, pairs: Sequence[Pair], tile: Tile) -> ImputeTask:
    rows = list(pairs[tile.first_row : tile.stop_row])
    return ImputeTask(tile, tuple(rows), digest([origin, rows, tile.first_bin, tile.stop_bin]))


def impute_tiles(model: AnyModel, store: Store, tasks: Sequence[ImputeTask]) -> Iterator[Record]:
    """Impute tiles, write their shards, and yield the ledger record of each. Safe to repeat."""
    for task in tasks:
        tile = task.tile
        predictor = model.predictor(task.pairs)
        values = predictor.predict(tile.first_bin, tile.stop_bin)
        write_block(store, tile, list(values))
        bases = (tile.stop_bin - tile.first_bin) * BIN_SIZE
        rows = [row_statistics(row, bases, bases) for row in values]
        if predictor.has_spread:
            spread = predictor.spread(values)
            write_block(store, tile, list(spread), SPREAD)
            rows = [row | {SPREAD.name: checksum(of)} for row, of in zip(rows, spread, strict=True)]
        yield Record(task.fingerprint, rows)


def open_imputed(
    model: Any,
    store: str | Path,
    *,
    pairs: Sequence[Pair] | None = None,
    everything: bool = False,
    factors: FactorStore | None = None,
    axis: JointAxis | None = None,
) -> xr.Dataset:
    """Return the Dataset that `impute` would write, computed block by block only when it is read.

    It lacks the summaries of rows, such as `signal_mean`, and a copy of it is no store that epixs opens.

    Parameters
    ----------
    model, store, pairs, everything, factors, axis
        As in `impute`.

    Returns
    -------
    A Dataset of `signal` with dims `("experiment", "bin")`, float32 in arcsinh units, backed by Dask; and
    `spread` likewise, if the model knows the spread of its errors. A Dask block is one experiment over some
    400 kb. Dask workers open the model from its folder.
    """
    trained = as_trained(model, axis)
    species = check_store(trained, store, factors)
    chosen = choose_pairs(trained.axis, species, pairs=pairs, everything=everything)
    plan = plan_imputation(trained, chosen, factors, store)
    source = OpenedModel(trained, factors, absolute(store)), tuple(chosen)
    read, spread = functools.partial(_predict_block, *source), functools.partial(_spread_block, *source)
    lazy = lazy_dataset(plan, read, bins=plan.layout.chunk_bins, spread=spread)
    return lazy.assign_coords(status=coordinate(STATUS, np.full(len(chosen), "ok")))


def _spread_block(
    model: AnyModel, pairs: tuple[Pair, ...], values: npt.NDArray[np.float32], row: int
) -> npt.NDArray[np.float32]:
    return model.predictor(pairs).spread(values, slice(row, row + 1))


def _predict_block(model: AnyModel, pairs: tuple[Pair, ...], tile: Tile) -> npt.NDArray[np.float32]:
    rows = slice(tile.first_row, tile.stop_row)
    return model.predictor(pairs).predict(tile.first_bin, tile.stop_bin, rows)
