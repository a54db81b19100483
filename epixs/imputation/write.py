"""A trained model -> lazy xarray Dataset -> imputed Zarr, in the layout of a compendium."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from epixs.catalog.pairs import Pair
from epixs.cluster.tasks import Progress
from epixs.compendium.create import prepare_store
from epixs.compendium.lazy import Block, lazy_dataset
from epixs.compendium.summary import row_statistics
from epixs.compendium.write import finalise, write_block
from epixs.factors.store import FactorStore
from epixs.genome.regions import BIN_SIZE
from epixs.imputation.pairs import check_store, choose_pairs
from epixs.imputation.plan import plan_imputation
from epixs.imputation.predict import Predictor
from epixs.models.folder import TrainedModel, as_trained
from epixs.storage.fingerprint import digest
from epixs.storage.ledger import Record, read_ledger, write_record
from epixs.storage.lock import writing
from epixs.storage.tiling import Tile


def impute(
    model: Any,
    store: str | Path,
    out: str | Path,
    *,
    pairs: Sequence[Pair] | None = None,
    everything: bool = False,
    factors: FactorStore | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> pd.DataFrame:
    """Write the imputed compendium of a store's species; run again, it resumes.

    Parameters
    ----------
    model
        From `open_model`; or a Keras model from `build_model` that a script of one's own has fitted.
    store
        The species' compendium, whose bins are imputed.
    out
        The imputed store.
    pairs
        What to impute; by default every (biosample of the species, assay of the union) not trained on.
    everything
        Impute the pairs that were trained on as well.
    factors
        From `open_factors`: genome factors of the store's regions, where the model was trained on others.
    progress
        Called after each tile.

    Returns
    -------
    The imputed experiments as a table.

    Raises
    ------
    AxisError
        If model, store or pairs do not fit together.

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
    trained = as_trained(model)
    species = check_store(trained, store, factors)
    chosen = choose_pairs(trained, species, pairs=pairs, everything=everything)
    with writing(out):
        return _impute(trained, chosen, out, factors, progress)


def _impute(
    trained: TrainedModel,
    chosen: list[Pair],
    out: str | Path,
    factors: FactorStore | None,
    progress: Callable[[Progress], None] | None,
) -> pd.DataFrame:
    plan = prepare_store(out, plan_imputation(trained, chosen, factors))
    predictor = Predictor(trained, chosen, factors)
    origin = trained.fingerprint if factors is None else digest([trained.fingerprint, factors.fingerprint])
    records = read_ledger(out)
    tiles = list(plan.tiles())
    done = total = 0
    for number, tile in enumerate(tiles):
        total = plan.n_bytes
        fingerprint = _tile_fingerprint(origin, chosen, tile)
        record = records.get((tile.row_group, tile.bin_range))
        if record is None or record.fingerprint != fingerprint:
            values = predictor.predict(tile.first_bin, tile.stop_bin, slice(tile.first_row, tile.stop_row))
            write_block(out, tile, list(values))
            bases = (tile.stop_bin - tile.first_bin) * BIN_SIZE
            rows = [row_statistics(row, bases, bases) for row in values]
            write_record(out, tile, Record(fingerprint, rows))
        done += tile.n_values * 4
        if progress:
            progress(Progress(number + 1, len(tiles), done, total))
    return finalise(
        out, plan, lambda tile, record: record.fingerprint == _tile_fingerprint(origin, chosen, tile)
    )


def _tile_fingerprint(origin: str, pairs: Sequence[Pair], tile: Tile) -> str:
    return digest([origin, list(pairs[tile.first_row : tile.stop_row]), tile.first_bin, tile.stop_bin])


def open_imputed(
    model: Any,
    store: str | Path,
    *,
    pairs: Sequence[Pair] | None = None,
    everything: bool = False,
    factors: FactorStore | None = None,
) -> xr.Dataset:
    """The Dataset that `impute` would write, computed block by block only when it is read."""
    trained = as_trained(model)
    species = check_store(trained, store, factors)
    chosen = choose_pairs(trained, species, pairs=pairs, everything=everything)
    plan = plan_imputation(trained, chosen, factors)
    predictor = Predictor(trained, chosen, factors)

    def block_of(tile: Tile) -> Block:
        rows = slice(tile.first_row, tile.stop_row)
        return functools.partial(predictor.predict, tile.first_bin, tile.stop_bin, rows)

    return lazy_dataset(plan, block_of)
