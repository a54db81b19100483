"""A model's folder: weights in `model.keras`, everything needed to use them in `model.json`.

Both are written so that whatever interrupts, the folder holds a matching pair; what is read is checked.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from epixs.compendium.plan import digest
from epixs.compendium.store import epixs_version
from epixs.config import TrainConfig
from epixs.cost import count_parameters
from epixs.description import DESCRIPTION_FILE, MODEL_FILE, read_description, signal_bounds
from epixs.errors import TrainingError
from epixs.files import file_sha256, write_text
from epixs.joint import JointAxis
from epixs.joint_json import axis_to_dict
from epixs.model import DeepTensorFactorization, build_model

PARTIAL_FILE = "partial-model.keras"


@dataclass(frozen=True)
class TrainedModel:
    """A model opened from its folder.

    Parameters
    ----------
    folder
        Where it lies.
    model
        The Keras model.
    axis, config
        What it was trained over, and how.
    bounds
        Smallest and largest value that each assay has shown in training, arcsinh units.
    fingerprint
        Of weights and description together.
    """

    folder: Path
    model: Any
    axis: JointAxis
    config: TrainConfig
    bounds: dict[str, tuple[float, float]]
    fingerprint: str


def new_model(axis: JointAxis, config: TrainConfig, *, precision: str = "float32") -> DeepTensorFactorization:
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
        target=config.target,
        precision=precision,
    )


def save_model(
    folder: Path,
    model: Any,
    axis: JointAxis,
    config: TrainConfig,
    scores: dict[str, float],
    *,
    bounds: dict[str, list[float]] | None = None,
    extends: str = "",
) -> dict[str, Any]:
    """Write weights and description, replacing an earlier pair; returns the description.

    The description is replaced between writing the weights beside the old ones and renaming them, and names
    their checksum: at any moment one of the two weight files is the one that it names.
    """
    partial = folder / PARTIAL_FILE
    with _as_kept(model):
        model.save(partial)
    content: dict[str, Any] = {
        "epixs_version": epixs_version(),
        "config": config.to_dict(),
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


@contextlib.contextmanager
def _as_kept(model: Any) -> Iterator[None]:
    """Let a model be saved as one that predicts in float32, and without its optimiser.

    The optimiser's moments are twice as large as the weights. Keras 3 has an argument for leaving them out,
    which the `.keras` format ignores.
    """
    compiled, precision = model.compiled, model.settings["precision"]
    optimizer = model.optimizer if compiled else None
    model.settings["precision"] = "float32"
    if compiled:
        model.optimizer, model.compiled = None, False
    try:
        yield
    finally:
        model.settings["precision"] = precision
        if compiled:
            model.optimizer, model.compiled = optimizer, True


def open_model(folder: str | Path) -> TrainedModel:
    """Open a model folder.

    The model is made from its description and only its weights are read from `model.keras`, so nothing in
    that file is executed, and nothing is allocated that the file is not large enough to fill.

    Raises
    ------
    TrainingError
        If the folder holds no finished model, or weights that do not belong to its description.
    AxisError
        If its description is damaged.
    """
    folder = Path(folder)
    said = read_description(folder)
    axis, config = said.axis, said.config
    weights = _matching_weights(folder, said.weights_sha256)
    _check_size(weights, count_parameters(axis, config))
    model = new_model(axis, config)
    try:
        model.load_weights(weights)
    except Exception as error:  # keras raises many types for a damaged archive
        raise TrainingError(f"{weights} cannot be loaded", got=f"{type(error).__name__}: {error}") from error
    return TrainedModel(folder, model, axis, config, said.bounds, said.fingerprint)


def _matching_weights(folder: Path, sha256: str) -> Path:
    """The weights that a description names, also if their writer was interrupted before the last rename."""
    found = [path for path in (folder / MODEL_FILE, folder / PARTIAL_FILE) if path.is_file()]
    for path in found:
        if file_sha256(path) == sha256:
            return path
    raise TrainingError(
        f"{folder} holds no weights that belong to its {DESCRIPTION_FILE}",
        got=", ".join(path.name for path in found) or f"no {MODEL_FILE}",
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
