"""The accessor `ds.epixs`: places bins on the genome and selects by locus, if there is a region table."""

from __future__ import annotations

import warnings
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from epixs.compendium.picture import page, pairs_svg
from epixs.compendium.plan import experiment_names
from epixs.compendium.read import experiments_of, regions_of
from epixs.compendium.schema import BIN_INDEX, EXPERIMENT, KIND, SIGNAL
from epixs.errors import EpixsWarning, RegionError, StoreError
from epixs.genome.locus import parse_locus
from epixs.genome.regions import BIN_SIZE, Regions


@xr.register_dataset_accessor("epixs")  # type: ignore[no-untyped-call, unused-ignore]
class EpixsAccessor:
    """Genomic view of a compendium, or of any selection from one, opened by xarray or by epixs.

    The coordinate `bin_index`, which every selection keeps, tells which bins a Dataset holds.
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    @property
    def regions(self) -> Regions:
        """All regions of the compendium, also after a selection."""
        return regions_of(self._dataset)

    def _repr_html_(self) -> str:
        """Show in a notebook the sizes, and which pairs are measured or imputed."""
        dataset, table = self._dataset, self.experiments
        attrs = dataset.attrs
        kinds = dataset[KIND.name].to_numpy() if KIND.name in dataset else [attrs.get("kind")] * len(table)
        statuses = table["status"] if "status" in table else ["ok"] * len(table)
        pairs = {}
        for row, kind, status in zip(table.itertuples(), kinds, statuses, strict=True):
            state = "imputed" if str(kind) == "imputed" else "measured"
            pairs[str(row.biosample), str(row.assay)] = state if status == "ok" else "unreadable"
        biosamples, assays = (sorted({pair[at] for pair in pairs}) for at in (0, 1))
        sizes: list[tuple[str, object]] = [
            ("species", f"{attrs.get('species', '?')} ({attrs.get('assembly', '?')})"),
            ("experiments", len(table)),
            ("biosamples", len(biosamples)),
            ("assays", len(assays)),
            ("bins of 25 bp", int(dataset.sizes.get("bin", 0))),
        ]
        picture = pairs_svg(biosamples, assays, pairs)
        return page("epixs compendium", sizes, [("biosamples x assays", picture)])

    @property
    def experiments(self) -> pd.DataFrame:
        """Table of the experiments, one row each."""
        return experiments_of(self._dataset)

    def bins(self, bins: npt.ArrayLike | None = None) -> pd.DataFrame:
        """Tabulate the coordinates of bins, `bin chrom start end region`, one row per bin.

        Parameters
        ----------
        bins
            Numbers of bins of the compendium; by default those that the Dataset holds, in its order.

        Raises
        ------
        RegionError
            If a bin lies outside the compendium, or the Dataset does not say which bins it holds.
        """
        return self.regions.table(self._held if bins is None else bins)

    def to_dataframe(self, locus: str | None = None) -> pd.DataFrame:
        """Tabulate the signal of a locus: `chrom`, `start` and `end`, then one column per experiment.

        Parameters
        ----------
        locus
            As in `sel`; by default all bins that the Dataset holds.

        Returns
        -------
        One row per bin, in arcsinh units. Columns are named `"biosample / assay"`. If a name occurs twice, as
        when observed and imputed experiments are concatenated, the accession follows.

        Raises
        ------
        RegionError
            As `sel` and `bins` do.
        StoreError
            If the Dataset lacks experiments or their labels.

        Examples
        --------
        >>> table = dataset.epixs.to_dataframe("chr19:3,000,000-3,100,000")  # doctest: +SKIP
        """
        chosen = self._dataset if locus is None else self.sel(locus)
        place: pd.DataFrame = chosen.epixs.bins()[["chrom", "start", "end"]]
        signal = chosen[SIGNAL.name]
        if EXPERIMENT.name not in signal.dims:  # one was selected
            signal = signal.expand_dims(EXPERIMENT.name)
        names = ("biosample", "assay", "accession")
        lacking = [name for name in names if name not in signal.coords]
        if lacking or set(signal.dims) != set(SIGNAL.dims):
            raise StoreError(
                "this Dataset has no rows of experiments",
                got=f"dimensions {', '.join(map(str, signal.dims))}"
                + (f", no {', '.join(lacking)}" if lacking else ""),
                expected="experiments with their labels, by bins",
                next_step="make the table of the opened store, and group or unstack that table",
            )
        labels = pd.DataFrame({name: np.atleast_1d(signal[name].to_numpy()) for name in names}, dtype=object)
        values = signal.transpose(*reversed(SIGNAL.dims)).to_numpy()
        return pd.concat([place, pd.DataFrame(values, columns=experiment_names(labels))], axis=1)

    def sel(self, locus: str) -> xr.Dataset:
        """Select the bins that a locus touches, with their coordinates.

        Parameters
        ----------
        locus
            `"chr19:3,000,000-3,100,000"` (0-based, half-open) or a whole chromosome, `"chr19"`.

        Returns
        -------
        The Dataset over those bins, by region, with coordinates `bin`, `bin_chrom`, `bin_start`, `bin_end`.
        An `EpixsWarning` is issued if the regions do not hold all of the locus.

        Raises
        ------
        RegionError
            If the compendium has no bin there, or the Dataset lacks some of the compendium's bins there.
        """
        regions = self.regions
        bins = regions.locate(locus)
        _, start, end = parse_locus(locus)
        spanned = -(-end // BIN_SIZE) - start // BIN_SIZE
        if bins.size < spanned and ":" in locus:
            warnings.warn(
                f"{locus} reaches outside the regions: {bins.size:,} of its {spanned:,} bins are there",
                EpixsWarning,
                stacklevel=2,
            )
        chosen = self._dataset.isel(bin=self._where(bins, locus))
        table = regions.table(bins)
        return chosen.assign_coords(
            bin=("bin", bins),
            bin_chrom=("bin", table["chrom"].to_numpy()),
            bin_start=("bin", table["start"].to_numpy()),
            bin_end=("bin", table["end"].to_numpy()),
        )

    @property
    def _index(self) -> xr.DataArray:
        """The coordinate `bin_index`, not loaded."""
        index: xr.DataArray | None = self._dataset.coords.get(BIN_INDEX.name)
        if index is None or index.dims != BIN_INDEX.dims:
            raise RegionError(
                "this Dataset does not say which bins it holds",
                got="no coordinate bin_index along bin",
                expected="bin_index, as stores have it",
                next_step="open a store of an earlier version with `epixs.open_compendium`, or run the "
                "command that wrote it again, which adds bin_index",
            )
        if index.dtype.kind not in "iu":
            raise RegionError(
                "bins of this Dataset were merged: they are no longer bins of 25 bp",
                got=f"a bin_index of {index.dtype}",
                expected="whole numbers",
                next_step="select the locus first, then coarsen or average",
            )
        return index

    @cached_property
    def _held(self) -> npt.NDArray[np.int64]:
        """Numbers of the bins that the Dataset holds."""
        return np.asarray(self._index.to_numpy(), dtype=np.int64)

    def _where(self, bins: npt.NDArray[np.int64], locus: str) -> slice | npt.NDArray[np.int64]:
        """Find the positions of some bins in the Dataset; if its bins are in order, this reads little."""
        index = self._index
        if index.size:
            first = int(bins[0]) - int(index[0])
            run = slice(first, first + bins.size)
            if first >= 0 and run.stop <= index.size and np.array_equal(index[run].to_numpy(), bins):
                return run
        held = self._held
        order = np.argsort(held, kind="stable")
        low, high = (np.searchsorted(held[order], bins, side=side) for side in ("left", "right"))
        count = high - low
        if (count != 1).any():
            some = int((count > 0).sum())
            raise RegionError(
                f"this Dataset does not hold {locus} as the compendium does",
                got=f"{some:,} of its {bins.size:,} bins{', some twice' if (count > 1).any() else ''}",
                expected="each of them once",
                next_step="select the locus on the whole store, then cut further",
            )
        return order[low]
