"""Joint training of all species: plan and cost first, best weights on what is held out."""

from __future__ import annotations

import contextlib
import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from epixs.axis.axis import JointAxis
from epixs.config import TrainConfig
from epixs.errors import TrainingError
from epixs.models.avocado.network import DeepTensorFactorization
from epixs.models.avocado.optimizer import RowwiseAdam
from epixs.models.avocado.zero_shot import plan_zero_shot
from epixs.models.backend import keras
from epixs.models.description import DESCRIPTION_FILE
from epixs.models.folder import new_model, write_model
from epixs.sampling import Sampler
from epixs.sampling.draws import PACKED_LIMIT
from epixs.storage.files import check_new_folder
from epixs.training.checkpoint import RunState, forget_checkpoint, identity, read_state, restore
from epixs.training.cost import Cost, check_memory, estimate_cost
from epixs.training.dataset import training_dataset
from epixs.training.devices import chosen_precision, parts_of, training_scope, use_cores
from epixs.training.held_out import HeldOut, with_baselines
from epixs.training.probe import seconds_per_step
from epixs.training.watch import WEIGHTED_ERROR, EpochReport, RunPlan, Watch

PROBE_SHARE = 0.1
"""Of `max_minutes`, at most, that timing the first steps may take."""

FILLED_SHARE = 0.8
"""Of the time that is left, taken up by training steps; scoring and writing checkpoints need some too."""

HELD_OUT_ENTRIES = (5_000, 200_000)
HELD_OUT_SHARE = 0.2
"""Held-out entries scored after an epoch over positions trained on in it, within those limits."""


@dataclass(frozen=True)
class Probe:
    """What the first steps have shown.

    Parameters
    ----------
    seconds_per_epoch
        By ten steps, timed before the start.
    epochs
        At most.
    wanted_epochs
        At most, if there were no time limit.
    """

    seconds_per_epoch: float
    epochs: int
    wanted_epochs: int


def compile_model(model: DeepTensorFactorization, config: TrainConfig, total_steps: int) -> None:
    """Compile with the configuration's optimiser: cosine decay over all steps."""
    schedule = keras.optimizers.schedules.CosineDecay(config.learning_rate, max(1, total_steps), alpha=0.01)
    with model.distribute_strategy.scope():
        optimizer = RowwiseAdam(
            schedule, row_multiplier=config.genome_multiplier, weight_decay=config.weight_decay or None
        )
        if config.weight_decay:
            optimizer.exclude_from_weight_decay(var_list=model.genome.tables)
        # XLA cannot compile the update of unique rows, whose number the data decide.
        # The loss is a mean over all entries, also those without weight; this metric over those with.
        error = keras.metrics.MeanSquaredError(name=WEIGHTED_ERROR)
        model.compile(optimizer=optimizer, loss="mse", weighted_metrics=[error], jit_compile=False)
        optimizer.build(model.trainable_variables)


def train(
    axis: JointAxis,
    config: TrainConfig,
    out: str | Path,
    *,
    resume: bool = False,
    force: bool = False,
    tensorboard: bool = False,
    devices: Sequence[str] | None = None,
    report: Callable[[EpochReport], None] | None = None,
    on_probe: Callable[[Probe], None] | None = None,
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
    force
        Start even if more memory is needed than `memory_gb`.
    tensorboard
        Write event files to `out/tensorboard` as well.
    devices
        Train on several, `["GPU:0", "GPU:1"]`; by default on all GPUs of this machine, or its CPU.
    report
        Called while training.
    on_probe
        Called once before the first step.

    Returns
    -------
    What `model.json` says of the run, `held_out_mse`, `best_epoch` and `epochs`; whether `patience` ended it
    (`stopped_early`) or `max_minutes` before its last planned step (`time_ran_out`); `planned_epochs`, and
    `wanted_epochs`, which would be planned without a time limit; and `errors`, a `GroupError` per species and
    per assay, of the epoch that was kept.

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
    >>> settings = epixs.TrainConfig(hidden=(8, 8), epochs=1, batch_size=1_000, held_out=0.1)
    >>> done = epixs.train(axis, settings, "model")
    >>> done["best_epoch"], done["epochs"]
    (1, 1)
    >>> epixs.status("model").status
    'finished'
    """
    deadline = deadline_of(config)
    use_cores()
    out = Path(out)
    axis, config = settled(axis, config)
    check_scales(axis)
    cost = estimate_cost(axis, config)
    if not force:
        check_memory(cost, config)
    state = state_in(out, axis, config, resume=resume)
    precision = state.precision if state else chosen_precision(config.precision, config.hidden)
    config = config.replace(precision=precision)
    with new_folder(out), collecting_only_here(), sampler_of(axis, config, cost) as sampler:
        with training_scope(devices):
            model = new_model(axis, config, precision=config.precision)

        def save(scores: dict[str, float]) -> None:
            write_model(out, model, axis, config, scores)

        return fit_model(
            model, axis, sampler, config, out, cost.epochs, save, deadline,
            state=state, tensorboard=tensorboard, report=report, on_probe=on_probe,
        )  # fmt: skip


def check_scales(axis: JointAxis) -> None:
    """Refuse a training experiment that is beyond what training can hold as a whole.

    Raises
    ------
    TrainingError
        Naming the first.
    """
    for part in axis.parts:
        beyond = part.training[part.training["signal_mean"].abs() > PACKED_LIMIT]
        for row in beyond.itertuples():
            raise TrainingError(
                f"{part.species} / {row.biosample} / {row.assay}: values of another order of magnitude",
                got=f"a mean of {row.signal_mean:.3g} arcsinh units",
                expected=f"at most {PACKED_LIMIT:.0f} (4.4 million in the track's own units)",
                next_step=f"is it a factor too large? `epixs remove {part.source} {row.accession}`, or "
                "list it in the table of --exclude",
            )


def settled(axis: JointAxis, config: TrainConfig) -> tuple[JointAxis, TrainConfig]:
    """Decide what axis and settings of a run leave open: tracks held out whole, zero-shot targets."""
    axis = axis.hold_out(config.held_out_tracks, config.seed)
    zero_shot = plan_zero_shot(axis, target=config.target)
    return axis, config.replace(target=",".join(zero_shot.targets))


def time_steps(axis: JointAxis, config: TrainConfig) -> Probe:
    """How long an epoch would take, without training anything.

    Raises
    ------
    TrainingError
        If the memory budget does not suffice.
    """
    use_cores()
    axis, config = settled(axis, config)
    cost = estimate_cost(axis, config)
    check_memory(cost, config)
    with training_scope():
        model = new_model(axis, config, precision=chosen_precision(config.precision, config.hidden))
    with collecting_only_here(), sampler_of(axis, config, cost) as sampler:
        model.in_parts(parts_of(sampler.positions_per_step * sampler.experiments_per_position))
        compile_model(model, config, cost.epochs * sampler.steps_per_epoch)
        taken = seconds_per_step(model, sampler, interrupted=threading.Event())
        return Probe(taken * sampler.steps_per_epoch, cost.epochs, cost.epochs)


def state_in(
    out: Path, axis: JointAxis, config: TrainConfig, *, resume: bool, extends: str = ""
) -> RunState | None:
    """Where the run in a folder stands that is to go on; None where one begins.

    Raises
    ------
    TrainingError
        If the folder holds something else, or a run that has ended.
    """
    state = read_state(out, axis, config, extends) if resume else None
    if resume and state is None and (out / DESCRIPTION_FILE).is_file():
        raise TrainingError(
            f"the run in {out} has ended", next_step="use its model, or train into another --out"
        )
    if state is None:
        check_new_folder(out, TrainingError)
    return state


def deadline_of(config: TrainConfig) -> float:
    """`time.monotonic()` at which a run that starts now has to end."""
    return time.monotonic() + 60 * config.max_minutes if config.max_minutes else float("inf")


def sampler_of(axis: JointAxis, config: TrainConfig, cost: Cost) -> Sampler:
    """The sampler of a run; its signal out of core where the cost says so."""
    return Sampler(
        axis,
        batch_size=cost.batch_size,
        experiments_per_position=config.experiments_per_position,
        held_out=config.held_out,
        species_weight=config.species_weight,
        seed=config.seed,
        memory_bytes=cost.signal_bytes,
    )


@contextlib.contextmanager
def collecting_only_here() -> Iterator[None]:
    """Let no other thread collect garbage; `Watch` does after each epoch.

    Collected, an unfinished tf.data iterator waits for the batches it is drawing: for ever, if one of the
    threads that have to draw them collects it.
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
    """Make a folder, and remove it again where what should fill it fails before it has written anything."""
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if made and not any(folder.iterdir()):
            folder.rmdir()
        raise


def fit_model(
    model: DeepTensorFactorization,
    axis: JointAxis,
    sampler: Sampler,
    config: TrainConfig,
    out: Path,
    epochs: int,
    save: Callable[[dict[str, float]], None],
    deadline: float,
    *,
    state: RunState | None = None,
    extends: str = "",
    known: JointAxis | None = None,
    tensorboard: bool = False,
    report: Callable[[EpochReport], None] | None = None,
    on_probe: Callable[[Probe], None] | None = None,
) -> dict[str, Any]:
    """Fit a model to what a sampler draws, and save it whenever it is better than before; see `train`.

    `known` is the axis of all training experiments, where only some are fitted to; baselines know them all.
    """
    count = int(np.clip(HELD_OUT_SHARE * sampler.n_positions, *HELD_OUT_ENTRIES))
    held_out = with_baselines(known or axis, sampler.held_out_entries(count), config.seed)
    tracks = _held_out_tracks(axis, config, count)
    interrupted = threading.Event()
    model.in_parts(parts_of(sampler.positions_per_step * sampler.experiments_per_position))
    with _interrupts_go_to(interrupted):
        steps = state.total_steps if state else epochs * sampler.steps_per_epoch
        compile_model(model, config, steps)
        if state is None:
            now = time.monotonic()
            taken = seconds_per_step(
                model, sampler, most_seconds=PROBE_SHARE * (deadline - now), interrupted=interrupted
            )
            if config.max_minutes:
                left = FILLED_SHARE * (deadline - time.monotonic())
                steps = min(steps, max(1, int(left / taken)))
                compile_model(model, config, steps)
            whole_epochs = -(-steps // sampler.steps_per_epoch)
            if on_probe:
                on_probe(Probe(taken * sampler.steps_per_epoch, whole_epochs, epochs))
        who = identity(axis, config, extends)
        plan = RunPlan(out, axis, config, who, sampler, held_out, tracks, deadline, steps, save, tensorboard)
        watch = Watch(plan, state, interrupted, report)
        epoch = state.epoch if state else 0
        if state is not None:
            restore(out, model)
            watch.saved = time.monotonic()
        if state is not None and state.step:  # the rest of the epoch in which the run stopped
            _fit(model, sampler, watch, epoch, epoch + 1, state.step)
            epoch += 1
        if epoch < plan.epochs and not model.stop_training:
            _fit(model, sampler, watch, epoch, plan.epochs)
    if watch.best_epoch < 0:
        raise TrainingError("no epoch gave a finite held-out error", next_step="reduce learning_rate")
    forget_checkpoint(out)
    return watch.scores() | {
        "stopped_early": watch.stopped_early,
        "time_ran_out": watch.time_ran_out,
        "planned_epochs": plan.epochs,
        "wanted_epochs": epochs,
        "errors": watch.errors(),
    }


def _fit(model: Any, sampler: Sampler, watch: Watch, first: int, stop: int, first_step: int = 0) -> None:
    """Train epochs `[first, stop)`, the first of them from one of its steps on."""
    model.fit(
        training_dataset(sampler, first_epoch=first, first_step=first_step),
        steps_per_epoch=sampler.steps_per_epoch - first_step,
        initial_epoch=first,
        epochs=stop,
        callbacks=[watch],
        shuffle=False,
        verbose=0,
    )


def _held_out_tracks(axis: JointAxis, config: TrainConfig, count: int) -> HeldOut | None:
    """Entries of the experiments that are held out whole, at random positions; None if there are none."""
    if not axis.n_held_out:
        return None
    sampler = Sampler(axis.held_out_alone(), batch_size=count, held_out=0.0, seed=config.seed)
    return with_baselines(axis, sampler.batch(0, 0), config.seed)


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
