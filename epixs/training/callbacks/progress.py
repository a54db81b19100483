"""Report the progress of training."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from epixs.models.kinds import WEIGHTED_ERROR
from epixs.sampling import BatchSampler
from epixs.training.callbacks.steps import StepCallback

REPORT_SECONDS = 0.5


@dataclass(frozen=True)
class EpochReport:
    """Progress of training, reported after each epoch and within epochs."""

    epoch: int
    epochs: int
    step: int
    steps_per_epoch: int
    loss: float
    held_out_mse: float
    held_out_tracks_mse: float
    samples_per_second: float
    seconds_left: float


class ProgressReport(StepCallback):
    """Call a function with an `EpochReport` twice a second, and after each epoch.

    Parameters
    ----------
    report
        Function to call.
    sampler
        The sampler that draws the batches.
    epochs
        Epochs of the whole run.
    deadline
        Value of `time.monotonic()` at which the run stops at the latest.
    """

    def __init__(
        self,
        report: Callable[[EpochReport], None],
        sampler: BatchSampler,
        epochs: int,
        *,
        deadline: float = float("inf"),
    ) -> None:
        super().__init__(sampler.steps_per_epoch)
        self.report, self.epochs, self.deadline = report, epochs, deadline
        self.entries_per_step = sampler.positions_per_step * sampler.experiments_per_position
        self.held_out = self.held_out_tracks = float("nan")
        self._started = self._reported = time.monotonic()
        self._before: int | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Remember how many steps an earlier run had done."""
        super().on_epoch_begin(epoch, logs)
        self._before = self.steps_done if self._before is None else self._before

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Report within an epoch."""
        super().on_train_batch_end(batch, logs)
        if self.step < self.steps_per_epoch and time.monotonic() - self._reported > REPORT_SECONDS:
            self._tell(logs or {})

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Report after an epoch."""
        logs = logs or {}
        self.held_out = logs.get("held_out_mse", logs.get("val_loss", float("nan")))
        self.held_out_tracks = logs.get("held_out_tracks_mse", float("nan"))
        self._tell(logs)

    def _tell(self, logs: dict[str, float]) -> None:
        now = self._reported = time.monotonic()
        steps = max(1, self.steps_done - (self._before or 0))
        left = (now - self._started) / steps * (self.epochs * self.steps_per_epoch - self.steps_done)
        self.report(
            EpochReport(
                self.epoch + 1,
                self.epochs,
                self.step,
                self.steps_per_epoch,
                logs.get(WEIGHTED_ERROR, logs.get("loss", float("nan"))),
                self.held_out,
                self.held_out_tracks,
                self.steps_per_second * self.entries_per_step,
                min(left, self.deadline - now),
            )
        )
