"""What is exported: some rows of a compendium, stored or computed as they are read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import dask
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from epixs.catalog.pairs import Pair
from epixs.compendium.read import open_compendium, open_signal, regions_of
from epixs.compendium.schema import EXPERIMENT_LABELS, EXPERIMENT_SUMMARIES, KIND
from epixs.errors import AxisError, StoreError, closest
from epixs.genome.regions import Regions
from epixs.storage.location import absolute

Signal = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Source:
    """A compendium whose rows are exported.

    Parameters
    ----------
    name
        What messages call it.
    labels
        Its experiments, one row each.
    regions
        Its regions.
    species, plan
        Its species, and the fingerprint of what it was made from.
    has_gaps
        Whether a bin may be without a value.
    signal
        Where its signal lies; or the signal itself, computed as it is read.
    """

    name: str
    labels: pd.DataFrame
    regions: Regions
    species: str
    plan: str
    has_gaps: bool
    signal: str | xr.DataArray

    def reader(self, rows: Sequence[int]) -> Callable[[int, int], Signal]:
        """Give the function that reads bins `[start, stop)` of some rows, shape `(row, bin)`."""
        if isinstance(self.signal, str):
            stored, low = open_signal(self.signal), min(rows)
            return lambda start, stop: np.asarray(
                stored[low : max(rows) + 1, start:stop][np.array(rows) - low], dtype=np.float32
            )
        return _LazyReader(self.signal, list(rows))


@dataclass(frozen=True, eq=False)
class _LazyReader:
    """Computes signal where it is read; a worker of Dask computes it itself and asks no other one."""

    signal: xr.DataArray
    rows: list[int]

    def __call__(self, start: int, stop: int) -> Signal:
        with dask.config.set(scheduler="synchronous"):
            part = self.signal.isel(experiment=self.rows, bin=slice(start, stop))
            return np.asarray(part.to_numpy(), dtype=np.float32)


def open_export_source(compendium: str | Path | xr.Dataset) -> Source:
    """Open what is to be exported.

    Parameters
    ----------
    compendium
        A store; or a Dataset of all bins of one, as `open_compendium` and `open_imputed` give it.

    Raises
    ------
    StoreError
        If it is no finished compendium, or a Dataset of a part of its bins.
    """
    stored = not isinstance(compendium, xr.Dataset)
    dataset = open_compendium(compendium) if not isinstance(compendium, xr.Dataset) else compendium
    name = str(compendium) if stored else f"the {dataset.attrs.get('kind', '')} Dataset"
    missing = {"assembly", "species", "plan"} - set(dataset.attrs)
    if missing:
        raise StoreError(
            f"{name} is no compendium",
            got=f"no attribute {', '.join(sorted(missing))}",
            expected="one of epixs",
        )
    regions = regions_of(dataset)
    if dataset.sizes["bin"] != regions.n_bins:
        raise StoreError(
            f"{name} holds a part of its compendium",
            got=f"{dataset.sizes['bin']:,} of {regions.n_bins:,} bins",
            expected="all bins",
            next_step="give the whole, and choose by `regions`",
        )
    return Source(
        name,
        _labels_of(dataset),
        regions,
        str(dataset.attrs["species"]),
        str(dataset.attrs["plan"]),
        str(dataset.attrs.get("uncovered")) != "zero",
        absolute(str(compendium)) if stored else dataset["signal"],
    )


def _labels_of(dataset: xr.Dataset) -> pd.DataFrame:
    """Labels of all experiments; what is computed as it is read has no summaries and is whole."""
    names = [v.name for v in (*EXPERIMENT_LABELS, KIND, *EXPERIMENT_SUMMARIES) if v.name in dataset.coords]
    table = pd.DataFrame({name: dataset[name].to_numpy().astype(object) for name in names})
    for name, value in ((KIND.name, dataset.attrs.get("kind", "")), ("status", "ok")):
        if name not in table:
            table[name] = value
    return table


def choose_rows(
    sources: Sequence[Source],
    *,
    biosamples: Collection[str] = (),
    assays: Collection[str] = (),
    pairs: Collection[Pair] | None = None,
) -> tuple[list[list[int]], list[str]]:
    """Choose the rows of each source to export; and notes on those that cannot be.

    Raises
    ------
    AxisError
        If no source has a biosample, an assay or a pair that was asked for, or nothing is left.
    """
    for name, wanted in (("biosample", biosamples), ("assay", assays)):
        known = {label for source in sources for label in source.labels[name]}
        _refuse_unknown([repr(label) + closest(label, known) for label in wanted if label not in known], name)
    held = [
        [
            (source.species, *pair)
            for pair in zip(source.labels["biosample"], source.labels["assay"], strict=True)
        ]
        for source in sources
    ]
    wanted_pairs = set(pairs or ())
    absent = wanted_pairs - {pair for pairs_held in held for pair in pairs_held}
    _refuse_unknown([" / ".join(pair) for pair in sorted(absent)], "pair")
    rows, notes = [], []
    for source, its_pairs in zip(sources, held, strict=True):
        table = source.labels
        chosen = np.full(len(table), fill_value=True)
        for name, wanted in (("biosample", biosamples), ("assay", assays)):
            if wanted:
                chosen &= table[name].isin(list(wanted)).to_numpy()
        if pairs is not None:
            chosen &= np.array([pair in wanted_pairs for pair in its_pairs], dtype=bool)
        usable = (table["status"] == "ok").to_numpy()
        rows.append([int(row) for row in np.flatnonzero(chosen & usable)])
        left_out = table[chosen & ~usable]
        notes += [
            f"{source.name}: {accession} left out: {status}"
            for accession, status in zip(left_out["accession"], left_out["status"], strict=True)
        ]
    if not any(rows):
        raise AxisError(
            "nothing to export",
            got="; ".join(notes[:3]) or "no experiment with those labels",
            expected="at least one experiment",
            next_step="`epixs info` lists them",
        )
    return rows, notes


def _refuse_unknown(labels: Sequence[str], what: str) -> None:
    if labels:
        raise AxisError(
            f"no experiment has the {what} asked for",
            got="; ".join(labels[:3]) + (f"; and {len(labels) - 3} more" if len(labels) > 3 else ""),
            next_step="`epixs info` lists the experiments of a store",
        )
