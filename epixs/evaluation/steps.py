"""Convert tracks to whole steps of 1/2048 arcsinh units, so that evaluation can count values.

Stores hold only such steps. Other tracks (of a baseline, of a lazy imputation) are rounded to them, as they
would be if they were written to a store.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from epixs.compendium.transform import STEPS_PER_UNIT
from epixs.compiled import compiled

Steps = npt.NDArray[np.int16]

MISSING = -32768
"""Step that stands for NaN."""

LIMIT = 32767
"""Largest step, 16 arcsinh units (4.4 million in a track's own units). Values beyond it count as this one."""

N_STEPS = 1 << 16
"""Number of different steps. In a table over all of them, a step has the index `step + OFFSET`."""

OFFSET = 1 << 15


def to_steps(values: npt.ArrayLike) -> Steps:
    """Round arcsinh units to whole steps; NaN becomes `MISSING`.

    Examples
    --------
    >>> to_steps([0.0, 1.0, 1.0001, np.nan, 99.0]).tolist()
    [0, 2048, 2048, -32768, 32767]
    """
    units = np.ascontiguousarray(values, dtype=np.float32)
    steps = np.empty(units.shape, dtype=np.int16)
    _to_steps(units.reshape(-1), steps.reshape(-1))
    return steps


def to_units(steps: Steps) -> npt.NDArray[np.float32]:
    """Turn steps back into arcsinh units; `MISSING` becomes NaN."""
    units = steps.astype(np.float32) / np.float32(STEPS_PER_UNIT)
    units[steps == MISSING] = np.nan
    return units


def round_steps(values: npt.NDArray[np.float64]) -> Steps:
    """Round values that are already in steps; NaN becomes `MISSING`."""
    rounded = np.clip(np.rint(values), -LIMIT, LIMIT)
    return np.where(np.isnan(rounded), MISSING, rounded).astype(np.int16)


@cache
def raw_units() -> npt.NDArray[np.float64]:
    """Return the value of each step in the track's own units, shape `(N_STEPS,)`; NaN for `MISSING`."""
    table = np.sinh((np.arange(N_STEPS) - OFFSET) / STEPS_PER_UNIT)
    table[0] = np.nan
    table.flags.writeable = False
    return table


@compiled()
def _to_steps(values: npt.NDArray[np.float32], steps: Steps) -> None:
    for i in range(values.size):
        value = values[i] * np.float32(STEPS_PER_UNIT)
        held = min(max(value, np.float32(-LIMIT)), np.float32(LIMIT))
        rounded = np.rint(held)
        steps[i] = np.int16(rounded) if value == value else np.int16(MISSING)
