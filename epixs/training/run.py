"""Train all species jointly: plan and cost first, then keep the best weights on held-out entries."""

from __future__ import annotations

import contextlib
import functools
import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epixs.axis.axis import JointAxis
from epixs.config import Settings
from epixs.errors import TrainingError
from epixs.models.backend import keras
from epixs.models.folder import new_model, write_model
from epixs.models.kinds import kind_named
from epixs.sampling import BatchSampler
from epixs.storage.files import BEGUN_FILE
from epixs.training.callbacks import (
    BestWeights,
    Deadline,
    EpochReport,
    HeldOutScores,
    History,
    ProgressReport,
    StepCheckpoint,
    StopOnNonFinite,
)
from epixs.training.card import write_card
from epixs.training.cost import check_memory, estimate_cost
from epixs.training.dataset import training_dataset
from epixs.training.devices import parts_of, training_scope, use_cores
from epixs.training.ended import ended_run
from epixs.training.plan import TrainingRun, plan_run, precision_of, settled
from epixs.training.probe import seconds_per_step

PROBE_SHARE = 0.1
"""Maximum share of `max_minutes` for timing the first steps."""

FILLED_SHARE = 0.85
"""Share of the remaining time for training steps, and for what the kind learns after epochs; scoring and
writing checkpoints take the rest."""


@dataclass(frozen=True)
class Probe:
    """Estimate from timing the first steps.

    Parameters
    ----------
    seconds_per_epoch
        Estimated from ten steps, timed before the start.
    epochs
        Maximum number of epochs.
    wanted_epochs
        Maximum number of epochs without a time limit.
    """

    seconds_per_epoch: float
    epochs: int
    wanted_epochs: int


def train(
    axis: JointAxis,
    settings: Settings,
    out: str | Path,
    *,
    resume: bool = False,
    force: bool = False,
    tensorboard: bool = False,
    devices: Sequence[str] | None = None,
    report: Callable[[EpochReport], None] | None = None,
    on_probe: Callable[[Probe], None] | None = None,
) -> dict[str, Any]:
    """Train one model over the joint axis; keep its best epoch, or its last if it is of kind `context`.

    Parameters
    ----------
    axis
        Axis to train over; values of its excluded experiments are never used.
    settings
        From `make_settings` or `read_settings`.
    out
        New or empty folder for `model.keras`, `model.json`, `history.csv` and `MODEL_CARD.md`.
    resume
        Resume the run in `out` if it was interrupted; begin one if there is none yet. If it has ended,
        nothing is done.
    force
        Start even if more memory is needed than `memory_gb`.
    tensorboard
        Write event files to `out/tensorboard` as well.
    devices
        Devices to train on, `["GPU:0", "GPU:1"]`; by default all GPUs of this machine, or its CPU.
    report
        Function called while training, with an `EpochReport`.
    on_probe
        Function called once before the first step, with a `Probe`.

    Returns
    -------
    `held_out_mse`, `best_epoch` and `epochs`, as in `model.json`; whether `patience` ended the run
    (`stopped_early`), or `max_minutes` did before its last planned step (`time_ran_out`); `planned_epochs`,
    and `wanted_epochs`, the plan without a time limit; which entries are `held_out`; and `errors`, one
    `GroupError` per species and per assay, of the epoch that was kept. For a run that had ended before:
    `had_ended`, and those of the above that its folder holds.

    Raises
    ------
    TrainingError
        If the memory budget does not suffice, the folder holds something else, the run to resume is of
        other stores or settings, or the loss diverges.

    Examples
    --------
    >>> import epixs
    >>> files = epixs.simulate("world", size="tiny")
    >>> chosen = epixs.make_catalog("world/metadata.tsv", "catalog.tsv")
    >>> table = epixs.ingest("catalog.tsv", "world/mouse.bed", "mouse.zarr", species="mouse")
    >>> axis = epixs.joint_axis("mouse.zarr")
    >>> settings = epixs.make_settings(hidden=(8, 8), epochs=1, batch_size=1_000, held_out=0.1)
    >>> done = epixs.train(axis, settings, "model")
    >>> done["best_epoch"], done["epochs"]
    (1, 1)
    >>> epixs.status("model").status
    'finished'
    """
    if resume and (ended := ended_run(*settled(axis, settings), out)):
        return ended
    use_cores()
    run = plan_run(axis, settings, out, resume=resume, force=force)
    with new_folder(run.folder), collecting_only_here(), run.sampler() as sampler:
        with training_scope(devices):
            model = new_model(run.axis, run.settings, precision=run.settings.training.precision)
        save = functools.partial(write_model, run.folder, model, run.axis, run.settings)
        done = carry_out(run, model, sampler, save, tensorboard=tensorboard, report=report, on_probe=on_probe)
    write_card(run.folder, done["errors"], done["held_out"])
    return done


def time_steps(axis: JointAxis, settings: Settings) -> Probe:
    """Estimate how long an epoch would take, without training anything.

    Raises
    ------
    TrainingError
        If the memory budget does not suffice.
    """
    use_cores()
    axis, settings = settled(axis, settings)
    kind, cost = kind_named(settings.kind), estimate_cost(axis, settings)
    check_memory(cost, settings)
    with training_scope():
        model = new_model(axis, settings, precision=precision_of(settings))
    with (
        collecting_only_here(),
        kind.sampler(axis, settings, batch_size=cost.batch_size, signal_bytes=cost.signal_bytes) as sampler,
    ):
        kind.begin(model, sampler)
        kind.in_micro_batches(model, parts_of(sampler.positions_per_step * sampler.experiments_per_position))
        kind.compile(model, settings, cost.epochs * sampler.steps_per_epoch)
        taken = seconds_per_step(model, sampler, interrupted=threading.Event())
        return Probe(taken * sampler.steps_per_epoch, cost.epochs, cost.epochs)


@contextlib.contextmanager
def collecting_only_here() -> Iterator[None]:
    """Keep other threads from collecting garbage; `carry_out` collects after each epoch.

    When an unfinished tf.data iterator is collected, it waits for the batches it is drawing. It waits for
    ever if the thread that collects it is one of those that draw them.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Make a folder; remove it again if the code that fills it fails before writing anything."""
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if made and {path.name for path in folder.iterdir()} <= {BEGUN_FILE}:
            (folder / BEGUN_FILE).unlink(missing_ok=True)
            folder.rmdir()
        raise


def carry_out(
    run: TrainingRun,
    model: Any,
    sampler: BatchSampler,
    save: Callable[[dict[str, float]], Any],
    *,
    known: JointAxis | None = None,
    tensorboard: bool = False,
    report: Callable[[EpochReport], None] | None = None,
    on_probe: Callable[[Probe], None] | None = None,
) -> dict[str, Any]:
    """Fit a model to the batches of a sampler, and save it whenever it improves; see `train`.

    `known` is the axis of all training experiments, if only some are fitted; the baselines use them all.
    """
    training, interrupted = run.settings.training, threading.Event()
    run.kind.begin(model, sampler)
    scores = HeldOutScores(sampler, known)
    run.kind.in_micro_batches(model, parts_of(sampler.positions_per_step * sampler.experiments_per_position))
    with _interrupts_go_to(interrupted):
        steps, at_the_end = _compiled_for(run, model, sampler, interrupted, on_probe)
        epochs = -(-steps // sampler.steps_per_epoch)
        history = History(run.folder, sampler, tensorboard=tensorboard)
        deadline = Deadline(run.deadline - at_the_end)

        def is_worked_out(epoch: int) -> bool:
            """Tell whether what the kind learns after an epoch is learned after this one."""
            return epoch + 1 >= epochs or deadline.has_passed or epoch % run.kind.worked_out_every == 0

        best = BestWeights(
            save,
            monitor=scores.monitor,
            patience=training.patience,
            keep_last=run.kind.keeps_last,
            due=is_worked_out,
        )
        checkpoint = StepCheckpoint(
            run.folder,
            sampler.steps_per_epoch,
            minutes=training.checkpoint_minutes,
            history=history,
            best=best,
            identity=run.identity,
            total_steps=steps,
            precision=training.precision,
            interrupted=interrupted,
        )

        def work_out(epoch: int, _: Any) -> None:
            if is_worked_out(epoch):
                run.kind.after_epoch(model, sampler)

        settle = keras.callbacks.LambdaCallback(on_epoch_end=work_out)
        collect = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: gc.collect(1))
        callbacks = [StopOnNonFinite(sampler), deadline, settle, scores, history, best, checkpoint, collect]
        if report is not None:
            callbacks.append(ProgressReport(report, sampler, epochs, deadline=run.deadline))
        for first, stop, skipped in checkpoint.spans(model, epochs):
            fit(model, sampler, callbacks, first=first, stop=stop, skipped=skipped)
    if best.best_epoch < 0:
        raise TrainingError("no epoch gave a finite held-out error", next_step="reduce learning_rate")
    checkpoint.forget()
    row = history.rows[best.best_epoch]
    kept = {name: row[name] for name in ("held_out_mse", "held_out_tracks_mse") if name in row}
    return kept | {
        "held_out": run.kind.held_out,
        "keeps_last": run.kind.keeps_last,
        "best_epoch": row["epoch"],
        "epochs": len(history.rows),
        "stopped_early": best.has_stopped and len(history.rows) < epochs,
        "time_ran_out": deadline.has_passed and checkpoint.steps_done < steps,
        "planned_epochs": epochs,
        "wanted_epochs": run.cost.epochs,
        "errors": scores.errors_of(row),
    }


def _compiled_for(
    run: TrainingRun,
    model: Any,
    sampler: BatchSampler,
    interrupted: threading.Event,
    on_probe: Callable[[Probe], None] | None,
) -> tuple[int, float]:
    """Compile a model for as many steps as the time allows, by timing a few.

    Returns
    -------
    Number of steps, and the seconds that are needed after the last one.
    """
    wanted = run.cost.epochs
    steps = run.state.total_steps if run.state else wanted * sampler.steps_per_epoch
    run.kind.compile(model, run.settings, steps)
    settling = 0.0
    if run.deadline < float("inf"):
        started = time.monotonic()
        run.kind.after_epoch(model, sampler)
        settling = time.monotonic() - started
    if run.state is not None:
        return steps, settling
    most = PROBE_SHARE * (run.deadline - time.monotonic())
    taken = seconds_per_step(model, sampler, most_seconds=most, interrupted=interrupted)
    if run.deadline < float("inf"):
        left = FILLED_SHARE * (run.deadline - time.monotonic()) - 2 * settling
        each = taken + settling / (run.kind.worked_out_every * sampler.steps_per_epoch)
        steps = min(steps, max(1, int(left / each)))
        run.kind.compile(model, run.settings, steps)
    if on_probe:
        on_probe(Probe(taken * sampler.steps_per_epoch, -(-steps // sampler.steps_per_epoch), wanted))
    return steps, settling


def fit(
    model: Any, sampler: BatchSampler, callbacks: Sequence[Any], *, first: int, stop: int, skipped: int = 0
) -> None:
    """Train epochs `[first, stop)`, skipping the first `skipped` steps of the first."""
    model.fit(
        training_dataset(sampler, first_epoch=first, first_step=skipped),
        steps_per_epoch=sampler.steps_per_epoch - skipped,
        initial_epoch=first,
        epochs=stop,
        callbacks=list(callbacks),
        shuffle=False,
        verbose=0,
    )


@contextlib.contextmanager
def _interrupts_go_to(event: threading.Event) -> Iterator[None]:
    """Turn Ctrl-C into an event that is checked between steps.

    A KeyboardInterrupt that is raised inside TensorFlow can get lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: event.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
