"""Joint training of all species: plan and cost first, best checkpoint on held-out entries."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from epixs.compendium.plan import digest
from epixs.compendium.store import epixs_version
from epixs.config import TrainConfig, config_from
from epixs.dataset import held_out_dataset, training_dataset
from epixs.errors import AxisError, TrainingError
from epixs.joint import JointAxis
from epixs.model import DeepTensorFactorization, RowwiseAdam, build_model
from epixs.sampling import Sampler, memory_needed

MODEL_FILE = "model.keras"
DESCRIPTION_FILE = "model.json"
HISTORY_FILE = "history.csv"
PROBE_STEPS = 4
HELD_OUT_ENTRIES = (5_000, 200_000)
HELD_OUT_SHARE = 0.2
"""Held-out entries scored after an epoch over positions trained on in it, within those limits."""

EPOCH_RANGE = (8, 200)
MAX_DESCRIPTION_BYTES = 1 << 30


@dataclass(frozen=True)
class Cost:
    """What a training run will take, before it starts."""

    parameters: int
    memory_bytes: int
    steps_per_epoch: int
    epochs: int
    positions: int
    experiments: int


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


def estimate_cost(axis: JointAxis, config: TrainConfig) -> Cost:
    """Parameters, bytes and steps of a run, from sizes alone."""
    shared = axis.n_biosamples * config.biosample_factors + len(axis.assays) * config.assay_factors
    width = config.biosample_factors + config.assay_factors + sum(config.genome_factors)
    for units in config.hidden:
        shared += (width + 1) * units
        width = units
    genome = sum(n * k for n, k in zip(axis.n_positions, config.genome_factors, strict=True))
    positions = sum(part.n_positions[0] for part in axis.parts if len(part.training))
    activations = config.batch_size * sum(config.hidden) * 4 * 3
    # Parameters, their two Adam moments, and one copy while the best checkpoint is written.
    memory = 16 * (genome + shared + width + 1) + memory_needed(axis) + activations + 4 * positions
    per_step = max(1, config.batch_size // config.experiments_per_position)
    return Cost(
        genome + shared + width + 1,
        memory,
        -(-positions // per_step),
        planned_epochs(axis, config),
        positions,
        axis.n_training,
    )


def planned_epochs(axis: JointAxis, config: TrainConfig) -> int:
    """Epochs of a run: as configured, or until half of a position's experiments were drawn on average."""
    if config.epochs:
        return config.epochs
    positions = sum(part.n_positions[0] for part in axis.parts if len(part.training))
    entries = sum(part.n_positions[0] * len(part.training) for part in axis.parts)
    drawn = entries / positions / config.experiments_per_position
    return int(np.clip(round(drawn / 2), *EPOCH_RANGE))


def check_memory(cost: Cost, config: TrainConfig) -> None:
    """Refuse a run beyond the memory budget.

    Raises
    ------
    TrainingError
        Saying what it needs and which settings reduce it.
    """
    if cost.memory_bytes > config.memory_gb * 1e9:
        raise TrainingError(
            "training would need more memory than allowed",
            got=f"{cost.memory_bytes / 1e9:.1f} GB",
            expected=f"at most memory_gb = {config.memory_gb:g}",
            next_step="raise memory_gb, take fewer regions, or reduce genome_factors and hidden",
        )


def compile_model(model: DeepTensorFactorization, config: TrainConfig, total_steps: int) -> None:
    """Compile with the configuration's optimiser: cosine decay over all steps."""
    schedule = keras.optimizers.schedules.CosineDecay(config.learning_rate, max(1, total_steps), alpha=0.01)
    optimizer = RowwiseAdam(
        schedule, row_multiplier=config.genome_multiplier, weight_decay=config.weight_decay or None
    )
    if config.weight_decay:
        optimizer.exclude_from_weight_decay(var_list=model.genome.tables)
    model.compile(optimizer=optimizer, loss="mse")


def new_model(axis: JointAxis, config: TrainConfig) -> DeepTensorFactorization:
    """Make the model that a configuration names, not yet compiled."""
    keras.utils.set_random_seed(config.seed)
    return build_model(
        axis,
        biosample_factors=config.biosample_factors,
        assay_factors=config.assay_factors,
        genome_factors=config.genome_factors,
        hidden=config.hidden,
        genome_dropout=config.genome_dropout,
        zero_shot=config.zero_shot,
    )


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
    ) -> None:
        super().__init__()
        self.out, self.axis, self.config, self.sampler = out, axis, config, sampler
        self.deadline, self.report = deadline, report
        self.interrupted = threading.Event()
        self.best, self.best_epoch, self.worse = float("inf"), -1, 0
        self.history: list[dict[str, float]] = []
        self.started = self.reported = time.monotonic()
        self.epoch, self.held_out = 0, float("nan")

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch, self.epoch_started = epoch, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if self.interrupted.is_set():
            raise KeyboardInterrupt
        loss = (logs or {}).get("loss", float("nan"))
        if not np.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} in epoch {self.epoch + 1}, step {batch + 1}",
                expected="a finite number",
                next_step="reduce learning_rate or genome_multiplier",
            )
        now = time.monotonic()
        if now > self.deadline:
            self.model.stop_training = True
        if now - self.reported > 0.5:
            self.reported = now
            self._tell(batch + 1, loss, best=False)

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
            _save_weights(self.model, self.out)
            _write_json(self.out / DESCRIPTION_FILE, describe(self.axis, self.config, self.history))
        if self.config.patience and self.worse >= self.config.patience:
            self.model.stop_training = True
        self._tell(self.sampler.steps_per_epoch, logs["loss"], best=better)

    def _tell(self, step: int, loss: float, *, best: bool) -> None:
        steps, epochs = self.sampler.steps_per_epoch, self.params["epochs"]
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
                step * entries / in_epoch,
                left,
                best,
            )
        )


def train(
    axis: JointAxis,
    config: TrainConfig,
    out: str | Path,
    *,
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
    report
        Called while training.

    Returns
    -------
    The description that was written to `model.json`.

    Raises
    ------
    TrainingError
        If the memory budget does not suffice, the folder holds something else or the loss diverges.
    """
    out = Path(out)
    check_memory(estimate_cost(axis, config), config)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TrainingError(
            f"{out} exists and is not empty",
            expected="a new or empty folder, so that no model is lost",
            next_step="choose another --out, or delete it",
        )
    out.mkdir(parents=True, exist_ok=True)
    sampler = Sampler(
        axis,
        batch_size=config.batch_size,
        experiments_per_position=config.experiments_per_position,
        held_out=config.held_out,
        seed=config.seed,
    )
    count = int(np.clip(HELD_OUT_SHARE * sampler.n_positions, *HELD_OUT_ENTRIES))
    held_out = held_out_dataset(sampler, count=count)
    model = new_model(axis, config)
    started = time.monotonic()
    epochs = _epochs_that_fit(model, sampler, held_out, config, planned_epochs(axis, config))
    compile_model(model, config, epochs * sampler.steps_per_epoch)
    deadline = started + 60 * config.max_minutes if config.max_minutes else float("inf")
    watch = _Watch(out, axis, config, sampler, deadline, report or (lambda _: None))
    with _interrupts_go_to(watch.interrupted):
        model.fit(
            training_dataset(sampler),
            steps_per_epoch=sampler.steps_per_epoch,
            epochs=epochs,
            validation_data=held_out,
            callbacks=[watch],
            shuffle=False,
            verbose=0,
        )
    if watch.best_epoch < 0:
        raise TrainingError("no epoch gave a finite held-out error", next_step="reduce learning_rate")
    return describe(axis, config, watch.history)


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


def _epochs_that_fit(model: Any, sampler: Sampler, held_out: Any, config: TrainConfig, planned: int) -> int:
    """Planned epochs, or fewer if `max_minutes` ends them, timed on a few steps that are then undone."""
    if not config.max_minutes:
        return planned
    weights = model.get_weights()
    compile_model(model, config, PROBE_STEPS)
    batches = training_dataset(sampler)
    model.fit(batches, steps_per_epoch=1, epochs=1, shuffle=False, verbose=0)
    started = time.monotonic()
    model.fit(batches, steps_per_epoch=PROBE_STEPS, epochs=1, shuffle=False, verbose=0)
    per_step = (time.monotonic() - started) / PROBE_STEPS
    model.evaluate(held_out, verbose=0)
    started = time.monotonic()
    model.evaluate(held_out, verbose=0)
    per_epoch = per_step * sampler.steps_per_epoch + (time.monotonic() - started)
    model.set_weights(weights)
    return int(np.clip(0.85 * 60 * config.max_minutes / per_epoch, 1, planned))


def _save_weights(model: Any, out: Path) -> None:
    partial = out / f"partial-{MODEL_FILE}"
    model.save(partial, include_optimizer=False)
    os.replace(partial, out / MODEL_FILE)


def _write_history(path: Path, rows: list[dict[str, float]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["epoch", "loss", "held_out_mse", "seconds"])
        writer.writeheader()
        writer.writerows(rows)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(partial, path)


def describe(axis: JointAxis, config: TrainConfig, history: list[dict[str, float]]) -> dict[str, Any]:
    """All that is needed to use a model and to know where it came from."""
    best = min(history, key=lambda row: row["held_out_mse"])
    content = {
        "epixs_version": epixs_version(),
        "config": config.to_dict(),
        "axis": axis.to_dict(),
        "bounds": signal_bounds(axis),
        "held_out_mse": best["held_out_mse"],
        "best_epoch": best["epoch"],
        "epochs": len(history),
    }
    # The run's own clock is left out: the same training gives the same fingerprint.
    return content | {"fingerprint": digest([content["config"], content["axis"], best["held_out_mse"]])}


def signal_bounds(axis: JointAxis) -> dict[str, list[float]]:
    """Smallest and largest value that each assay has shown in training, over all species."""
    bounds: dict[str, list[float]] = {}
    for assay in axis.assays:
        rows = [part.training[part.training["assay"] == assay] for part in axis.parts]
        low = min((float(t["signal_min"].min()) for t in rows if len(t)), default=None)
        high = max((float(t["signal_max"].max()) for t in rows if len(t)), default=None)
        if low is not None and high is not None:
            bounds[assay] = [low, high]
    return bounds


@dataclass(frozen=True)
class TrainedModel:
    """A model opened from its folder."""

    folder: Path
    model: Any
    axis: JointAxis
    config: TrainConfig
    bounds: dict[str, tuple[float, float]]
    fingerprint: str


def open_model(folder: str | Path) -> TrainedModel:
    """Open a model folder.

    Raises
    ------
    TrainingError
        If the folder holds no finished model.
    AxisError
        If its description is damaged.
    """
    folder = Path(folder)
    description, weights = folder / DESCRIPTION_FILE, folder / MODEL_FILE
    if not description.is_file() or not weights.is_file():
        raise TrainingError(
            f"{folder} holds no finished model",
            got=", ".join(sorted(p.name for p in folder.iterdir())[:6])
            if folder.is_dir()
            else "no such folder",
            expected=f"{MODEL_FILE} and {DESCRIPTION_FILE}",
            next_step="train one with `epixs train`",
        )
    if description.stat().st_size > MAX_DESCRIPTION_BYTES:
        raise AxisError(
            f"{description} is too large", got=description.stat().st_size, expected="at most 1 GiB"
        )
    try:
        content = json.loads(description.read_text(encoding="utf-8"))
        bounds = {assay: (float(low), float(high)) for assay, (low, high) in content["bounds"].items()}
        config = config_from(content["config"], where=str(description))
        axis = JointAxis.from_dict(content["axis"])
        fingerprint = str(content["fingerprint"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AxisError(f"{description} is damaged", got=f"{type(error).__name__}: {error}") from error
    try:
        model = keras.saving.load_model(weights, compile=False)
    except Exception as error:  # keras raises many types for a damaged archive
        raise TrainingError(f"{weights} cannot be loaded", got=f"{type(error).__name__}: {error}") from error
    expected = {
        "n_biosamples": axis.n_biosamples,
        "n_assays": len(axis.assays),
        "n_positions": list(axis.n_positions),
    }
    got = {name: getattr(model, "settings", {}).get(name) for name in expected}
    if got != expected:
        raise AxisError(
            f"{weights} and {description.name} do not belong together", got=got, expected=expected
        )
    return TrainedModel(folder, model, axis, config, bounds, fingerprint)
