"""Quality control of a compendium: measure each experiment, and say which ones stand out and why."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from epixs.checks.remarks import LARGE_MEAN, LOW_COVERAGE
from epixs.cluster.tasks import Progress, run_tasks
from epixs.compendium.read import experiments_of, open_compendium, open_signal
from epixs.compendium.schema import REMOVED
from epixs.errors import StoreError
from epixs.sampling.draws import PACKED_LIMIT
from epixs.storage.store import Store, open_store

READ_BYTES = 1 << 27
"""Number of bytes of signal that one task reads, but at least one chunk's width of all experiments."""

SUM_BYTES = 1 << 25
"""Number of bytes of float64 values that are summed at once."""

MIN_TRACKS = 4
"""Minimum number of tracks of an assay among which one can stand out."""

SCALE_FACTOR = 3.0

CORRELATION_SPREADS, CORRELATION_MARGIN = 3.0, 0.1

SPARSE_SHARE = 0.1

COLUMNS = [
    "biosample", "assay", "assay_class", "accession", "status", "notes", "signal_mean", "signal_min",
    "signal_max", "zero_fraction", "covered_fraction", "negative_fraction", "clipped_bins", "correlation",
]  # fmt: skip


@dataclass(frozen=True)
class _Sums:
    """Sums over bins, for experiments (`x`) and for assays (`s`, the sum of an assay's tracks)."""

    bins: npt.NDArray[np.float64]
    x: npt.NDArray[np.float64]
    xx: npt.NDArray[np.float64]
    xs: npt.NDArray[np.float64]
    s: npt.NDArray[np.float64]
    ss: npt.NDArray[np.float64]
    known: npt.NDArray[np.float64]
    negative: npt.NDArray[np.float64]
    clipped: npt.NDArray[np.float64]


def quality(
    path: str | Path, *, client: Any = None, progress: Callable[[Progress], None] | None = None
) -> pd.DataFrame:
    """Measure every experiment of a store, in one pass over it.

    Parameters
    ----------
    path
        An observed store, finished or not.
    client
        A `distributed.Client`; without one, in this process.
    progress
        Function called after each range of bins.

    Returns
    -------
    One row per experiment, with the columns `COLUMNS`. `correlation` is Pearson's, in arcsinh units, with the
    mean of the assay's other tracks. `clipped_bins` counts bins beyond 16 arcsinh units, which training
    clips. `notes` says why an experiment stands out, and is empty if it does not.
    """
    store = open_store(path)
    dataset = open_compendium(store, unfinished=True)
    if dataset.attrs["kind"] != "observed":
        raise StoreError(f"{path} is {dataset.attrs['kind']}", expected="a store of observed experiments")
    table = experiments_of(dataset)
    usable = (table["status"] == "ok") & table["signal_max"].notna()
    if dataset.attrs["uncovered"] == "nan":  # a sparse track would leave few bins to compare all tracks on
        usable &= table["covered_fraction"] >= LOW_COVERAGE
    readable = np.flatnonzero(usable)
    order = readable[np.argsort(table["assay"].to_numpy()[readable], kind="stable")]
    names = table["assay"].to_numpy()[order]
    firsts = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]])) if order.size else order
    n_bins = dataset.sizes["bin"]
    step = int(dataset.signal.encoding.get("chunks", (1, n_bins))[1])
    step *= max(1, READ_BYTES // (4 * step * max(1, len(table))))
    edges = [*range(0, n_bins, step), n_bins]
    parts = [(low, high, order, firsts) for low, high in itertools.pairwise(edges)] if order.size else []
    sums: list[_Sums] = []
    for number, part in enumerate(run_tasks(sum_bins, store, parts, client), 1):
        sums = [_add(sums[0], part)] if sums else [part]
        if progress:
            progress(Progress(number, len(parts)))
    for name in ("negative_fraction", "clipped_bins", "correlation"):
        table[name] = np.nan
    if sums:
        known = np.maximum(sums[0].known, 1)
        table.loc[order, "negative_fraction"] = sums[0].negative / known
        table.loc[order, "clipped_bins"] = sums[0].clipped
        table.loc[order, "correlation"] = _correlations(sums[0], firsts)
    table["notes"] = [_notes(row, table) for row in table.itertuples()]
    return table[COLUMNS]


def sum_bins(place: Store | str, part: tuple[int, int, npt.NDArray[Any], npt.NDArray[Any]]) -> _Sums:
    """Sum over some bins of the rows in `order`, whose assays begin at `firsts`."""
    low, high, order, firsts = part
    values = open_signal(place)[:, low:high]
    width = max(1, SUM_BYTES // (8 * len(order)))
    columns = (values[order, at : at + width] for at in range(0, high - low, width))
    return functools.reduce(_add, (_sums_of(block.astype(np.float64), firsts) for block in columns))


def _sums_of(values: npt.NDArray[np.float64], firsts: npt.NDArray[Any]) -> _Sums:
    known = ~np.isnan(values)
    group = np.repeat(np.arange(firsts.size), np.diff([*firsts, len(values)]))
    whole = np.minimum.reduceat(known, firsts, axis=0)  # bins where all tracks of an assay are known
    x = np.where(whole[group], values, 0.0)
    s = np.add.reduceat(x, firsts, axis=0)
    return _Sums(
        whole.sum(axis=1).astype(np.float64),
        x.sum(axis=1),
        (x * x).sum(axis=1),
        np.einsum("ij,ij->i", x, s[group]),
        s.sum(axis=1),
        (s * s).sum(axis=1),
        known.sum(axis=1).astype(np.float64),
        (values < 0).sum(axis=1).astype(np.float64),
        (np.abs(values) > PACKED_LIMIT).sum(axis=1).astype(np.float64),
    )


def _add(a: _Sums, b: _Sums) -> _Sums:
    return _Sums(*(getattr(a, name) + getattr(b, name) for name in a.__dataclass_fields__))


def _correlations(sums: _Sums, firsts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Compute, from sums, the Pearson correlation of each track with the mean of its assay's other tracks."""
    sizes = np.diff([*firsts, sums.x.size])
    group = np.repeat(np.arange(firsts.size), sizes)
    n, others = sums.bins[group], sizes[group] - 1.0
    s, ss = sums.s[group], sums.ss[group]
    with np.errstate(invalid="ignore", divide="ignore"):
        m = (s - sums.x) / others
        mm = (ss - 2 * sums.xs + sums.xx) / others**2
        xm = (sums.xs - sums.xx) / others
        covariance = xm / n - sums.x * m / n**2
        spread = np.sqrt((sums.xx / n - (sums.x / n) ** 2) * (mm / n - (m / n) ** 2))
        r = np.where(spread > 1e-9, covariance / spread, np.nan)
    return np.asarray(np.where(others > 0, np.clip(r, -1.0, 1.0), np.nan))


def _notes(row: Any, table: pd.DataFrame) -> str:
    """Say why an experiment stands out among those of its assay."""
    if row.status.startswith(REMOVED):
        return str(row.status)
    if row.status != "ok":
        return f"could not be read: {row.status}"
    if np.isnan(row.signal_max):
        return "has no value in these regions"
    notes = []
    if row.source_notes:
        notes.append(row.source_notes)
    if row.signal_min < 0:
        notes.append(f"negative values in {row.negative_fraction:.1%} of bins (kept)")
    if row.clipped_bins > 0:
        notes.append(f"{row.clipped_bins:.0f} bins beyond 16 arcsinh units")
    if not row.signal_max > row.signal_min:
        return "; ".join([*notes, "the same value everywhere"])
    same = ["signal_mean", "signal_min", "signal_max", "zero_fraction"]
    twins = table[(table[same] == [getattr(row, name) for name in same]).all(axis=1)]
    twins = twins[twins.index != row.Index]
    if len(twins):
        notes.append(f"the same values as {', '.join(twins['accession'].iloc[:3])}")
    peers = table[(table["assay"] == row.assay) & (table["status"] == "ok")]
    if len(peers) >= MIN_TRACKS:
        mean = float(peers["signal_mean"].abs().median())
        if mean > 0 and not 1 / SCALE_FACTOR <= abs(row.signal_mean) / mean <= SCALE_FACTOR:
            notes.append(f"mean {abs(row.signal_mean) / mean:.2g} times the median of its assay")
        r = peers["correlation"].dropna()
        middle = float(r.median()) if len(r) else np.nan
        spread = 1.4826 * float((r - middle).abs().median()) if len(r) else np.nan
        if row.correlation < middle - CORRELATION_SPREADS * spread - CORRELATION_MARGIN:
            notes.append(f"correlation {row.correlation:.2f} with its assay, where {middle:.2f} is usual")
        covered = float(peers["covered_fraction"].median())
        if row.covered_fraction < SPARSE_SHARE * covered:
            notes.append(f"covers {row.covered_fraction:.1%} of bases, where {covered:.1%} is usual")
    if row.covered_fraction < LOW_COVERAGE:
        notes.append(
            f"has values on {row.covered_fraction:.2g} of all bases: ingested over regions it covers?"
        )
    if abs(row.signal_mean) > LARGE_MEAN:
        notes.append(
            f"a mean of {abs(row.signal_mean):.3g} arcsinh units: in other units, or a factor too large?"
        )
    return "; ".join(notes)
