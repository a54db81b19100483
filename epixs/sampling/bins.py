"""Draw bins one by one, and read a track's values there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from epixs.compendium.transform import STEPS_PER_UNIT
from epixs.sampling.windows import Windows

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class Places(NamedTuple):
    """Bins to read around: the piece of each, and its place there, shape `(bin,)` or `(target, bin)`."""

    piece: Ints
    offset: Ints


def draw_bins(windows: Windows, count: int, generator: np.random.Generator) -> Places:
    """Draw requested bins of windows, sorted."""
    drawn = np.sort(generator.integers(0, windows.n_bins, count))
    piece = windows.ends.searchsorted(drawn, side="right")
    return Places(piece, drawn - windows.ends[piece] + windows.high[piece])


def together(places: Sequence[Places]) -> Places:
    """Return several targets' bins, as many of each, as one value of shape `(target, bin)`."""
    return Places(np.stack([one.piece for one in places]), np.stack([one.offset for one in places]))


def read_values(windows: Windows, track: Ints, places: Places) -> tuple[Floats, Floats]:
    """Read tracks at some bins; their numbers are broadcast against the bins.

    Returns
    -------
    The values, arcsinh units, and 1 for each that is known, else 0.
    """
    column = windows.column[places.piece] + places.offset
    # Sums may wrap around; their difference is still right.
    value = windows.sums[track, column + 1] - windows.sums[track, column]
    known = np.ones(column.shape, np.float32)
    if windows.missing is not None:
        known[windows.missing[track, column]] = 0
    return (value / STEPS_PER_UNIT).astype(np.float32), known
