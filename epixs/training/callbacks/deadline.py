"""Stop when time is up."""

from __future__ import annotations

import time

from epixs.models.backend import keras


class Deadline(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Stop training after the first step that ends past a given time; that epoch is scored as usual.

    Parameters
    ----------
    at
        Time on the clock of `time.monotonic()`: `Deadline(time.monotonic() + 3600)` is in an hour.
    """

    def __init__(self, at: float) -> None:
        super().__init__()
        self.at, self.has_passed = at, False

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Check the clock."""
        if time.monotonic() > self.at:
            self.has_passed = self.model.stop_training = True
