"""One training step's entries, and the protocol of what draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis

ENTRY = ("position", "biosample", "assay", "value", "weight")
"""Names of the arrays that say which entries a batch holds."""


class InputSpec(NamedTuple):
    """Type and shape of one of a model's inputs in every batch; None for a length that changes."""

    dtype: str
    shape: tuple[int | None, ...]


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
        How much an entry counts in training, 0 where it may not be trained on; float32, shape `(P, E)`.
    inputs
        Arrays that the model reads, by name, with `P` rows each; by default `position`, `biosample` and
        `assay`.
    """

    position: npt.NDArray[np.int32]
    biosample: npt.NDArray[np.int32]
    assay: npt.NDArray[np.int32]
    value: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]
    inputs: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.inputs:
            own = {"position": self.position, "biosample": self.biosample, "assay": self.assay}
            object.__setattr__(self, "inputs", own)

    def take(self, rows: npt.NDArray[Any]) -> Batch:
        """Some of the positions, by number or mask."""
        entry: dict[str, Any] = {name: getattr(self, name)[rows] for name in ENTRY}
        return Batch(**entry, inputs={name: values[rows] for name, values in self.inputs.items()})


def join_batches(parts: Sequence[Batch]) -> Batch:
    """One batch after the other as one, whose model reads position, biosample and assay."""
    entries: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in ENTRY
    }
    return Batch(**entries)


class BatchSampler(Protocol):
    """What training draws from: `Sampler`, or one of a kind of model that reads other inputs.

    Attributes
    ----------
    axis
        What it draws from.
    seed
        Decides everything that is drawn.
    """

    axis: JointAxis
    seed: int

    @property
    def input_specs(self) -> Mapping[str, InputSpec]:
        """Type and shape of each of a batch's `inputs`."""

    @property
    def positions_per_step(self) -> int:
        """Positions of each batch."""

    @property
    def experiments_per_position(self) -> int:
        """Entries at each of them."""

    @property
    def n_positions(self) -> int:
        """Positions that an epoch visits."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps until an epoch has visited all its positions."""

    def batch(self, epoch: int, step: int) -> Batch:
        """Entries of one step: a function of seed, epoch and step alone."""

    def held_out_entries(self, count: int) -> Batch:
        """About `count` entries that are never trained on, fewer if their inputs are large; `E` is 1."""

    def held_out_tracks(self, count: int) -> Batch:
        """As many entries of the experiments that the axis holds out whole; `E` is 1."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
