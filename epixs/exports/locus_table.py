"""Write one locus of compendia as a table: bedGraph for genome tools, Parquet for data frames."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from epixs.catalog.pairs import Pair
from epixs.compendium.plan import experiment_names
from epixs.compendium.transform import decode
from epixs.errors import ConfigError, RegionError
from epixs.exports.names import inert
from epixs.exports.source import choose_rows, open_export_source

MOST_VALUES = 1 << 27
"""Maximum number of values in a table: half a gigabyte."""


def export_locus(
    compendia: str | Path | xr.Dataset | Sequence[str | Path | xr.Dataset],
    locus: str,
    *,
    bedgraph: str | Path | None = None,
    parquet: str | Path | None = None,
    raw: bool = False,
    biosamples: Collection[str] = (),
    assays: Collection[str] = (),
    pairs: Collection[Pair] | None = None,
) -> pd.DataFrame:
    """Write the signal of one locus as bedGraph or Parquet.

    Parameters
    ----------
    compendia, raw, biosamples, assays, pairs
        As in `export`. All compendia must be of one assembly and hold the same bins of the locus.
    locus
        For instance `"chr19:3,000,000-3,100,000"`.
    bedgraph
        Text file: a `track` line per experiment, then its items. Neighbours with the same value are one item;
        bins without a value are absent.
    parquet
        Parquet file: `chrom`, `start` and `end` of each bin, then one column per experiment.

    Returns
    -------
    The table, as from `ds.epixs.to_dataframe`. If there are both, column names say `observed` or `imputed`.

    Raises
    ------
    AxisError
        If a biosample, an assay or a pair is in no compendium.
    RegionError
        If a compendium has no bin of the locus, they differ in bins, or the locus is too large for one table.
    ConfigError
        If not exactly one file is given, it cannot be written, or pyarrow is missing for Parquet.
    """
    path = _file(bedgraph, parquet)
    several: Sequence[str | Path | xr.Dataset] = (
        compendia if isinstance(compendia, (list, tuple)) else [compendia]  # type: ignore[list-item]
    )
    sources = [open_export_source(compendium) for compendium in several]
    rows, notes = choose_rows(sources, biosamples=biosamples, assays=assays, pairs=pairs)
    place, columns, labels = None, [], []
    for source, its_rows in zip(sources, rows, strict=True):
        if not its_rows:
            continue
        bins = source.regions.locate(locus)
        if bins.size * sum(map(len, rows)) > MOST_VALUES:
            raise RegionError(
                "locus", got=f"{bins.size * sum(map(len, rows)):,} values in {locus}",
                expected=f"{MOST_VALUES:,} at most in one table",
                next_step="take fewer experiments or a smaller locus, or bigWigs: `epixs export --bigwig`",
            )  # fmt: skip
        table = source.regions.table(bins)[["chrom", "start", "end"]].reset_index(drop=True)
        if place is not None and not place.equals(table):
            raise RegionError(
                f"the compendia hold different bins of {locus}",
                expected="the same bins in each",
                next_step="write one table for each",
            )
        place = table
        read = source.reader(its_rows)
        values = np.concatenate([read(start, stop) for start, stop in _runs(bins)], axis=1)
        columns.append(decode(values).astype(np.float32) if raw else values)
        labels.append(source.labels.loc[its_rows])
    assert place is not None  # choose_rows refuses an empty choice
    signal = pd.DataFrame(np.concatenate(columns).T, columns=_names(pd.concat(labels, ignore_index=True)))
    table_of_locus = pd.concat([place, signal], axis=1)
    table_of_locus = table_of_locus.sort_values(
        "start", kind="stable", ignore_index=True
    )  # regions may be in any order
    with _whole(path) as partial:
        if bedgraph is not None:
            units = pd.concat(labels)["output_type"].astype(str)
            _write_bedgraph(
                table_of_locus, [text if raw else f"arcsinh of {text}" for text in units], partial
            )
        else:
            _write_parquet(table_of_locus, partial)
    table_of_locus.attrs["notes"] = notes
    return table_of_locus


def _file(bedgraph: str | Path | None, parquet: str | Path | None) -> Path:
    if (bedgraph is None) == (parquet is None):
        got = "neither" if bedgraph is None else "both"
        raise ConfigError("--bedgraph and --parquet", got=got, expected="one of them")
    path = Path(str(bedgraph if parquet is None else parquet))
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: no folder {path.parent}", next_step="make that folder first")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder", expected="a file for a table")
    return path


def _runs(bins: np.ndarray) -> list[tuple[int, int]]:
    """Split bins into consecutive ones, as `[start, stop)`."""
    breaks = np.flatnonzero(np.diff(bins) != 1) + 1
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(bins, breaks)]


def _names(labels: pd.DataFrame) -> list[str]:
    """Name each experiment, with its kind if it is imputed or there are two kinds."""
    names = experiment_names(labels[["biosample", "assay", "accession"]]).tolist()
    if set(labels["kind"]) == {"imputed"}:
        return [f"{name} (imputed)" for name in names]
    if len(set(labels["kind"])) > 1:
        labels_only = [f"{b} / {a}" for b, a in zip(labels["biosample"], labels["assay"], strict=True)]
        names = [f"{name} ({kind})" for name, kind in zip(labels_only, labels["kind"], strict=True)]
        if len(set(names)) < len(names):
            names = [
                f"{name} / {accession}" for name, accession in zip(names, labels["accession"], strict=True)
            ]
    return [str(name) for name in names]


def _write_bedgraph(table: pd.DataFrame, units: Sequence[str], path: Path) -> None:
    chrom = table["chrom"].to_numpy()
    start, end = table["start"].to_numpy(), table["end"].to_numpy()
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for name, unit in zip(table.columns[3:], units, strict=True):
            values = table[name].to_numpy()
            label = inert(name)
            file.write(f'track type=bedGraph name="{label}" description="{label}, {inert(unit)}"\n')
            known = np.flatnonzero(~np.isnan(values))
            at, value = known, values[known]
            follows = np.zeros(at.size, dtype=bool)
            follows[1:] = (end[at[:-1]] == start[at[1:]]) & (value[1:] == value[:-1])
            first = np.flatnonzero(~follows)
            last = np.append(first[1:], at.size) - 1
            for i, j in zip(first.tolist(), last.tolist(), strict=True):
                file.write(f"{chrom[at[i]]}\t{start[at[i]]}\t{end[at[j]]}\t{value[i]:.7g}\n")


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "Parquet files need pyarrow",
            got="it is not installed",
            next_step="install it with `pip install pyarrow`, or epixs with its extra `tables`",
        ) from error
    table.to_parquet(path, index=False, engine="pyarrow")


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield a partial file's path, and rename it to `path` when everything is written."""
    partial = path.with_name(f"partial-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
