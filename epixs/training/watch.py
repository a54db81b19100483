"""What happens between steps: history, the best weights, checkpoints, reports, and when to stop."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis
from epixs.config import TrainConfig
from epixs.errors import TrainingError
from epixs.models.backend import keras
from epixs.sampling import Batch, Sampler
from epixs.training.checkpoint import RunState, save_checkpoint
from epixs.training.held_out import HeldOut, history_columns
from epixs.training.history import EventLog, write_history
from epixs.training.verdict import GroupError

REPORT_SECONDS = 0.5
WEIGHTED_ERROR = "error"
"""Metric of training: mean squared error over the entries that have weight."""


@dataclass(frozen=True)
class EpochReport:
    """How training stands after an epoch (or, within one, after a while)."""

    epoch: int
    epochs: int
    step: int
    steps_per_epoch: int
    loss: float
    held_out_mse: float
    held_out_tracks_mse: float
    samples_per_second: float
    seconds_left: float
    best: bool


@dataclass(frozen=True)
class RunPlan:
    """What a run is, fixed before its first step.

    Parameters
    ----------
    out
        Folder of the model.
    axis, config
        What is trained over, and how.
    identity
        What a run that goes on from a checkpoint must have in common with it.
    sampler
        What draws the batches.
    held_out, tracks
        Entries of held-out blocks, and of the whole experiments that are held out, if there are any.
    deadline
        `time.monotonic()` at which to stop.
    total_steps
        Steps over which the learning rate falls.
    save
        Writes the model with these scores.
    tensorboard
        Write event files.
    """

    out: Path
    axis: JointAxis
    config: TrainConfig
    identity: dict[str, Any]
    sampler: Sampler
    held_out: HeldOut
    tracks: HeldOut | None
    deadline: float
    total_steps: int
    save: Callable[[dict[str, float]], Any]
    tensorboard: bool = False

    @property
    def epochs(self) -> int:
        """Epochs that the steps take, the last of them perhaps not whole."""
        return -(-self.total_steps // self.sampler.steps_per_epoch)


class Watch(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Keep the best weights on what is held out, write history, report, and stop when time is up."""

    def __init__(
        self,
        plan: RunPlan,
        state: RunState | None,
        interrupted: threading.Event,
        report: Callable[[EpochReport], None] | None,
    ) -> None:
        super().__init__()
        self.plan, self.interrupted, self.report = plan, interrupted, report
        self.best, self.best_epoch, self.worse = float("inf"), -1, 0
        self.history: list[dict[str, float]] = []
        self.started = self.reported = self.saved = time.monotonic()
        self.first, self.samples_per_second = 0, 0.0
        self.epoch, self.held_out, self.held_out_tracks = 0, float("nan"), float("nan")
        self.stopped_early = self.time_ran_out = False
        self.events = EventLog(plan.out) if plan.tensorboard else None
        if state is not None:
            self.best, self.best_epoch, self.worse = state.best, state.best_epoch, state.worse
            self.history, self.first = state.history, state.step
            self.started -= state.seconds

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start the epoch's clock."""
        self.epoch, self.epoch_started = epoch, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Look at the loss, the clock and Ctrl-C; save a checkpoint when it is time."""
        step = self.first + batch + 1  # steps of this epoch that are done
        loss = (logs or {}).get("loss", float("nan"))
        if not np.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} in epoch {self.epoch + 1}, step {step}",
                got=_largest_entry(self.plan.axis, self.plan.sampler.batch(self.epoch, step - 1)),
                expected="a finite loss",
                next_step="reduce learning_rate or genome_multiplier, or exclude that experiment",
            )
        now = time.monotonic()
        entries = self.plan.sampler.positions_per_step * self.plan.sampler.experiments_per_position
        self.samples_per_second = (step - self.first) * entries / max(1e-6, now - self.epoch_started)
        ended = step == self.plan.sampler.steps_per_epoch
        if self.interrupted.is_set() and not ended:  # at its end, an epoch is scored first
            self._save(self.epoch, step)
            raise KeyboardInterrupt
        if now > self.plan.deadline:
            self.model.stop_training = True
            self.time_ran_out = self.epoch * self.plan.sampler.steps_per_epoch + step < self.plan.total_steps
        if not ended and now - self.saved >= 60 * self.plan.config.checkpoint_minutes:
            self._save(self.epoch, step)
        if now - self.reported > REPORT_SECONDS:
            self.reported = now
            self._tell(step, (logs or {}).get(WEIGHTED_ERROR, loss), best=False)

    def _save(self, epoch: int, step: int) -> None:
        state = RunState(
            epoch, step, self.plan.total_steps, self.history, self.best, self.best_epoch, self.worse,
            time.monotonic() - self.started, self.plan.config.precision,
        )  # fmt: skip
        save_checkpoint(self.plan.out, self.model, self.plan.identity, state)
        self.saved = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Score, log, and save the model if it is better than before."""
        logs = logs or {}
        predicted = self._predict(self.plan.held_out)
        self.held_out = self.plan.held_out.mse(predicted)
        errors = self.plan.held_out.errors(predicted)
        row = {
            "epoch": epoch + 1,
            "loss": logs[WEIGHTED_ERROR],
            "held_out_mse": self.held_out,
            "learning_rate": float(self.model.optimizer.learning_rate),
            "samples_per_second": self.samples_per_second,
        }
        if self.plan.tracks is not None:
            predicted = self._predict(self.plan.tracks)
            self.held_out_tracks = row["held_out_tracks_mse"] = self.plan.tracks.mse(predicted)
            errors = self.plan.tracks.errors(predicted)
        self.history.append(row | {"seconds": time.monotonic() - self.started} | history_columns(errors))
        write_history(self.plan.out, self.history)
        if self.events is not None:
            self.events.write(epoch + 1, self.history[-1])
        chosen_by = self.held_out if self.plan.tracks is None else self.held_out_tracks
        better = chosen_by < self.best
        self.worse = 0 if better else self.worse + 1
        if better:  # the folder holds a usable model from the first epoch on, whatever interrupts the next
            self.best, self.best_epoch = chosen_by, epoch
            self.plan.save(self.scores())
        if self.plan.config.patience and self.worse >= self.plan.config.patience:
            self.model.stop_training = True
            self.stopped_early = epoch + 1 < self.plan.epochs
        self.first = 0
        if time.monotonic() - self.saved >= 60 * self.plan.config.checkpoint_minutes:
            self._save(epoch + 1, 0)
        gc.collect(1)  # what the epoch's steps left
        self._tell(self.plan.sampler.steps_per_epoch, logs[WEIGHTED_ERROR], best=better)

    def _predict(self, held_out: HeldOut) -> npt.NDArray[np.float32]:
        found = self.model.predict(held_out.dataset, verbose=0)
        return np.asarray(found, dtype=np.float32).reshape(-1)

    def scores(self) -> dict[str, float]:
        """What the model's description says of the run."""
        best = self.history[self.best_epoch]
        shown = {name: best[name] for name in ("held_out_mse", "held_out_tracks_mse") if name in best}
        return shown | {"best_epoch": best["epoch"], "epochs": len(self.history)}

    def errors(self) -> list[GroupError]:
        """Errors by species and assay in the epoch that was kept, beside those of the baselines."""
        compared = self.plan.tracks or self.plan.held_out
        return compared.errors_of(self.history[self.best_epoch])

    def _tell(self, step: int, loss: float, *, best: bool) -> None:
        if self.report is None:
            return
        steps = self.plan.sampler.steps_per_epoch
        elapsed = time.monotonic() - self.started
        done = self.epoch * steps + step
        left = elapsed / done * (self.plan.epochs * steps - done)
        self.report(
            EpochReport(
                self.epoch + 1,
                self.plan.epochs,
                step,
                steps,
                loss,
                self.held_out,
                self.held_out_tracks,
                self.samples_per_second,
                min(left, self.plan.deadline - time.monotonic()),
                best,
            )
        )


def _largest_entry(axis: JointAxis, batch: Batch) -> str:
    """Name the entry of a batch with the largest value: most often the one that broke the loss."""
    row, column = np.unravel_index(int(np.abs(batch.value).argmax()), batch.value.shape)
    assay = axis.assays[int(batch.assay[row, column])]
    biosamples = [(part.species, name) for part in axis.parts for name in part.biosamples]
    species, biosample = biosamples[int(batch.biosample[row, column])]
    value = float(batch.value[row, column])
    return f"a batch whose largest value is {value:.2f} arcsinh units, of {species} / {biosample} / {assay}"
