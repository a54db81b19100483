"""A model's folder: weights in `model.keras`, everything needed to use them in `model.json`.

After an interruption at any moment, the folder still holds a matching pair. All that is read is checked.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from epixs.axis.axis import JointAxis
from epixs.axis.serialize import axis_to_dict
from epixs.compendium.picture import page
from epixs.config import Settings
from epixs.errors import TrainingError
from epixs.models.backend import keras, without_optimizer
from epixs.models.description import DESCRIPTION_FILE, MODEL_FILE, read_description, signal_bounds
from epixs.models.kinds import Kind, kind_named, kind_of
from epixs.storage.files import check_new_folder, file_sha256, write_text
from epixs.storage.fingerprint import digest
from epixs.storage.version import epixs_version

PARTIAL_FILE = "partial-model.keras"


@dataclass(frozen=True)
class TrainedModel:
    """A model opened from its folder.

    Parameters
    ----------
    folder
        Folder of the model.
    model
        The Keras model.
    axis, settings
        Axis and settings of its training.
    bounds
        Smallest and largest value that each assay has shown in training, arcsinh units.
    fingerprint
        Fingerprint of weights and description together.
    """

    folder: Path
    model: Any
    axis: JointAxis
    settings: Settings
    bounds: dict[str, tuple[float, float]]
    fingerprint: str

    def _repr_html_(self) -> str:
        """Show sizes, and which pairs are measured or can be imputed, in a notebook."""
        sizes: list[tuple[str, object]] = [
            ("folder", self.folder.name),
            ("kind", self.kind.name),
            ("parameters", int(self.model.count_params())),
            *self.axis.sizes,
        ]
        return page("epixs model", sizes, self.axis.pictures)

    @property
    def kind(self) -> Kind:
        """The kind of model."""
        return kind_named(self.settings.kind)


def new_model(axis: JointAxis, settings: Settings, *, precision: str = "float32") -> Any:
    """Make the model that settings of any kind describe, not yet compiled.

    Parameters
    ----------
    axis
        Axis that the model is for.
    settings
        Settings from `make_settings` or `read_settings`; their `seed` decides the initial weights.
    precision
        Precision of products and activations in training, `"float32"` or `"bfloat16"`.

    Returns
    -------
    A `keras.Model` that reads the inputs of `new_sampler`'s batches.
    """
    keras.utils.set_random_seed(settings.training.seed)
    return kind_named(settings.kind).build(axis, settings, precision=precision)


def write_model(
    folder: Path,
    model: Any,
    axis: JointAxis,
    settings: Settings,
    scores: dict[str, float],
    *,
    bounds: dict[str, list[float]] | None = None,
    extends: str = "",
) -> dict[str, Any]:
    """Write weights and description, replacing an earlier pair; return the description.

    The new weights are first written beside the old ones. Then the description, which names their checksum,
    is replaced, and the new weights are renamed. So at any moment the description names one of the two files.
    """
    partial = folder / PARTIAL_FILE
    with kind_named(settings.kind).as_kept(model), without_optimizer(model):
        model.save(partial)
    content: dict[str, Any] = {
        "epixs_version": epixs_version(),
        "settings": settings.to_dict(),
        "axis": axis_to_dict(axis),
        "bounds": bounds or signal_bounds(axis),
        **({"extends": extends} if extends else {}),
        **scores,
        "weights_sha256": file_sha256(partial),
    }
    content["fingerprint"] = digest(content)
    write_text(folder / DESCRIPTION_FILE, json.dumps(content, indent=1))
    os.replace(partial, folder / MODEL_FILE)
    return content


def save_model(model: Any, folder: str | Path, axis: JointAxis | None = None) -> None:
    """Write a model that a user's own script has fitted, as a folder that every verb takes.

    Parameters
    ----------
    model
        A model from `build_model` or `new_model`, fitted by `model.fit`; or one opened from a `.keras` file.
    folder
        New or empty folder, or one that holds such a model already.
    axis
        Axis that the model was fitted over; needed only if it was opened from a `.keras` file.

    Raises
    ------
    TrainingError
        If the folder holds something else, or the model's axis is not known.
    """
    folder = Path(folder)
    trained = as_trained(model, axis)
    if not trained.kind.is_kept:
        raise TrainingError(
            f"a model folder cannot hold a {type(model).__name__} of one's own architecture",
            expected="a model of a kind of epixs, from `epixs.build_model` or `epixs.new_model`",
            next_step="keep it with `model.save`, and impute where it is opened: "
            "`epixs.impute(model, store, out, axis=axis)`",
        )
    if not (folder / DESCRIPTION_FILE).is_file():
        check_new_folder(folder, TrainingError)
    folder.mkdir(parents=True, exist_ok=True)
    write_model(folder, model, trained.axis, trained.settings, {})


def as_trained(model: Any, axis: JointAxis | None = None) -> TrainedModel:
    """Wrap a fitted Keras model, as if saved and opened by `open_model`; a `TrainedModel` stays as it is.

    Raises
    ------
    TrainingError
        If it is no Keras model, or its axis is not known.
    """
    if isinstance(model, TrainedModel):
        return model
    if not isinstance(model, keras.Model):
        raise TrainingError(
            "model",
            got=type(model).__name__,
            expected="one from `epixs.build_model` or `epixs.open_model`, or a Keras model of your own",
        )
    axis = axis or getattr(model, "axis", None)
    if axis is None:
        raise TrainingError(
            "this model does not say what its numbers stand for",
            got="a model without the joint axis that it was fitted over, as a `.keras` file gives it",
            expected="the axis that its sampler drew from",
            next_step="`epixs.save_model(model, folder, axis=axis)` and `epixs.open_model(folder)`; or "
            "`axis=axis` where it imputes",
        )
    bounds = {assay: (low, high) for assay, (low, high) in signal_bounds(axis).items()}
    known = kind_of(model)
    if known is None:
        from epixs.models.own import own_model

        return own_model(model, axis, bounds)
    kind, own = known
    settings = Settings(own, kind.training)
    weights = hashlib.sha256(b"".join(np.ascontiguousarray(w).tobytes() for w in model.get_weights()))
    fingerprint = digest([weights.hexdigest(), axis_to_dict(axis)])
    return TrainedModel(Path(model.name), model, axis, settings, bounds, fingerprint)


def open_model(folder: str | Path) -> TrainedModel:
    """Open a model folder.

    The model is made from its description, and only weights are read from `model.keras`. So nothing in that
    file is executed, and no more memory is allocated than the file can fill.

    Raises
    ------
    TrainingError
        If the folder holds no finished model, or weights that do not belong to its description.
    AxisError
        If its description is damaged.
    """
    folder = Path(folder)
    if folder.suffix == ".keras" and folder.is_file():
        raise TrainingError(
            f"{folder} is a Keras file: it does not say what its numbers stand for",
            expected="a model folder",
            next_step="`epixs.save_model(model, folder)` writes one of a model that was fitted by a script",
        )
    description = read_description(folder)
    axis, settings = description.axis, description.settings
    weights = _matching_weights(folder, description.weights_sha256)
    _check_size(weights, kind_named(settings.kind).parameters(axis, settings))
    model = new_model(axis, settings)
    try:
        model.load_weights(weights)
    except Exception as error:  # keras raises many types for a damaged archive
        raise TrainingError(
            f"{weights} cannot be loaded",
            got=f"{type(error).__name__}: {str(error).partition('.')[0]}",
            next_step="if an earlier version of epixs wrote it, train it again",
        ) from error
    return TrainedModel(folder, model, axis, settings, description.bounds, description.fingerprint)


def _matching_weights(folder: Path, sha256: str) -> Path:
    """Find the weights that a description names, even if the write was interrupted before the last rename."""
    candidates = [path for path in (folder / MODEL_FILE, folder / PARTIAL_FILE) if path.is_file()]
    for path in candidates:
        if file_sha256(path) == sha256:
            return path
    raise TrainingError(
        f"{folder} holds no weights that belong to its {DESCRIPTION_FILE}",
        got=", ".join(path.name for path in candidates) or f"no {MODEL_FILE}",
        expected=f"{MODEL_FILE} with SHA-256 {sha256[:12]}...",
        next_step="copy the whole model folder again, or train again",
    )


def _check_size(weights: Path, parameters: int) -> None:
    size = weights.stat().st_size
    if size < 4 * parameters:
        raise TrainingError(
            f"{weights} cannot hold this model",
            got=f"{size:,} bytes",
            expected=f"at least {4 * parameters:,} for {parameters:,} parameters",
        )
