"""`ds.epixs`: place bins on the genome and select by locus, on any Dataset with the region table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from epixs.compendium.store import experiments_of, regions_of
from epixs.genome import Regions


@xr.register_dataset_accessor("epixs")  # type: ignore[no-untyped-call, unused-ignore]
class EpixsAccessor:
    """Genomic view of a compendium that was opened with plain xarray or by epixs."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    @property
    def regions(self) -> Regions:
        """The regions of the compendium."""
        return regions_of(self._dataset)

    @property
    def experiments(self) -> pd.DataFrame:
        """The experiments as a table, one row each."""
        return experiments_of(self._dataset)

    def bins(self, bins: npt.ArrayLike | None = None) -> pd.DataFrame:
        """Coordinates of bins: a table `bin chrom start end region`, one row a bin."""
        if bins is None and "bin_chrom" in self._dataset.coords:
            names = ("chrom", "start", "end")
            placed = {name: self._dataset[f"bin_{name}"].to_numpy() for name in names}
            return pd.DataFrame({"bin": self._dataset["bin"].to_numpy(), **placed})
        return self.regions.table(bins)

    def sel(self, locus: str) -> xr.Dataset:
        """Select the bins that a locus touches, with their coordinates.

        Parameters
        ----------
        locus
            `"chr19:3,000,000-3,100,000"` (0-based, half-open) or a whole chromosome, `"chr19"`.

        Returns
        -------
        The Dataset over those bins, with coordinates `bin`, `bin_chrom`, `bin_start` and `bin_end`.

        Raises
        ------
        RegionError
            If the compendium has no bin there.
        """
        regions = self.regions
        bins = regions.locate(locus)
        contiguous = bool((np.diff(bins) == 1).all())
        chosen = self._dataset.isel(bin=slice(bins[0], bins[-1] + 1) if contiguous else bins)
        table = regions.table(bins)
        return chosen.assign_coords(
            bin=("bin", bins),
            bin_chrom=("bin", table["chrom"].to_numpy()),
            bin_start=("bin", table["start"].to_numpy()),
            bin_end=("bin", table["end"].to_numpy()),
        )
