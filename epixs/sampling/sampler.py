"""Draw training batches from signal in memory if it fits, else out of core."""

from __future__ import annotations

import weakref

from epixs.axis.axis import JointAxis
from epixs.errors import TrainingError
from epixs.sampling.batch import Batch, InputSpec
from epixs.sampling.calls import Calls, Closing
from epixs.sampling.memory import InMemory, memory_needed
from epixs.sampling.order import visits_of
from epixs.sampling.pools import OutOfCore, fewest_bytes, most_bytes


class Sampler(Closing):
    """Draws training batches and the held-out entries of a joint axis.

    Every position of the joint axis comes once per epoch, in a new order each epoch, with one experiment (or
    more) drawn uniformly from those of its species that are known there. Some entries are held out: blocks of
    (5 kbp position, experiment), chosen by seed, which are never drawn for training.

    Threads of TensorFlow draw batches ahead. `with Sampler(...) as sampler:` ends that, even if training
    fails or is interrupted. Otherwise, a garbage-collected iterator waits for the batches it is drawing, for
    ever if the thread that collects it is one of those that draw them.

    Parameters
    ----------
    axis
        Axis to train over.
    batch_size
        Entries per batch: positions x experiments per position.
    experiments_per_position
        Experiments drawn at each position: 1 as in the paper; more of them share the cost of a position.
    held_out
        Share of (5 kbp position, experiment) blocks that are never trained on.
    species_weight
        Share of each species in an epoch: `"by_bins"` as in the paper, `"balanced"`, or numbers, as in
        `"mouse=3, human=1"`.
    seed
        Seed that decides everything drawn.
    memory_bytes
        Maximum memory of the training signal. If the signal does not fit, each epoch reads it again from the
        stores (docs/training.md). None keeps it in memory, whatever its size.

    Examples
    --------
    >>> import epixs
    >>> files = epixs.simulate("world", size="tiny")
    >>> chosen = epixs.make_catalog("world/metadata.tsv", "catalog.tsv")
    >>> table = epixs.ingest("catalog.tsv", "world/mouse.bed", "mouse.zarr", species="mouse")
    >>> axis = epixs.joint_axis("mouse.zarr")
    >>> with epixs.Sampler(axis, batch_size=500, seed=0) as sampler:
    ...     batch = sampler.batch(0, 0)  # of epoch 0, its first step
    >>> batch.position.shape, batch.value.shape  # a 25 bp, a 250 bp and a 5 kbp position; arcsinh units
    ((500, 3), (500, 1))
    """

    def __init__(
        self,
        axis: JointAxis,
        *,
        batch_size: int = 40_000,
        experiments_per_position: int = 1,
        held_out: float = 0.02,
        species_weight: str = "by_bins",
        seed: int = 0,
        memory_bytes: int | None = None,
    ) -> None:
        self.axis, self.seed = axis, seed
        self.experiments_per_position = experiments_per_position
        self.visits = visits_of(axis, species_weight)
        self.entries: InMemory | OutOfCore
        if memory_bytes is None or memory_needed(axis) <= memory_bytes:
            self.entries = InMemory(axis, experiments_per_position, held_out, self.visits, seed)
        else:
            self.entries = OutOfCore(
                axis, experiments_per_position, held_out, self.visits, seed, memory_bytes
            )
        self.positions_per_step = min(max(1, batch_size // experiments_per_position), self.n_positions)
        self._calls = Calls()
        self._end = weakref.finalize(self, _end, self._calls, self.entries)

    @property
    def in_memory(self) -> bool:
        """Whether the training signal is in memory."""
        return isinstance(self.entries, InMemory)

    @property
    def n_positions(self) -> int:
        """Number of positions that an epoch visits: as many as have an experiment to train on."""
        return sum(self.visits.values())

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps until an epoch has visited all its positions."""
        return -(-self.n_positions // self.positions_per_step)

    @property
    def input_specs(self) -> dict[str, InputSpec]:
        """Type and shape of each of a batch's `inputs`."""
        labels = InputSpec("int32", (self.positions_per_step, self.experiments_per_position))
        position = InputSpec("int32", (self.positions_per_step, 3))
        return {"position": position, "biosample": labels, "assay": labels}

    def batch(self, epoch: int, step: int) -> Batch:
        """Draw the entries of one step; the last step of an epoch is filled up with second visits."""
        with self._calls.one():
            return self.entries.take(epoch, step * self.positions_per_step, self.positions_per_step)

    def held_out_entries(self, count: int) -> Batch:
        """Draw about `count` entries that are never trained on, each equally likely; `E` is 1.

        Raises
        ------
        TrainingError
            If there are no such entries.
        """
        entries = self.entries.held_out_entries(count)
        if not entries.value.size:
            raise TrainingError(
                "no entry is held out",
                expected="a larger share",
                next_step="raise held_out in the configuration",
            )
        return entries

    def held_out_tracks(self, count: int) -> Batch:
        """Draw about `count` entries of experiments that the axis holds out whole, at random positions."""
        alone = self.axis.held_out_alone()
        with Sampler(alone, batch_size=count, held_out=0.0, seed=self.seed) as sampler:
            return sampler.batch(0, 0)


def _end(calls: Calls, entries: InMemory | OutOfCore) -> None:
    calls.refuse()
    if isinstance(entries, OutOfCore):
        entries.close()
    calls.wait()


def signal_memory(axis: JointAxis, experiments_per_position: int, available: int) -> tuple[int, bool]:
    """Return the bytes of a sampler's signal if `available` may be used, and whether that is all of it."""
    whole, width = memory_needed(axis), experiments_per_position
    pools = min(max(available, fewest_bytes(axis, width)), most_bytes(axis, width))
    in_memory = whole <= max(available, pools)
    return (whole if in_memory else pools), in_memory
