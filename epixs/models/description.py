"""What `model.json` says of a model: axis, settings, scores. Read without TensorFlow, and checked."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epixs.axis.axis import JointAxis
from epixs.axis.serialize import axis_from_dict
from epixs.config import Settings
from epixs.errors import AxisError, TrainingError
from epixs.models.settings import settings_from, settings_from_flat
from epixs.models.stores import known_species
from epixs.storage.files import is_unfinished_run
from epixs.storage.fingerprint import digest

MODEL_FILE = "model.keras"


DESCRIPTION_FILE = "model.json"


MAX_DESCRIPTION_BYTES = 1 << 30


SCORES = ("held_out_mse", "held_out_tracks_mse", "best_epoch", "epochs")


@dataclass(frozen=True)
class Description:
    """What a model's folder says of it.

    Parameters
    ----------
    axis, settings
        What it was trained over, and how.
    bounds
        Smallest and largest value that each assay has shown in training, arcsinh units.
    scores
        Held-out errors (MSE, arcsinh units) of the best epoch, which that was, and how many there were.
    extends
        Fingerprint of the model that it extends; empty for one that was trained.
    weights_sha256
        Checksum of the weights that belong to it.
    fingerprint
        Of weights and description together.
    interrupted
        Whether its training was cut short and can go on: these are the best weights until then.
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
    """Smallest and largest value that each assay has shown in training, over all species."""
    bounds: dict[str, list[float]] = {}
    for assay in axis.assays:
        rows = [part.training[part.training["assay"] == assay] for part in axis.parts]
        low = min((float(t["signal_min"].min()) for t in rows if len(t)), default=None)
        high = max((float(t["signal_max"].max()) for t in rows if len(t)), default=None)
        if low is not None and high is not None:
            bounds[assay] = [low, high]
    return bounds


def read_description(folder: Path) -> Description:
    """Read the description in a model's folder; the weights are not looked at.

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
            next_step="train one with `epixs train`",
        )
    size = path.stat().st_size
    if size > MAX_DESCRIPTION_BYTES:
        raise AxisError(f"{path} is too large", got=f"{size:,} bytes", expected="at most 1 GiB")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        fingerprint = content.pop("fingerprint")
        if digest(content) != fingerprint:
            raise ValueError(f"fingerprint {fingerprint!r} is not that of the content")
        if "config" in content:  # one table of all settings, as the first version wrote it
            settings = settings_from_flat(dict(content["config"]), str(path))
        else:
            settings = settings_from(content["settings"], str(path))
        axis = axis_from_dict(content["axis"])
        if type(content["weights_sha256"]) is not str or type(content.get("extends", "")) is not str:
            raise TypeError("weights_sha256 or extends is no text")
        bounds = {assay: _pair_of_numbers(assay, found) for assay, found in dict(content["bounds"]).items()}
        if lacking := sorted(signal_bounds(axis).keys() - bounds.keys()):
            raise ValueError(f"no bounds of {lacking[0]}")
        scores = {name: _number(name, content[name]) for name in SCORES if name in content}
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise AxisError(f"{path} is damaged", got=f"{type(error).__name__}: {error}") from error
    return Description(
        axis,
        settings,
        bounds,
        scores,
        content.get("extends", ""),
        content["weights_sha256"],
        fingerprint,
        is_unfinished_run(folder),
    )


def check_before_loading(folder: Path, store: str | Path) -> Description:
    """Check a store's species by what a model's folder says, and return that: no TensorFlow is needed.

    Raises
    ------
    AxisError
        If the store is of another species, or the description is damaged.
    TrainingError
        If the folder holds no model.
    """
    said = read_description(folder)
    known_species(said.axis, folder, store)
    return said


def _pair_of_numbers(assay: str, found: Any) -> tuple[float, float]:
    low, high = found
    if not (type(low) is type(high) is float and math.isfinite(low) and low <= high < math.inf):
        raise ValueError(f"bounds of {assay} are {low!r}, {high!r}")
    return low, high


def _number(name: str, found: Any) -> float:
    if type(found) not in (int, float):
        raise TypeError(f"{name} is {found!r}, no number")
    return float(found)
