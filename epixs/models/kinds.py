"""Kinds of model, found by name: each serves cost, training, imputation and the command line.

A new kind is a folder beside `avocado/` with a class derived from `Kind`, and one line in `KINDS`. Reading
settings and descriptions imports no TensorFlow, so a kind imports it only in the methods that need it.
"""

from __future__ import annotations

import contextlib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis
from epixs.catalog.pairs import Pair
from epixs.config import ModelSettings, Settings, TrainingSettings
from epixs.errors import ConfigError, TrainingError, closest
from epixs.models.stores import check_experiments, check_species
from epixs.sampling import BatchSampler, Sampler
from epixs.sampling.sampler import signal_memory

if TYPE_CHECKING:
    from epixs.models.folder import TrainedModel

KINDS = {"avocado": "epixs.models.avocado.kind", "context": "epixs.models.context.kind"}
"""Modules of the kinds that epixs has; each defines `KIND`."""

EPOCH_RANGE = (8, 200)
STEPS_PER_EPOCH, BATCH_RANGE = 28, (1_000, 40_000)
"""Minimum number of steps per epoch, and range of batch sizes. The paper's 40,000 entries are a 28th of the
Pilot Regions; a larger share gives too few steps."""

WEIGHTED_ERROR = "error"
"""Name of the training metric: mean squared error over the entries that have weight."""

Predict = Callable[[int, int, slice], npt.NDArray[np.float32]]
"""Function that predicts bins `[start, stop)` for a slice of the pairs, `(pair, bin)`, arcsinh units."""


Spreads = Callable[[npt.NDArray[np.float32], slice], npt.NDArray[np.float32]]
"""Function that gives the spread of the errors of predicted values, for a slice of the pairs: both
`(pair, bin)`, arcsinh units. NaN if it is not known."""


@dataclass(frozen=True)
class Schedule:
    """Entries per step, steps per epoch, and epochs, of a run without a time limit."""

    batch_size: int
    steps_per_epoch: int
    epochs: int


@dataclass(frozen=True)
class PlanNotes:
    """Additions of a kind to the plan that `epixs train` shows.

    Parameters
    ----------
    rows
        Further rows, name and value.
    by_species
        Further columns of the table of species, one text per species of the axis.
    remarks
        Warnings that a user should know before trusting the results.
    """

    rows: list[tuple[str, str]] = field(default_factory=list)
    by_species: dict[str, list[str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


class Kind(ABC):
    """One kind of model. It holds no state: axis, settings and model come as arguments."""

    settings: ClassVar[type[ModelSettings]]
    """Class of the settings that stand in `[model]`; its `kind` is the name of this kind."""

    training: ClassVar[TrainingSettings] = TrainingSettings()
    """Defaults of `[training]` for this kind."""

    has_genome_factors: ClassVar[bool] = False
    """Whether it learns factors per position, which `fit-genome` fits."""

    can_be_extended: ClassVar[bool] = False
    """Whether a trained model can be extended by new labels, tracks or species."""

    reads_signal: ClassVar[bool] = False
    """Whether it reads the tracks observed in a compendium when it imputes."""

    held_out: ClassVar[str] = "held-out blocks of tracks that are trained on elsewhere"
    """Description of the entries that the sampler holds out."""

    is_kept: ClassVar[bool] = True
    """Whether a model folder can hold a model of this kind."""

    keeps_last: ClassVar[bool] = False
    """Whether the last epoch's weights are kept, instead of those with the lowest held-out error."""

    worked_out_every: ClassVar[int] = 1
    """Number of epochs between two calls of `after_epoch`, which is always called after the last one.

    A model is only saved after those epochs: its weights would not fit what was learned before."""

    limits: ClassVar[tuple[str, ...]] = ()
    """Limits of this kind for the model card, one sentence each."""

    smaller: ClassVar[str] = "take a smaller model"
    """Advice if a model needs more memory than allowed."""

    @property
    def name(self) -> str:
        """Name of the kind in settings files."""
        return self.settings.kind

    @abstractmethod
    def build(self, axis: JointAxis, settings: Settings, *, precision: str = "float32") -> Any:
        """Make the Keras model, built but not compiled, with initial weights from Keras's random seed.

        It reads the `inputs` of the sampler's batches and predicts arcsinh units, shape `(P, E, 1)`.
        """

    @abstractmethod
    def parameters(self, axis: JointAxis, settings: Settings) -> int:
        """Return the number of the model's parameters, from sizes alone."""

    @abstractmethod
    def predictor(
        self, trained: TrainedModel, pairs: Sequence[Pair], store: str | Path, factors: Any = None
    ) -> Predict:
        """Prepare to predict some pairs of one species over the bins of a store.

        A kind that reads signal may read only training experiments, `observed_in(trained, store).training`:
        excluded and held-out experiments serve to judge imputations. `factors` is None except for a kind with
        genome factors. The caller clips the values to the range that each assay has shown in training.
        """

    def lacks(self, axis: JointAxis) -> str:
        """Describe what compendia lack for this kind to be trained on them; empty if they lack nothing."""
        return ""

    def settle(self, axis: JointAxis, settings: Settings) -> Settings:
        """Settle by the axis what the settings leave open; a second call changes nothing."""
        return settings

    def schedule(self, axis: JointAxis, settings: Settings) -> Schedule:
        """Plan entries, steps and epochs, unless they are configured.

        By default an epoch visits each position once, in at least 28 steps. There are as many epochs as draw,
        on average, half of the experiments at a position.
        """
        training = settings.training
        width = training.experiments_per_position
        parts = [part for part in axis.parts if len(part.training)]
        positions = sum(part.n_positions[0] for part in parts)
        entries = sum(part.n_positions[0] * len(part.training) for part in parts)
        batch = training.batch_size or int(np.clip(positions // STEPS_PER_EPOCH, *BATCH_RANGE))
        epochs = training.epochs or int(np.clip(round(entries / positions / width / 2), *EPOCH_RANGE))
        return Schedule(batch, -(-positions // max(1, batch // width)), epochs)

    def begin(self, model: Any, sampler: BatchSampler) -> None:  # noqa: B027 (most kinds do nothing)
        """Take over the sampler's statistics before the first step."""

    def after_epoch(self, model: Any, sampler: BatchSampler) -> None:  # noqa: B027 (likewise)
        """Compute what the model keeps besides its trained weights, before it is saved."""

    def working_bytes(self, axis: JointAxis, settings: Settings, batch_size: int) -> int:
        """Estimate the memory of a training step's inputs, activations and gradients."""
        return 0

    def signal_memory(self, axis: JointAxis, settings: Settings, available: int) -> tuple[int, bool]:
        """Return the bytes that the sampler's signal takes in memory, and whether that is all of it."""
        return signal_memory(axis, settings.training.experiments_per_position, available)

    def sampler(
        self, axis: JointAxis, settings: Settings, *, batch_size: int, signal_bytes: int | None = None
    ) -> BatchSampler:
        """Make the sampler of training batches, with the inputs that the model reads.

        Its signal may take `signal_bytes`; None keeps all of it in memory.
        """
        training = settings.training
        return Sampler(
            axis,
            batch_size=batch_size,
            experiments_per_position=training.experiments_per_position,
            held_out=training.held_out,
            species_weight=training.species_weight,
            seed=training.seed,
            memory_bytes=signal_bytes,
        )

    def optimizer(self, model: Any, settings: Settings, learning_rate: Any) -> Any:
        """Make the optimiser, with a schedule of the learning rate."""
        from epixs.models.backend import keras

        return keras.optimizers.Adam(learning_rate, weight_decay=settings.training.weight_decay or None)

    def compile(self, model: Any, settings: Settings, total_steps: int) -> None:
        """Compile the model, with cosine decay of the learning rate over all steps."""
        from epixs.models.backend import keras

        schedule = keras.optimizers.schedules.CosineDecay(
            settings.training.learning_rate, max(1, total_steps), alpha=0.01
        )
        with model.distribute_strategy.scope():
            optimizer = self.optimizer(model, settings, schedule)
            # The loss is a mean over all entries, even those with weight 0; this metric leaves those out.
            error = keras.metrics.MeanSquaredError(name=WEIGHTED_ERROR)
            model.compile(optimizer=optimizer, loss="mse", weighted_metrics=[error], jit_compile=False)
            optimizer.build(model.trainable_variables)

    def hidden_widths(self, settings: Settings) -> tuple[int, ...]:
        """Return widths of the layers that are timed if `precision` is `"auto"`; none means float32."""
        return ()

    def in_micro_batches(self, model: Any, count: int) -> None:  # noqa: B027 (most kinds do nothing)
        """Let the model compute each batch in `count` micro-batches, if the kind can."""

    @contextlib.contextmanager
    def as_kept(self, model: Any) -> Iterator[None]:
        """Let a model be saved as one that predicts in float32."""
        yield

    def settings_of(self, model: Any) -> ModelSettings | None:
        """Read the settings that a Keras model was made with; None if it is of another kind."""
        return None

    def label_factors(self, model: Any) -> dict[str, npt.NDArray[np.float32]]:
        """Return the learned factors of each `assay` and each `biosample` of the axis, by these names.

        Shape `(label, factor)`; a kind without factors of either leaves it out.
        """
        return {}

    def provenance(self, trained: TrainedModel, species: str) -> dict[str, Any]:
        """Return what this kind adds to the provenance of an imputed store of a species."""
        return {}

    def spreads(self, trained: TrainedModel, pairs: Sequence[Pair]) -> Spreads | None:
        """Return the function that estimates errors of predictions of pairs; None if this kind has none."""
        return None

    def expected_pearson(
        self, trained: TrainedModel, pairs: Sequence[Pair]
    ) -> npt.NDArray[np.float32] | None:
        """Estimate the Pearson correlation of each imputed track with a measured one, over bins.

        Shape `(pair,)`, NaN where it is not known; None if this kind does not know it of any.
        """
        return None

    def check_store(self, trained: TrainedModel, store: str | Path, factors: Any = None) -> str:
        """Check that a model can impute over the bins of a store; return the store's species.

        Raises
        ------
        AxisError
            If it cannot; the message names the difference.
        """
        return check_experiments(trained, store) if self.reads_signal else check_species(trained, store)

    def plan_notes(self, axis: JointAxis, settings: Settings) -> PlanNotes:
        """Return what `epixs train` says about this kind before it starts."""
        return PlanNotes()

    def described(self, axis: JointAxis, settings: Settings) -> list[tuple[str, str]]:
        """List the rows that `epixs info` shows about a model."""
        return [(name, str(value)) for name, value in settings.model.to_dict().items() if name != "kind"]

    def extension_settings(self, settings: Settings, axis: JointAxis, known: JointAxis) -> Settings:
        """Settle the settings for extending a model; `axis` has the experiments that are read, or fitted."""
        return settings

    def take_over(self, model: Any, axis: JointAxis, known: TrainedModel) -> None:
        """Copy a trained model into a new one over a larger axis, and freeze the copy."""
        raise TrainingError(
            f"models of kind {self.name} cannot be extended", next_step="train anew with all stores"
        )

    def extension_sampler(
        self, axis: JointAxis, settings: Settings, known: TrainedModel, *, batch_size: int, signal_bytes: int
    ) -> BatchSampler:
        """Make the sampler for extending a model; `axis` as in `extension_settings`."""
        return self.sampler(axis, settings, batch_size=batch_size, signal_bytes=signal_bytes)


def new_sampler(axis: JointAxis, settings: Settings, *, memory_bytes: int | None = None) -> BatchSampler:
    """Make the sampler whose batches hold the inputs of a model of these settings.

    Parameters
    ----------
    axis
        Axis to draw from.
    settings
        As in `new_model`; a `batch_size` of 0 is planned as for `train`.
    memory_bytes
        Maximum memory of the training signal, for kinds that can read it from the stores; by default all of
        it is kept in memory.

    Raises
    ------
    TrainingError
        If there is nothing to train on.
    """
    kind = kind_named(settings.kind)
    settings = kind.settle(axis, settings)
    batch_size = kind.schedule(axis, settings).batch_size
    return kind.sampler(axis, settings, batch_size=batch_size, signal_bytes=memory_bytes)


_registered: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Register a kind of model under the name in its settings.

    Raises
    ------
    ConfigError
        If one of its settings has the name of a setting that all kinds have.
    """
    twice = {*kind.settings.names()} & {*TrainingSettings.names(), "kind"}
    if twice:
        raise ConfigError(
            f"settings of the kind {kind.name}", got=", ".join(sorted(twice)), expected="names of its own"
        )
    _registered[kind.name] = kind


def kind_named(name: Any) -> Kind:
    """Find a kind of model by its name.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    known = {*KINDS, *_registered}
    if not isinstance(name, str) or name not in known:
        raise ConfigError(
            "kind of model",
            got=f"{name!r}{closest(name, known) if isinstance(name, str) else ''}",
            expected=f"one of {', '.join(sorted(known))}",
        )
    if name not in _registered:
        register(importlib.import_module(KINDS[name]).KIND)
    return _registered[name]


def kind_of(model: Any) -> tuple[Kind, ModelSettings] | None:
    """Find the kind of a Keras model and the settings that it was made with; None if it is none of ours."""
    for kind in (kind_named(name) for name in {**KINDS, **_registered}):
        settings = kind.settings_of(model)
        if settings is not None:
            return kind, settings
    return None


def require_genome_factors(kind: Kind, what: str) -> None:
    """Refuse a kind of model that has no factors per position.

    Raises
    ------
    TrainingError
        If it has none; the message names the kinds that have some.
    """
    if not kind.has_genome_factors:
        kinds = [name for name in {**KINDS, **_registered} if kind_named(name).has_genome_factors]
        raise TrainingError(
            f"{what}: a model of another kind is needed",
            got=f"one of kind {kind.name}, which has no factors per position",
            expected=f"one of kind {' or '.join(kinds)}",
        )
