"""Write the history of a run, one row per epoch."""

from __future__ import annotations

import time
from pathlib import Path

from epixs.models.kinds import WEIGHTED_ERROR
from epixs.sampling import BatchSampler
from epixs.training.callbacks.steps import StepCallback
from epixs.training.history import COLUMNS, GROUPED, EventLog, write_history


class History(StepCallback):
    """Write `history.csv`, which `epixs curves` draws, after each epoch, and TensorBoard's event files.

    The held-out error is that of `HeldOutScores`, if it comes before this callback in the list, else Keras's
    own `val_loss`.

    Parameters
    ----------
    folder
        Folder to write to.
    sampler
        The sampler that draws the batches.
    tensorboard
        Write event files to `folder/tensorboard` as well.
    """

    def __init__(self, folder: str | Path, sampler: BatchSampler, *, tensorboard: bool = False) -> None:
        super().__init__(sampler.steps_per_epoch)
        self.folder = Path(folder)
        self.entries_per_step = sampler.positions_per_step * sampler.experiments_per_position
        self.rows: list[dict[str, float]] = []
        self._started = time.monotonic()
        self._events = EventLog(self.folder) if tensorboard else None

    @property
    def seconds(self) -> float:
        """Time since training began, without the pause between an interrupted run and the resumed one."""
        return time.monotonic() - self._started

    def go_on(self, rows: list[dict[str, float]], seconds: float) -> None:
        """Continue from the epochs and the time of an interrupted run."""
        self.rows, self._started = rows, time.monotonic() - seconds

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Add the epoch's row."""
        logs = logs or {}
        values = {
            **logs,
            "epoch": epoch + 1,
            "loss": logs.get(WEIGHTED_ERROR, logs.get("loss")),
            "held_out_mse": logs.get("held_out_mse", logs.get("val_loss")),
            "learning_rate": float(self.model.optimizer.learning_rate),
            "samples_per_second": self.steps_per_second * self.entries_per_step,
            "seconds": self.seconds,
        }
        names = [name for name in values if name in COLUMNS or name.startswith(GROUPED)]
        self.rows.append({name: value for name in names if (value := values[name]) is not None})
        self.folder.mkdir(parents=True, exist_ok=True)
        write_history(self.folder, self.rows)
        if self._events is not None:
            self._events.write(epoch + 1, self.rows[-1])
