"""xarray's engine `epixs`: `xr.open_dataset(path, engine="epixs")` works without importing epixs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import xarray as xr
from xarray.backends import BackendEntrypoint

from epixs.compendium.read import open_compendium


class EpixsEngine(BackendEntrypoint):
    """Opens a compendium as `epixs.open_compendium` does, checked and with its labels loaded."""

    description: ClassVar[str] = "Open compendia of epixs, checked and with their labels loaded"

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
    ) -> xr.Dataset:
        """Open a finished store."""
        dataset = open_compendium(
            str(filename_or_obj) if isinstance(filename_or_obj, Path) else filename_or_obj
        )
        return dataset.drop_vars(drop_variables) if drop_variables else dataset

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Return False: xarray opens a Zarr store by its own engine, unless this one is named."""
        return False
