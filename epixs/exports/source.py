"""Open compendia for export, stored or computed as they are read, and choose their rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import dask
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from epixs.catalog.pairs import Pair
from epixs.compendium.read import open_compendium, provenance_of, regions_of
from epixs.compendium.schema import EXPERIMENT_LABELS, EXPERIMENT_SUMMARIES, KIND, SIGNAL, SPREAD
from epixs.errors import AxisError, StoreError, a_few, closest
from epixs.genome.regions import Regions
from epixs.imputation.roles import roles_in
from epixs.sampling.intervals import HALF_WIDTH
from epixs.storage.location import absolute
from epixs.storage.store import open_store

Signal = npt.NDArray[np.float32]

Ints = npt.NDArray[np.int64]

LINES = {"signal": 0.0, "lower": -HALF_WIDTH, "upper": HALF_WIDTH}
"""Lines of a row, and their distance above the signal in spreads: the signal, and the ends of the interval
that holds 80 % of the bins."""


@dataclass(frozen=True, eq=False)
class Source:
    """A compendium whose rows are exported.

    Parameters
    ----------
    name
        Its name in messages.
    labels
        Its experiments, one row each.
    regions
        Its regions.
    species, plan
        Its species, and the fingerprint of its plan.
    has_gaps
        Whether bins may lack a value.
    has_spread
        Whether it has a `spread`, the expected error of its signal.
    held
        The store; or a Dataset, which is computed as it is read.
    roles
        Role of each imputed experiment, as in `imputation.roles`; empty if it is not known.
    """

    name: str
    labels: pd.DataFrame
    regions: Regions
    species: str
    plan: str
    has_gaps: bool
    has_spread: bool
    held: str | xr.Dataset
    roles: tuple[str, ...] = ()

    def role(self, row: int) -> str:
        """Return the role of a row; empty if it is observed, or its role is not known."""
        return self.roles[row] if self.roles else ""

    def reader(self, rows: Sequence[int], lines: Sequence[str] = ()) -> Callable[[int, int], Signal]:
        """Return a function that reads bins `[start, stop)` of some rows, shape `(row, bin)`.

        Parameters
        ----------
        rows
            Numbers of the rows.
        lines
            The line to read of each row, one of `LINES`; by default the signal.
        """
        shifts = np.array([LINES[line] for line in lines] or [0.0] * len(rows), np.float32)[:, None]
        moved = shifts[:, 0] != 0
        names = [SIGNAL.name, SPREAD.name] if moved.any() else [SIGNAL.name]
        unique = np.unique(rows)
        place = np.searchsorted(unique, rows)
        values = self._stored(unique, names) if isinstance(self.held, str) else self._computed(unique, names)

        def read(start: int, stop: int) -> Signal:
            signal, *spread = values(start, stop)
            values_of_lines = signal[place]
            if spread:
                values_of_lines[moved] += shifts[moved] * spread[0][place[moved]]
            return values_of_lines

        return read

    def _stored(self, rows: Ints, names: Sequence[str]) -> Callable[[int, int], list[Signal]]:
        """Read variables of some rows in the calling thread, as Dask would call other workers."""
        store, first, last = open_store(str(self.held)), int(rows[0]), int(rows[-1])
        arrays = [store.array(name) for name in names]
        return lambda start, stop: [
            np.asarray(array[first : last + 1, start:stop][rows - first], dtype=np.float32)
            for array in arrays
        ]

    def _computed(self, rows: Ints, names: Sequence[str]) -> Callable[[int, int], list[Signal]]:
        """Compute variables of some rows in the calling thread, so that a Dask worker calls no other one."""
        chosen = cast("xr.Dataset", self.held)[list(names)].isel(experiment=rows)

        def read(start: int, stop: int) -> list[Signal]:
            with dask.config.set(scheduler="synchronous"):
                part = chosen.isel(bin=slice(start, stop)).compute()
            return [np.asarray(part[name].to_numpy(), dtype=np.float32) for name in names]

        return read


def open_export_source(compendium: str | Path | xr.Dataset) -> Source:
    """Open a compendium for export.

    Parameters
    ----------
    compendium
        A store; or a Dataset of all its bins, from `open_compendium` or `open_imputed`.

    Raises
    ------
    StoreError
        If it is not a finished compendium, or a Dataset of only some of its bins.
    """
    stored = not isinstance(compendium, xr.Dataset)
    dataset = open_compendium(compendium) if not isinstance(compendium, xr.Dataset) else compendium
    name = str(compendium) if stored else f"the {dataset.attrs.get('kind', '')} Dataset"
    missing = {"assembly", "species", "plan"} - set(dataset.attrs)
    if missing:
        raise StoreError(
            f"{name} is no compendium",
            got=f"no attribute {', '.join(sorted(missing))}",
            expected="a compendium of epixs",
        )
    regions = regions_of(dataset)
    if dataset.sizes["bin"] != regions.n_bins:
        raise StoreError(
            f"{name} holds only a part of its compendium",
            got=f"{dataset.sizes['bin']:,} of {regions.n_bins:,} bins",
            expected="all bins",
            next_step="give all bins, and choose with `regions`",
        )
    labels, species = _labels_of(dataset), str(dataset.attrs["species"])
    return Source(
        name,
        labels,
        regions,
        species,
        str(dataset.attrs["plan"]),
        str(dataset.attrs.get("uncovered")) != "zero",
        SPREAD.name in dataset,
        absolute(str(compendium)) if stored else dataset,
        tuple(roles_in(labels, species, provenance_of(dataset))),
    )


def _labels_of(dataset: xr.Dataset) -> pd.DataFrame:
    """Return the labels of all experiments. A lazy Dataset has no summaries, and all its rows are `ok`."""
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
    """Choose the rows of each source to export, and note those that cannot be exported.

    Raises
    ------
    AxisError
        If a biosample, an assay or a pair is in no source, or nothing is left.
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
            got=a_few(labels),
            next_step="`epixs info` lists the experiments of a store",
        )
