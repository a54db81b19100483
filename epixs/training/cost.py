"""Estimate the cost of a training run, from sizes alone: parameters, bytes, epochs and steps."""

from __future__ import annotations

from dataclasses import dataclass

from epixs.axis.axis import JointAxis
from epixs.config import Settings
from epixs.errors import TrainingError
from epixs.models.kinds import kind_named

EPOCHS_OVER_JOINT = 4
"""Ratio of epochs to those of a joint fit, if only factors are fitted: they start anew, and nothing else
learns with them (docs/training.md)."""

BYTES_PER_PARAMETER = 16
"""Bytes of a parameter, its two Adam moments, and one copy while the best checkpoint is written; float32."""

PROCESS_BYTES = 1_000_000_000
"""Memory of Python, TensorFlow, its threads and the batches in flight, without model and signal; measured."""


@dataclass(frozen=True)
class Cost:
    """Cost of a training run, estimated before it starts.

    Parameters
    ----------
    parameters
        Parameters of the model.
    memory_bytes
        Peak resident memory.
    signal_bytes
        The part of it that the training signal may take.
    in_memory
        Whether all of the signal is in memory; if not, each epoch reads it again.
    batch_size, steps_per_epoch, epochs, positions, experiments
        Sizes of the run.
    """

    parameters: int
    memory_bytes: int
    signal_bytes: int
    in_memory: bool
    batch_size: int
    steps_per_epoch: int
    epochs: int
    positions: int
    experiments: int


def estimate_cost(axis: JointAxis, settings: Settings) -> Cost:
    """Estimate parameters, bytes and steps of a run."""
    kind, training = kind_named(settings.kind), settings.training
    parameters = kind.parameters(axis, settings)
    positions = sum(part.n_positions[0] for part in axis.parts if len(part.training))
    schedule = kind.schedule(axis, settings)
    batch_size = schedule.batch_size
    model = PROCESS_BYTES + BYTES_PER_PARAMETER * parameters + kind.working_bytes(axis, settings, batch_size)
    signal, in_memory = kind.signal_memory(axis, settings, int(training.memory_gb * 1e9) - model)
    return Cost(
        parameters,
        model + signal,
        signal,
        in_memory,
        batch_size,
        schedule.steps_per_epoch,
        schedule.epochs,
        positions,
        axis.n_training,
    )


def planned_epochs(axis: JointAxis, settings: Settings) -> int:
    """Return the number of epochs of a run without a time limit."""
    return kind_named(settings.kind).schedule(axis, settings).epochs


def check_tracks(axis: JointAxis, settings: Settings) -> None:
    """Refuse compendia that a kind of model cannot be trained on.

    Raises
    ------
    TrainingError
        If they lack something; the message says what.
    """
    if lacks := kind_named(settings.kind).lacks(axis):
        raise TrainingError(
            f"a model of kind {settings.kind} cannot be trained on these compendia",
            expected=lacks,
            next_step="train a model of kind avocado, or use average activity",
        )


def check_memory(cost: Cost, settings: Settings) -> None:
    """Refuse a run beyond the memory budget.

    Raises
    ------
    TrainingError
        If it needs more; the message says how much, and which settings reduce it.
    """
    allowed = settings.training.memory_gb
    if cost.memory_bytes > allowed * 1e9:
        raise TrainingError(
            "training would need more memory than allowed",
            got=f"{cost.memory_bytes / 1e9:.1f} GB",
            expected=f"at most memory_gb = {allowed:g}",
            next_step=f"raise memory_gb, take fewer regions, or {kind_named(settings.kind).smaller}; "
            "--force starts all the same",
        )
