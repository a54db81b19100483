"""Transform means over bins into stored values, and back.

Stored values are arcsinh of the mean, rounded to a multiple of 1/2048. Rounding leaves the low mantissa
bits zero, so that float32 compresses to nearly the size of packed int16 (`docs/store.md` has the
figures). Any Zarr reader sees plain float32, with NaN where values are missing, and needs no scale factor.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

TRANSFORM = "arcsinh"

STEPS_PER_UNIT = 2048
"""Steps of stored values per arcsinh unit. Rounding to 1/2048 makes an error of at most 2.5e-4."""

FloatArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]


def encode(means: FloatArray) -> npt.NDArray[np.float32]:
    """Turn bin means (the track's own units) into stored values (arcsinh units); NaN stays NaN.

    Examples
    --------
    >>> encode(np.array([0.0, np.sinh(1.0)]))
    array([0., 1.], dtype=float32)
    """
    return quantise(np.arcsinh(np.asarray(means, dtype=np.float64)))


def quantise(values: FloatArray) -> npt.NDArray[np.float32]:
    """Round arcsinh units to the stored grid of 1/2048."""
    steps = np.multiply(values, STEPS_PER_UNIT)
    np.rint(steps, out=steps)
    return np.multiply(steps, 1 / STEPS_PER_UNIT, dtype=np.float32, casting="same_kind")


def decode(values: FloatArray) -> npt.NDArray[np.float64]:
    """Turn stored values (arcsinh units) back into the track's own units."""
    return np.sinh(np.asarray(values, dtype=np.float64))
