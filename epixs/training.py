"""Joint training of all species: plan and cost first, best checkpoint on held-out entries."""

from __future__ import annotations

import contextlib
import csv
import io
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from epixs.checkpoint import RunState, forget_checkpoint, read_state, restore, save_checkpoint
from epixs.config import TrainConfig
from epixs.cost import Cost, check_memory, estimate_cost
from epixs.dataset import held_out_dataset, training_dataset
from epixs.errors import TrainingError
from epixs.files import check_new_folder, write_text
from epixs.joint import JointAxis
from epixs.model import DeepTensorFactorization, RowwiseAdam
from epixs.sampling import Batch, Sampler
from epixs.trained import DESCRIPTION_FILE, new_model, save_model

HISTORY_FILE = "history.csv"
PROBE_STEPS = 10
PROBE_SHARE = 0.1
"""Of `max_minutes`, at most, that timing the first steps may take."""

FILLED_SHARE = 0.8
"""Of the time that is left, taken up by training steps; scoring and writing checkpoints need some too."""

HELD_OUT_ENTRIES = (5_000, 200_000)
HELD_OUT_SHARE = 0.2
"""Held-out entries scored after an epoch over positions trained on in it, within those limits."""


@dataclass(frozen=True)
class EpochReport:
    """How training stands after an epoch (or, within one, after a while)."""

    epoch: int
    epochs: int
    step: int
    steps_per_epoch: int
    loss: float
    held_out_mse: float
    samples_per_second: float
    seconds_left: float
    best: bool


def compile_model(model: DeepTensorFactorization, config: TrainConfig, total_steps: int) -> None:
    """Compile with the configuration's optimiser: cosine decay over all steps."""
    schedule = keras.optimizers.schedules.CosineDecay(config.learning_rate, max(1, total_steps), alpha=0.01)
    optimizer = RowwiseAdam(
        schedule, row_multiplier=config.genome_multiplier, weight_decay=config.weight_decay or None
    )
    if config.weight_decay:
        optimizer.exclude_from_weight_decay(var_list=model.genome.tables)
    model.compile(optimizer=optimizer, loss="mse")


class _Watch(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Keep the best weights on held-out entries, write history, report, and stop when time is up."""

    def __init__(
        self,
        out: Path,
        axis: JointAxis,
        config: TrainConfig,
        sampler: Sampler,
        deadline: float,
        report: Callable[[EpochReport], None],
        state: RunState | None,
    ) -> None:
        super().__init__()
        self.out, self.axis, self.config, self.sampler = out, axis, config, sampler
        self.deadline, self.report = deadline, report
        self.interrupted = threading.Event()
        self.best, self.best_epoch, self.worse = float("inf"), -1, 0
        self.history: list[dict[str, float]] = []
        self.started = self.reported = self.saved = time.monotonic()
        self.first = self.total_steps = self.epochs = 0
        self.epoch, self.held_out = 0, float("nan")
        self.stopped_early = False
        if state is not None:
            self.best, self.best_epoch, self.worse = state.best, state.best_epoch, state.worse
            self.history, self.first = state.history, state.step
            self.started -= state.seconds

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch, self.epoch_started = epoch, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        step = self.first + batch + 1  # steps of this epoch that are done
        loss = (logs or {}).get("loss", float("nan"))
        if not np.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} in epoch {self.epoch + 1}, step {step}",
                got=_largest_entry(self.axis, self.sampler.batch(self.epoch, step - 1)),
                expected="a finite loss",
                next_step="reduce learning_rate or genome_multiplier, or exclude that experiment",
            )
        ended = step == self.sampler.steps_per_epoch
        if self.interrupted.is_set():
            if not ended:
                self._save(self.epoch, step)
            raise KeyboardInterrupt
        now = time.monotonic()
        if now > self.deadline:
            self.model.stop_training = True
        if not ended and now - self.saved >= 60 * self.config.checkpoint_minutes:
            self._save(self.epoch, step)
        if now - self.reported > 0.5:
            self.reported = now
            self._tell(step, loss, best=False)

    def _save(self, epoch: int, step: int) -> None:
        state = RunState(
            epoch, step, self.total_steps, self.history, self.best, self.best_epoch, self.worse,
            time.monotonic() - self.started,
        )  # fmt: skip
        save_checkpoint(self.out, self.model, self.axis, self.config, state)
        self.saved = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        self.held_out = logs["val_loss"]
        better = self.held_out < self.best
        self.worse = 0 if better else self.worse + 1
        self.history.append(
            {
                "epoch": epoch + 1,
                "loss": logs["loss"],
                "held_out_mse": self.held_out,
                "seconds": time.monotonic() - self.started,
            }
        )
        _write_history(self.out / HISTORY_FILE, self.history)
        if better:  # the folder holds a usable model from the first epoch on, whatever interrupts the next
            self.best, self.best_epoch = self.held_out, epoch
            save_model(self.out, self.model, self.axis, self.config, self.scores())
        if self.config.patience and self.worse >= self.config.patience:
            self.model.stop_training = True
            self.stopped_early = epoch + 1 < self.epochs
        self.first = 0
        if time.monotonic() - self.saved >= 60 * self.config.checkpoint_minutes:
            self._save(epoch + 1, 0)
        self._tell(self.sampler.steps_per_epoch, logs["loss"], best=better)

    def scores(self) -> dict[str, float]:
        """What the model's description says of the run."""
        best = min(self.history, key=lambda row: row["held_out_mse"])
        return {
            "held_out_mse": best["held_out_mse"],
            "best_epoch": best["epoch"],
            "epochs": len(self.history),
        }

    def _tell(self, step: int, loss: float, *, best: bool) -> None:
        steps, epochs = self.sampler.steps_per_epoch, self.epochs
        entries = self.sampler.positions_per_step * self.sampler.experiments_per_position
        elapsed = time.monotonic() - self.started
        done = self.epoch * steps + step
        in_epoch = max(1e-6, time.monotonic() - self.epoch_started)
        left = min(elapsed / done * (epochs * steps - done), self.deadline - time.monotonic())
        self.report(
            EpochReport(
                self.epoch + 1,
                epochs,
                step,
                steps,
                loss,
                self.held_out,
                (step - self.first) * entries / in_epoch,
                left,
                best,
            )
        )


def train(
    axis: JointAxis,
    config: TrainConfig,
    out: str | Path,
    *,
    resume: bool = False,
    report: Callable[[EpochReport], None] | None = None,
) -> dict[str, Any]:
    """Train one model over the joint axis and keep its best checkpoint.

    Parameters
    ----------
    axis
        What to train over; its excluded experiments are never read.
    config
        Settings.
    out
        New or empty folder for `model.keras`, `model.json` and `history.csv`.
    resume
        Go on with the run in `out`, where it was interrupted; begin it, if there is none yet.
    report
        Called while training.

    Returns
    -------
    What `model.json` says of the run, `held_out_mse`, `best_epoch` and `epochs`; and `stopped_early`, whether
    `patience` ended it.

    Raises
    ------
    TrainingError
        If the memory budget does not suffice, the folder holds something else, the run to resume is of
        other stores or settings, or the loss diverges.
    """
    started = time.monotonic()
    deadline = started + 60 * config.max_minutes if config.max_minutes else float("inf")
    out = Path(out)
    cost = estimate_cost(axis, config)
    check_memory(cost, config)
    state = read_state(out, axis, config) if resume else None
    if resume and state is None and (out / DESCRIPTION_FILE).is_file():
        raise TrainingError(
            f"the run in {out} has ended", next_step="use its model, or train into another --out"
        )
    if state is None:
        check_new_folder(out, TrainingError)
    with _new_folder(out):
        return _train(axis, config, out, cost, deadline, state, report or (lambda _: None))


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """Make a folder, and remove it again where what should fill it fails before it has written anything."""
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if made and not any(folder.iterdir()):
            folder.rmdir()
        raise


def _train(
    axis: JointAxis,
    config: TrainConfig,
    out: Path,
    cost: Cost,
    deadline: float,
    state: RunState | None,
    report: Callable[[EpochReport], None],
) -> dict[str, Any]:
    sampler = Sampler(
        axis,
        batch_size=config.batch_size,
        experiments_per_position=config.experiments_per_position,
        held_out=config.held_out,
        species_weight=config.species_weight,
        seed=config.seed,
    )
    count = int(np.clip(HELD_OUT_SHARE * sampler.n_positions, *HELD_OUT_ENTRIES))
    held_out = held_out_dataset(sampler, count=count)
    model = new_model(axis, config)
    watch = _Watch(out, axis, config, sampler, deadline, report, state)
    with _interrupts_go_to(watch.interrupted):
        steps = state.total_steps if state else cost.epochs * sampler.steps_per_epoch
        if config.max_minutes and state is None:
            steps = min(steps, _steps_until(deadline, model, sampler, config, watch.interrupted))
        compile_model(model, config, steps)
        epochs = -(-steps // sampler.steps_per_epoch)
        watch.total_steps, watch.epochs = steps, epochs
        epoch = state.epoch if state else 0
        if state is not None:
            restore(out, model)
            watch.saved = time.monotonic()
        if state is not None and state.step:  # the rest of the epoch in which the run stopped
            _fit(model, sampler, held_out, watch, epoch, epoch + 1, state.step)
            epoch += 1
        if epoch < epochs and not model.stop_training:
            _fit(model, sampler, held_out, watch, epoch, epochs)
    if watch.best_epoch < 0:
        raise TrainingError("no epoch gave a finite held-out error", next_step="reduce learning_rate")
    forget_checkpoint(out)
    return watch.scores() | {"stopped_early": watch.stopped_early}


def _fit(
    model: Any, sampler: Sampler, held_out: Any, watch: _Watch, first: int, stop: int, first_step: int = 0
) -> None:
    """Train epochs `[first, stop)`, the first of them from one of its steps on."""
    model.fit(
        training_dataset(sampler, first_epoch=first, first_step=first_step),
        steps_per_epoch=sampler.steps_per_epoch - first_step,
        initial_epoch=first,
        epochs=stop,
        validation_data=held_out,
        callbacks=[watch],
        shuffle=False,
        verbose=0,
    )


def _largest_entry(axis: JointAxis, batch: Batch) -> str:
    """Name the entry of a batch with the largest value: most often the one that broke the loss."""
    row, column = np.unravel_index(int(np.abs(batch.value).argmax()), batch.value.shape)
    assay = axis.assays[int(batch.assay[row, column])]
    biosamples = [(part.species, name) for part in axis.parts for name in part.biosamples]
    species, biosample = biosamples[int(batch.biosample[row, column])]
    value = float(batch.value[row, column])
    return f"a batch whose largest value is {value:.2f} arcsinh units, of {species} / {biosample} / {assay}"


@contextlib.contextmanager
def _interrupts_go_to(event: threading.Event) -> Iterator[None]:
    """Turn Ctrl-C into an event that is looked at between steps.

    Raised where it happens to arrive, inside TensorFlow, a KeyboardInterrupt can get lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: event.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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
        if self.times[-1] > self.limit:
            self.model.stop_training = True

    def seconds_per_step(self) -> float:
        taken = self.times[-1] - self.times[0]
        return max(taken / max(1, len(self.times) - 1), 1e-6)


def _steps_until(
    deadline: float, model: Any, sampler: Sampler, config: TrainConfig, interrupted: threading.Event
) -> int:
    """Steps that fit before a deadline, from timing a few that are then undone; at least 1."""
    weights = model.get_weights()
    compile_model(model, config, PROBE_STEPS)
    now = time.monotonic()
    stopwatch = _Stopwatch(now + PROBE_SHARE * (deadline - now), interrupted)
    model.fit(
        training_dataset(sampler),
        steps_per_epoch=PROBE_STEPS + 1,
        epochs=1,
        callbacks=[stopwatch],
        shuffle=False,
        verbose=0,
    )
    model.set_weights(weights)
    left = FILLED_SHARE * (deadline - time.monotonic())
    return max(1, int(left / stopwatch.seconds_per_step()))


def _write_history(path: Path, rows: list[dict[str, float]]) -> None:
    lines = io.StringIO(newline="")
    writer = csv.DictWriter(lines, ["epoch", "loss", "held_out_mse", "seconds"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, lines.getvalue())
