"""The entries of one training step, and the protocol of samplers, which draw them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis

ENTRY = ("position", "biosample", "assay", "value", "weight")
"""Names of the arrays that hold a batch's entries."""


class InputSpec(NamedTuple):
    """Type and shape of one input of a model in every batch; None is a length that varies."""

    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Batch:
    """The entries of one training step, `P` positions x `E` experiments.

    Parameters
    ----------
    position
        25 bp, 250 bp and 5 kbp positions on the joint axis, int32, shape `(P, 3)`.
    biosample, assay
        Numbers on the joint axis, int32, shape `(P, E)`.
    value
        Values in arcsinh units, float32, shape `(P, E)`.
    weight
        Weight of each entry in training, 0 for entries not to be trained on; float32, shape `(P, E)`.
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
        """Select some of the positions, by number or mask."""
        entry: dict[str, Any] = {name: getattr(self, name)[rows] for name in ENTRY}
        return Batch(**entry, inputs={name: values[rows] for name, values in self.inputs.items()})


Predictions = Callable[[Batch], npt.NDArray[np.float32]]
"""Function that gives each member's predictions for a batch: arcsinh units, shape `(member, P)`."""


def join_batches(parts: Sequence[Batch]) -> Batch:
    """Concatenate batches of a model that reads position, biosample and assay."""
    entries: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in ENTRY
    }
    return Batch(**entries)


class BatchSampler(Protocol):
    """Protocol of samplers: `Sampler`, or one for a kind of model that reads other inputs.

    Attributes
    ----------
    axis
        Axis that it draws from.
    seed
        Seed that decides everything drawn.
    """

    axis: JointAxis
    seed: int

    @property
    def input_specs(self) -> Mapping[str, InputSpec]:
        """Type and shape of each of a batch's `inputs`."""

    @property
    def positions_per_step(self) -> int:
        """Number of positions per batch."""

    @property
    def experiments_per_position(self) -> int:
        """Number of entries at each position."""

    @property
    def n_positions(self) -> int:
        """Number of positions that an epoch visits."""

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps until an epoch has visited all its positions."""

    def batch(self, epoch: int, step: int) -> Batch:
        """Draw the entries of one step: a function of seed, epoch and step alone."""

    def held_out_entries(self, count: int) -> Batch:
        """Draw about `count` entries that are never trained on, fewer if their inputs are large; `E` is 1."""

    def held_out_tracks(self, count: int) -> Batch:
        """Draw as many entries of the experiments that the axis holds out whole; `E` is 1."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
