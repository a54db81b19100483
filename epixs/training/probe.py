"""Estimate how long a run will take by timing its first steps, which are then undone."""

from __future__ import annotations

import threading
import time
from typing import Any

from epixs.models.backend import keras
from epixs.sampling import BatchSampler
from epixs.training.dataset import training_dataset

PROBE_STEPS = 10
FEWEST_STEPS = 2
"""Minimum number of timed steps, however long they take: the first one compiles, and alone tells nothing."""


class _Stopwatch(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Times steps after the first one, which compiles; stops when `limit` has passed."""

    def __init__(self, limit: float, interrupted: threading.Event) -> None:
        super().__init__()
        self.limit, self.interrupted = limit, interrupted
        self.times: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if self.interrupted.is_set():
            raise KeyboardInterrupt
        self.times.append(time.monotonic())
        if self.times[-1] > self.limit and len(self.times) > FEWEST_STEPS:
            self.model.stop_training = True

    def seconds_per_step(self) -> float:
        taken = self.times[-1] - self.times[0]
        return max(taken / max(1, len(self.times) - 1), 1e-6)


def seconds_per_step(
    model: Any, sampler: BatchSampler, *, most_seconds: float = float("inf"), interrupted: threading.Event
) -> float:
    """Time ten steps of a compiled model, and undo everything that they changed.

    Parameters
    ----------
    model, sampler
        The model, compiled with a learning-rate schedule, and the sampler of its batches.
    most_seconds
        Time after which to stop with fewer steps.
    interrupted
        Event that Ctrl-C sets.
    """
    known = {id(variable): variable for variable in [*model.variables, *model.optimizer.variables]}
    # Most of an optimiser's variables are zero: no copy of those is kept.
    before = [(variable, value if (value := variable.numpy()).any() else None) for variable in known.values()]
    stopwatch = _Stopwatch(time.monotonic() + most_seconds, interrupted)
    model.fit(
        training_dataset(sampler),
        steps_per_epoch=PROBE_STEPS + 1,
        epochs=1,
        callbacks=[stopwatch],
        shuffle=False,
        verbose=0,
    )
    model.stop_training = False
    for variable, value in before:
        variable.assign(keras.ops.zeros_like(variable) if value is None else value)
    return stopwatch.seconds_per_step()
