"""One training step's entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Batch:
    """One training step's entries, `P` positions x `E` experiments.

    Parameters
    ----------
    position
        25 bp, 250 bp and 5 kbp positions on the joint axis, int32, shape `(P, 3)`.
    biosample, assay
        Numbers on the joint axis, int32, shape `(P, E)`.
    value
        Arcsinh units, float32, shape `(P, E)`.
    weight
        1 where an entry may be trained on, else 0, float32, shape `(P, E)`.
    """

    position: npt.NDArray[np.int32]
    biosample: npt.NDArray[np.int32]
    assay: npt.NDArray[np.int32]
    value: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]


def join_batches(parts: Sequence[Batch]) -> Batch:
    """One batch after the other as one."""
    return Batch(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Batch)))
