"""Read chunks of one species' store, and locate the training experiments in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.compendium.read import open_compendium, open_signal, stored_layout
from epixs.errors import EpixsError, TrainingError
from epixs.storage.location import reaching


@dataclass(frozen=True)
class Source:
    """One species' store: its chunks, and the places of the training experiments in them.

    Parameters
    ----------
    array
        Signal of the store.
    first_bin
        The species' first bin on the joint axis.
    chunk_rows, chunk_bins
        Shape of a chunk.
    groups
        Row groups that hold training experiments.
    first, rows
        For group `g`, `rows[first[g]:first[g + 1]]` are its rows with training experiments, counted within
        the group. The index in `rows` is the number of the experiment among those of the species.
    biosample, assay
        Numbers of each experiment on the joint axis, in the order of `rows`.
    """

    array: Any
    part: SpeciesAxis
    first_bin: int
    first_experiment: int
    chunk_rows: int
    chunk_bins: int
    groups: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    biosample: npt.NDArray[np.int32]
    assay: npt.NDArray[np.int32]

    @property
    def n_bins(self) -> int:
        """Number of bins of the species."""
        return self.part.n_positions[0]

    def read(self, group: int, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Read the values of a group's rows at bins `[start, stop)`."""
        low = int(self.groups[group]) * self.chunk_rows
        try:
            with reaching(self.part.source):
                values = self.array[low : low + self.chunk_rows, start:stop]
        except EpixsError:
            raise
        except Exception as error:  # zarr and its codecs raise many types
            raise TrainingError(
                f"{self.part.source} cannot be read at bins {start:,} to {stop:,}",
                got=f"{type(error).__name__}: {error}",
                next_step="check it with `epixs verify`",
            ) from error
        return np.ascontiguousarray(values, dtype=np.float32)


def open_source(axis: JointAxis, part: SpeciesAxis, first_experiment: int) -> Source:
    """Open one species' store; its experiments are numbered from `first_experiment` on.

    Raises
    ------
    TrainingError
        If the store is not the one that the axis was read from.
    """
    dataset = open_compendium(part.source)
    training = part.training.sort_values("row")
    row = training["row"].to_numpy(dtype=np.int64)
    n_bins = part.n_positions[0]
    if dataset.sizes["bin"] != n_bins or (row.size and row.max() >= dataset.sizes["experiment"]):
        raise TrainingError(f"{part.source} changed since its axis was read", next_step="start again")
    layout = stored_layout(part.source)
    groups, first = np.unique(row // layout.chunk_rows, return_index=True)
    return Source(
        open_signal(part.source),
        part,
        int(axis.offsets(part.species)[0]),
        first_experiment,
        layout.chunk_rows,
        layout.chunk_bins,
        groups,
        np.append(first, row.size).astype(np.int64),
        row % layout.chunk_rows,
        axis.biosample_index(part.species, training["biosample"]),
        axis.assay_index(training["assay"]),
    )
