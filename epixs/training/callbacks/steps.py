"""Base class of callbacks that need to know the current step."""

from __future__ import annotations

import time

from epixs.models.backend import keras


class StepCallback(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Callback that knows the epoch, the number of its steps done, and the steps per second.

    Parameters
    ----------
    steps_per_epoch
        Steps of a whole epoch. If `fit` is given fewer, it resumes in the middle of an epoch, and the
        earlier steps count as done.
    """

    def __init__(self, steps_per_epoch: int) -> None:
        super().__init__()
        self.steps_per_epoch = steps_per_epoch
        self.epoch = self.step = self._first = 0
        self.steps_per_second = 0.0

    @property
    def steps_done(self) -> int:
        """Steps since the beginning of the first epoch."""
        return self.epoch * self.steps_per_epoch + self.step

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start the epoch's clock."""
        self.epoch, self._began = epoch, time.monotonic()
        left = (self.params or {}).get("steps") or self.steps_per_epoch
        self.step = self._first = max(0, self.steps_per_epoch - left)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Count the steps."""
        self.step = self._first + batch + 1
        self.steps_per_second = (batch + 1) / max(1e-6, time.monotonic() - self._began)
