"""The whole state of a training run in one file, from which it goes on as if nothing had happened.

Weights, optimiser moments, the state of what draws dropout, and where the run stood: batches are a function
of (seed, epoch, step), so nothing else is needed. The file is replaced in one step, and its entries carry the
CRC-32 of the zip format, which reading verifies.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis
from epixs.axis.serialize import axis_to_dict
from epixs.config import Settings
from epixs.errors import TrainingError
from epixs.storage.files import BEGUN_FILE, CHECKPOINT_FILE, write_text
from epixs.storage.fingerprint import digest
from epixs.training.cost import Cost

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
        One dict per finished epoch; none where a script of one's own keeps no history.
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


def identity_of(axis: JointAxis, settings: Settings, cost: Cost, extends: str = "") -> dict[str, Any]:
    """What a run must have in common with the one it goes on from, by name.

    `extends` is the fingerprint of the model that the run extends, if it does.
    """
    decisive = {name: value for name, value in settings.flat().items() if name not in FREE_SETTINGS}
    stores: dict[str, Any] = {f"store of {part.species}": part.plan for part in axis.parts}
    excluded = {
        f"excluded experiments of {part.species}": int(part.experiments["excluded"].sum())
        for part in axis.parts
    }
    signal = "in memory" if cost.in_memory else f"out of core, {cost.signal_bytes:,} bytes (memory_gb)"
    rest = {"axis": digest(axis_to_dict(axis)), "training signal": signal, "extended model": extends}
    return {"model": settings.kind} | decisive | stores | excluded | rest


def mark_begun(folder: Path, identity: dict[str, Any]) -> None:
    """Say in a folder that a run has begun there, so that what it saves is not taken for its end."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / BEGUN_FILE, json.dumps(identity))


def has_begun(folder: Path, identity: dict[str, Any]) -> bool:
    """Whether a run has begun in a folder and not ended.

    Raises
    ------
    TrainingError
        If it was of other stores or settings: naming what differs.
    """
    path = folder / BEGUN_FILE
    if not path.is_file():
        return False
    whole = path.stat().st_size <= MAX_STATE_BYTES
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if whole else None
    except (ValueError, RecursionError):
        found = None
    if type(found) is not dict:
        raise TrainingError(f"{path} is damaged", next_step="delete the folder and train anew")
    check_identity(path, identity, found)
    return True


def save_checkpoint(folder: Path, model: Any, identity: dict[str, Any], state: RunState) -> None:
    """Write the state of a run, replacing an earlier one in one step."""
    text = json.dumps({"identity": identity, "run": asdict(state)})
    partial = folder / f"partial-{CHECKPOINT_FILE}"
    with partial.open("wb") as file:
        with zipfile.ZipFile(file, "w") as archive:  # what np.savez writes, one array in memory at a time
            _write(archive, STATE, np.frombuffer(text.encode(), dtype=np.uint8))
            for index, variable in enumerate(_variables(model)):
                _write(archive, f"v{index}", np.asarray(variable))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, folder / CHECKPOINT_FILE)


def read_state(folder: Path, identity: dict[str, Any]) -> RunState | None:
    """Where the run in a folder stands; None if it has no checkpoint.

    Parameters
    ----------
    folder
        Of the run.
    identity
        What that run must have in common with this one; a `precision` of `"auto"` takes what it chose.

    Raises
    ------
    TrainingError
        If the checkpoint is damaged, or of other stores or settings: naming what differs.
    """
    found = _content_of(folder)
    if found is None:
        return None
    check_identity(folder / CHECKPOINT_FILE, identity, found[0])
    return found[1]


def standing(folder: Path) -> RunState | None:
    """Where the run in a folder stands, whatever it is; None if it has no checkpoint.

    Raises
    ------
    TrainingError
        If the checkpoint is damaged.
    """
    found = _content_of(folder)
    return found[1] if found else None


def _content_of(folder: Path) -> tuple[dict[str, Any], RunState] | None:
    """Identity and state of a checkpoint."""
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return None
    text = bytes(_read(path, STATE, None, MAX_STATE_BYTES))
    try:
        content = json.loads(text)
        return dict(content["identity"]), _state_from(content["run"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from error


def check_identity(path: Path, identity: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Check that what a path holds is of the run that `identity` is of.

    Raises
    ------
    TrainingError
        Naming what differs.
    """
    mine = dict(identity)
    if mine.get("precision") == "auto":  # chosen when the run began, and kept
        mine["precision"] = theirs.get("precision")
    differ = [name for name in mine | theirs if mine.get(name) != theirs.get(name)]
    if differ:
        named = [name for name in differ if name != "axis"]  # a digest, which says nothing to anybody
        raise TrainingError(
            f"{path} is of another run: {', '.join(named) or 'excluded experiments or labels'}",
            got="; ".join(f"{name} {mine.get(name)}" for name in named) or "others",
            expected="; ".join(f"{name} {theirs.get(name)}" for name in named) or "those of that run",
            next_step="give the stores, --exclude and settings of that run, or another --out",
        )


def _state_from(content: Any) -> RunState:
    """A state from JSON, whose types and ranges are checked."""
    state = RunState(**content)
    whole = (state.epoch, state.step, state.total_steps, state.best_epoch, state.worse)
    if any(type(n) is not int for n in whole) or min(state.epoch, state.step, state.worse) < 0:
        raise ValueError(f"steps and epochs are {whole}")
    if [type(value) for value in (state.best, state.seconds, state.precision)] != [float, float, str]:
        raise ValueError(f"best {state.best!r}, seconds {state.seconds!r}, precision {state.precision!r}")
    if type(state.history) is not list or len(state.history) not in (0, state.epoch):
        raise ValueError(f"its history is not one of {state.epoch} epochs")
    for row in state.history:
        if type(row) is not dict or any(type(value) not in (int, float) for value in row.values()):
            raise ValueError(f"its history holds {row!r}")
    if state.total_steps < 1 or not -1 <= state.best_epoch < max(1, state.epoch):
        raise ValueError(f"{state.total_steps} steps, epoch {state.best_epoch} best")
    return state


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
    """Delete what says that a run has not ended; killed in between, it can go on from its checkpoint."""
    (folder / BEGUN_FILE).unlink(missing_ok=True)
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
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as entry:
            size = archive.getinfo(f"{name}.npy").file_size
            if size > most + HEADER_BYTES:
                raise ValueError(f"{name} has {size} bytes")
            value = _array_of(entry)
    except (OSError, ValueError, LookupError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        # RuntimeError: zipfile's word for entries that are encrypted or compressed in a way it does not know.
        raise _damaged(path, error) from error
    if shape is not None and value.shape != shape:
        raise TrainingError(f"{path} is of another model: {name}", got=value.shape, expected=shape)
    return value


def _array_of(entry: IO[bytes]) -> npt.NDArray[Any]:
    """One array in NumPy's format; its shape is believed only if the data fill it."""
    if np.lib.format.read_magic(entry) != (1, 0):
        raise ValueError("an array of another version than 1.0")
    shape, _, dtype = np.lib.format.read_array_header_1_0(entry)
    if dtype.kind not in "biuf":
        raise ValueError(f"an array of {dtype}")
    return np.frombuffer(entry.read(), dtype).reshape(shape)


def _damaged(path: Path, error: Exception) -> TrainingError:
    return TrainingError(
        f"{path} is damaged",
        got=f"{type(error).__name__}: {error}",
        expected="the checkpoint of an interrupted run",
        next_step="delete it, and the folder, to train anew",
    )
