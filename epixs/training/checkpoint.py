"""The whole state of a training run in one file, from which it goes on as if nothing had happened.

Weights, optimiser moments, the state of what draws dropout, and where the run stood: batches are a function
of (seed, epoch, step), so nothing else is needed. The file is replaced in one step, and its entries carry the
CRC-32 of the zip format, which reading verifies.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.compendium.plan import digest
from epixs.config import TrainConfig
from epixs.cost import estimate_cost
from epixs.errors import TrainingError
from epixs.joint import JointAxis
from epixs.joint_json import axis_to_dict

CHECKPOINT_FILE = "checkpoint.npz"
STATE = "state"
HEADER_BYTES = 1 << 12
"""More than the header of an array in the file."""

MAX_STATE_BYTES = 1 << 26
FREE_SETTINGS = ("max_minutes", "memory_gb", "checkpoint_minutes")
"""Settings that may differ when a run goes on: they decide none of its numbers."""


@dataclass(frozen=True)
class RunState:
    """Where a training run stands.

    Parameters
    ----------
    epoch, step
        What comes next, both counted from 0.
    total_steps
        Steps over which the learning rate falls.
    history
        One dict per finished epoch.
    best, best_epoch, worse
        Lowest held-out error, its epoch, and epochs since.
    seconds
        Training time so far.
    precision
        Of the hidden layers' products, as it was chosen at the beginning.
    """

    epoch: int
    step: int
    total_steps: int
    history: list[dict[str, float]]
    best: float
    best_epoch: int
    worse: int
    seconds: float
    precision: str = "float32"


def identity(axis: JointAxis, config: TrainConfig) -> dict[str, Any]:
    """What a run must have in common with the one it goes on from, by name."""
    settings = {k: v for k, v in config.to_dict().items() if k not in FREE_SETTINGS}
    parts = {f"store of {part.species}": part.plan for part in axis.parts}
    cost = estimate_cost(axis, config)
    signal = "in memory" if cost.in_memory else f"out of core, {cost.signal_bytes:,} bytes (memory_gb)"
    return settings | parts | {"axis": digest(axis_to_dict(axis)), "training signal": signal}


def save_checkpoint(folder: Path, model: Any, axis: JointAxis, config: TrainConfig, state: RunState) -> None:
    """Write the state of a run, replacing an earlier one in one step."""
    text = json.dumps({"identity": identity(axis, config), "run": asdict(state)})
    partial = folder / f"partial-{CHECKPOINT_FILE}"
    with partial.open("wb") as file:
        with zipfile.ZipFile(file, "w") as archive:  # what np.savez writes, one array in memory at a time
            _write(archive, STATE, np.frombuffer(text.encode(), dtype=np.uint8))
            for index, variable in enumerate(_variables(model)):
                _write(archive, f"v{index}", np.asarray(variable))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, folder / CHECKPOINT_FILE)


def read_state(folder: Path, axis: JointAxis, config: TrainConfig) -> RunState | None:
    """Where the run in a folder stands; None if it has no checkpoint.

    Raises
    ------
    TrainingError
        If the checkpoint is damaged, or of other stores or settings: naming what differs.
    """
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return None
    content = json.loads(bytes(_read(path, STATE, None, MAX_STATE_BYTES)))
    mine, theirs = identity(axis, config), content["identity"]
    if config.precision == "auto":  # chosen when the run began, and kept
        mine["precision"] = theirs.get("precision")
    differ = [name for name in mine if mine[name] != theirs.get(name)]
    if differ:
        shown = differ[0] if differ[0] == "axis" else f"{differ[0]} {mine[differ[0]]}"
        raise TrainingError(
            f"{path} is of another run: {', '.join(differ)}",
            got=shown,
            expected=theirs.get(differ[0]),
            next_step="give the stores, --exclude and settings of that run, or another --out",
        )
    return RunState(**content["run"])


def restore(folder: Path, model: Any) -> None:
    """Put the state of a checkpoint into a compiled model.

    Raises
    ------
    TrainingError
        If the file is damaged or does not hold the variables of this model.
    """
    for index, variable in enumerate(_variables(model)):
        shape = tuple(variable.shape)
        size = int(np.prod(shape, dtype=np.int64)) * 8
        value = _read(folder / CHECKPOINT_FILE, f"v{index}", shape, size)
        variable.assign(value)


def forget_checkpoint(folder: Path) -> None:
    """Delete the checkpoint of a run that has ended."""
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)


def _write(archive: zipfile.ZipFile, name: str, value: npt.NDArray[Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
        np.lib.format.write_array(entry, np.ascontiguousarray(value).reshape(value.shape), allow_pickle=False)


def _variables(model: Any) -> list[Any]:
    """All that training changes: weights, the state of dropout, optimiser moments and its step."""
    passing = {id(variable) for variable in model.metrics_variables}
    mine = [variable for variable in model.variables if id(variable) not in passing]
    known = {id(variable) for variable in mine}
    return mine + [variable for variable in model.optimizer.variables if id(variable) not in known]


def _read(path: Path, name: str, shape: tuple[int, ...] | None, most: int) -> npt.NDArray[Any]:
    """One array of the file, of a size that was checked before."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo(f"{name}.npy").file_size
            if size > most + HEADER_BYTES:
                raise ValueError(f"{name} has {size} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            value: npt.NDArray[Any] = arrays[name]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TrainingError(
            f"{path} is damaged",
            got=str(error),
            expected="the checkpoint of an interrupted run",
            next_step="delete it, and the folder, to train anew",
        ) from error
    if shape is not None and value.shape != shape:
        raise TrainingError(f"{path} is of another model: {name}", got=value.shape, expected=shape)
    return value
