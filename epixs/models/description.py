"""Read and check a model's description in `model.json`: axis, settings, scores. No TensorFlow is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from epixs.axis.axis import JointAxis
from epixs.axis.serialize import axis_from_dict
from epixs.config import Settings
from epixs.declared import Finite, checked, read_json_file
from epixs.errors import AxisError, TrainingError
from epixs.models.settings import settings_from, settings_from_flat
from epixs.models.stores import known_species
from epixs.storage.files import is_unfinished_run
from epixs.storage.fingerprint import digest

MODEL_FILE = "model.keras"

DESCRIPTION_FILE = "model.json"

MAX_DESCRIPTION_BYTES = 1 << 30

SCORES = ("held_out_mse", "held_out_tracks_mse", "best_epoch", "epochs")


class Content(TypedDict):
    """Fields of `model.json`; `config` is the first version's single table of all settings."""

    axis: Any
    bounds: dict[str, tuple[Finite, Finite]]
    weights_sha256: str
    fingerprint: str
    settings: NotRequired[Any]
    config: NotRequired[dict[str, Any]]
    extends: NotRequired[str]
    held_out_mse: NotRequired[float]
    held_out_tracks_mse: NotRequired[float]
    best_epoch: NotRequired[float]
    epochs: NotRequired[float]


@dataclass(frozen=True)
class Description:
    """Description of a model in its folder.

    Parameters
    ----------
    axis, settings
        Axis and settings of its training.
    bounds
        Smallest and largest value that each assay has shown in training, arcsinh units.
    scores
        Held-out errors (MSE, arcsinh units) of the best epoch, its number, and the number of epochs.
    extends
        Fingerprint of the model that it extends; empty if it extends none.
    weights_sha256
        Checksum of the weights that belong to it.
    fingerprint
        Fingerprint of weights and description together.
    interrupted
        Whether its training was interrupted and can resume; the weights are then the best ones so far.
    """

    axis: JointAxis
    settings: Settings
    bounds: dict[str, tuple[float, float]]
    scores: dict[str, float]
    extends: str
    weights_sha256: str
    fingerprint: str
    interrupted: bool


def signal_bounds(axis: JointAxis) -> dict[str, list[float]]:
    """Return the smallest and largest value that each assay has shown in training, over all species."""
    bounds: dict[str, list[float]] = {}
    for assay in axis.assays:
        rows = [part.training[part.training["assay"] == assay] for part in axis.parts]
        low = min((float(t["signal_min"].min()) for t in rows if len(t)), default=None)
        high = max((float(t["signal_max"].max()) for t in rows if len(t)), default=None)
        if low is not None and high is not None:
            bounds[assay] = [low, high]
    return bounds


def read_description(folder: Path) -> Description:
    """Read the description in a model's folder; the weights are not read.

    Raises
    ------
    TrainingError
        If the folder holds no model.
    AxisError
        If the description is damaged.
    """
    path = folder / DESCRIPTION_FILE
    if not folder.exists():
        raise TrainingError(f"model folder {folder} does not exist", next_step="train one with `epixs train`")
    if not path.is_file():
        names = ", ".join(sorted(p.name for p in folder.iterdir())[:6]) if folder.is_dir() else "a file"
        raise TrainingError(
            f"{folder} holds no finished model",
            got="a store" if (folder / "zarr.json").is_file() else names,
            expected=f"{MODEL_FILE} and {DESCRIPTION_FILE}",
            next_step="go on with its training: the same `epixs train` with --resume"
            if is_unfinished_run(folder)
            else "train one with `epixs train`",
        )
    raw, damaged = read_json_file(Any, path, MAX_DESCRIPTION_BYTES, AxisError), f"{path} is damaged"
    content: Content = checked(Content, raw, damaged, AxisError)
    del raw["fingerprint"]
    if digest(raw) != content["fingerprint"]:
        raise AxisError(
            damaged, got=f"fingerprint {content['fingerprint']!r} that is not that of the content"
        )
    if "config" in content:  # the first version's single table of all settings
        settings = settings_from_flat(content["config"], str(path))
    else:
        settings = settings_from(content.get("settings"), str(path))
    axis = axis_from_dict(content["axis"], f"{damaged}: axis")
    for assay, (low, high) in content["bounds"].items():
        if low > high:
            raise AxisError(f"{damaged}: bounds of {assay}", got=f"{low!r}, {high!r}")
    if lacking := sorted(signal_bounds(axis).keys() - content["bounds"].keys()):
        raise AxisError(damaged, got=f"no bounds of {lacking[0]}")
    return Description(
        axis,
        settings,
        content["bounds"],
        {name: float(raw[name]) for name in SCORES if name in raw},
        content.get("extends", ""),
        content["weights_sha256"],
        content["fingerprint"],
        is_unfinished_run(folder),
    )


def check_before_loading(folder: Path, store: str | Path) -> tuple[Description, str]:
    """Check a store's species against a model's description, and return description and species.

    No TensorFlow is loaded.

    Raises
    ------
    AxisError
        If the store is of another species, or the description is damaged.
    TrainingError
        If the folder holds no model.
    """
    description = read_description(folder)
    return description, known_species(description.axis, folder, store)
