"""Keras models of a user's own architecture: any model that takes the inputs of a batch can impute.

epixs does not know how such a model is made, so no model folder can hold it: it imputes in the process that
has it. `docs/training.md` lists the inputs of a batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from epixs.axis.axis import JointAxis
from epixs.axis.serialize import axis_to_dict
from epixs.catalog.pairs import Pair
from epixs.config import ModelSettings, Settings, TrainingSettings
from epixs.errors import TrainingError
from epixs.models.backend import keras
from epixs.models.context.predict import predictor_by
from epixs.models.folder import TrainedModel
from epixs.models.kinds import Kind, Predict
from epixs.models.stores import check_bins, check_species
from epixs.storage.fingerprint import digest

BLOCK_BINS = 1 << 14
"""Number of bins predicted at once."""

LABEL_INPUTS = ("position", "biosample", "assay")
CONTEXT_INPUTS = (
    "own", "own_assay", "others", "others_assay", "base", "target", "named", "scale", "share",
    "linear", "member",
)  # fmt: skip
"""Inputs in the batches of the two samplers."""


@dataclass(frozen=True)
class OwnSettings(ModelSettings):
    """Settings of a user's own architecture: there are none."""

    kind: ClassVar[str] = "own"


class Own(Kind):
    """A Keras model that reads positions and labels."""

    settings = OwnSettings
    is_kept = False

    def build(self, axis: JointAxis, settings: Settings, *, precision: str = "float32") -> Any:
        """Refuse: only the user's script can make it."""
        raise _only_its_maker("made")

    def parameters(self, axis: JointAxis, settings: Settings) -> int:
        """Refuse: the number does not follow from sizes."""
        raise _only_its_maker("counted")

    def predictor(
        self, trained: TrainedModel, pairs: Sequence[Pair], store: str | Path, factors: Any = None
    ) -> Predict:
        """Predict from positions and labels, so that nothing is read from the store."""
        species, axis, model = pairs[0][0], trained.axis, trained.model
        part, offset = axis.part(species), axis.offsets(species)
        biosamples = axis.biosample_index(species, [pair[1] for pair in pairs])
        assays = axis.assay_index([pair[2] for pair in pairs])
        names = [name for name in LABEL_INPUTS if name in (input_names(model) or LABEL_INPUTS)]

        @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[misc, unused-ignore]
        def forward(inputs: Any) -> Any:
            return model(inputs, training=False)

        def row(bins: npt.NDArray[np.int64], biosample: int, assay: int) -> npt.NDArray[np.float32]:
            labels = {"biosample": biosample, "assay": assay}
            inputs = {name: np.full((bins.size, 1), value, np.int32) for name, value in labels.items()}
            inputs["position"] = (part.positions(bins) + offset).astype(np.int32)
            output = forward({name: tf.constant(inputs[name]) for name in names})
            return _values_of(output, bins.size, trained.folder)

        def predict(start: int, stop: int, rows: slice) -> npt.NDArray[np.float32]:
            blocks = [
                np.arange(first, min(stop, first + BLOCK_BINS)) for first in range(start, stop, BLOCK_BINS)
            ]
            chosen = zip(biosamples[rows].tolist(), assays[rows].tolist(), strict=True)
            return np.stack([np.concatenate([row(bins, *labels) for bins in blocks]) for labels in chosen])

        return predict

    def check_store(self, trained: TrainedModel, store: str | Path, factors: Any = None) -> str:
        """Check that the store's bins are those of the model's positions."""
        species = check_species(trained, store)
        check_bins(trained, store, trained.axis.part(species))
        return species


class OwnContext(Own):
    """A Keras model that reads the tracks observed around a bin, in any store of a trained species."""

    reads_signal = True

    def predictor(
        self, trained: TrainedModel, pairs: Sequence[Pair], store: str | Path, factors: Any = None
    ) -> Predict:
        """Predict from the tracks observed in a store."""
        model = trained.model
        names = input_names(model)

        def call(inputs: dict[str, Any]) -> npt.NDArray[np.float32]:
            return _values_of(forward(inputs), inputs["own"].shape[1], trained.folder)

        @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[misc, unused-ignore]
        def forward(inputs: dict[str, Any]) -> Any:
            return model({name: inputs[name] for name in names}, training=False)

        return predictor_by(call, trained, pairs, store)

    def check_store(self, trained: TrainedModel, store: str | Path, factors: Any = None) -> str:
        """Check that the store has the tracks that the model reads."""
        return Kind.check_store(self, trained, store, factors)


@dataclass(frozen=True)
class OwnModel(TrainedModel):
    """A model of a user's own architecture, with the axis that its numbers refer to."""

    @property
    def kind(self) -> Kind:
        """The kind of model, by the inputs that it reads."""
        return OwnContext() if set(input_names(self.model)) & set(CONTEXT_INPUTS) else Own()


def own_model(model: Any, axis: JointAxis, bounds: dict[str, tuple[float, float]]) -> OwnModel:
    """Wrap a fitted Keras model of a user's own architecture as one that can impute.

    Raises
    ------
    TrainingError
        If it has an input that no batch holds.
    """
    names = set(input_names(model))
    if names - set(LABEL_INPUTS) and names - set(CONTEXT_INPUTS):
        raise TrainingError(
            "inputs of the model",
            got=", ".join(sorted(names)),
            expected=f"some of {', '.join(LABEL_INPUTS)}, or some of {', '.join(CONTEXT_INPUTS)}",
            next_step="name the inputs as a batch does (docs/training.md)",
        )
    weights = hashlib.sha256(b"".join(np.ascontiguousarray(w).tobytes() for w in model.get_weights()))
    fingerprint = digest([weights.hexdigest(), axis_to_dict(axis), type(model).__qualname__, sorted(names)])
    settings = Settings(OwnSettings(), TrainingSettings())
    return OwnModel(Path(model.name), model, axis, settings, bounds, fingerprint)


def _values_of(found: Any, size: int, name: object) -> npt.NDArray[np.float32]:
    """Read a model's output for some bins of one experiment, one value per bin.

    Raises
    ------
    TrainingError
        If the output is something else.
    """
    parts = keras.tree.flatten(found)
    shapes = [tuple(getattr(part, "shape", ())) for part in parts]
    if len(parts) != 1 or np.prod(shapes[0]) != size:
        raise TrainingError(
            f"what {name} predicts",
            got=f"{' and '.join(map(str, shapes)) or 'nothing'} for {size} positions of one experiment",
            expected=f"one output of shape ({size}, 1, 1), as the values of a batch",
        )
    return np.asarray(parts[0], np.float32).reshape(-1)


def input_names(model: Any) -> list[str]:
    """List the inputs of a functional model; none for a subclassed one, which reads positions and labels."""
    given = getattr(model, "input", None)
    if isinstance(given, dict):
        return list(given)
    return [str(tensor.name) for tensor in keras.tree.flatten(given) if tensor is not None]


def _only_its_maker(what: str) -> TrainingError:
    return TrainingError(
        f"a model of one's own architecture cannot be {what} by epixs",
        expected="a model that is there: `epixs.impute(model, store, out, axis=axis)`",
    )
