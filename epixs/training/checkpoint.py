"""Save the whole state of a training run in one file, from which it resumes as if never interrupted.

The file holds weights, optimiser moments, the state of the dropout generator, and the position of the run.
Batches are a function of (seed, epoch, step), so nothing else is needed. The file is replaced atomically.
Its entries carry the CRC-32 of the zip format, which reading verifies.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Annotated, Any, TypedDict

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from epixs.axis.axis import JointAxis
from epixs.axis.serialize import axis_to_dict
from epixs.config import Settings
from epixs.declared import Count, checked, parsed, read_json_file, shortened
from epixs.errors import TrainingError
from epixs.storage.files import BEGUN_FILE, CHECKPOINT_FILE, write_text
from epixs.storage.fingerprint import digest
from epixs.training.cost import Cost

STATE = "state"
HEADER_BYTES = 1 << 12
"""Upper bound on the size of an array's header in the file."""

MAX_STATE_BYTES = 1 << 26
FREE_SETTINGS = ("max_minutes", "memory_gb", "checkpoint_minutes")
"""Settings that may differ when a run resumes: they do not affect its results."""

NEXT_STEP = "delete it, and the folder, to train anew"


@dataclass(frozen=True)
class RunState:
    """Position and results so far of a training run.

    Parameters
    ----------
    epoch, step
        The next ones, both counted from 0.
    total_steps
        Steps over which the learning rate falls.
    history
        One dict per finished epoch; empty if a user's own script keeps no history.
    best, best_epoch, worse
        Lowest held-out error, its epoch, and epochs since.
    seconds
        Training time so far.
    precision
        Precision of the hidden layers' products, chosen when the run began.
    """

    epoch: Count
    step: Count
    total_steps: Annotated[int, Meta(ge=1)]
    history: list[dict[str, int | float]]
    best: float
    best_epoch: int
    worse: Count
    seconds: float
    precision: str = "float32"


class _Content(TypedDict):
    """Content of a checkpoint's array `STATE`, as JSON."""

    identity: dict[str, Any]
    run: RunState


def identity_of(axis: JointAxis, settings: Settings, cost: Cost, extends: str = "") -> dict[str, Any]:
    """Collect the values, by name, that a run must share with the run that it resumes.

    `extends` is the fingerprint of the model that the run extends, if any.
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
    """Mark in a folder that a run has begun, so that its saved models are not taken for finished."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / BEGUN_FILE, json.dumps(identity))


def has_begun(folder: Path, identity: dict[str, Any]) -> bool:
    """Check whether a run has begun in a folder and not ended.

    Raises
    ------
    TrainingError
        If it was of other stores or settings; the message names the differences.
    """
    path = folder / BEGUN_FILE
    if not path.is_file():
        return False
    check_identity(
        path, identity, read_json_file(dict[str, Any], path, MAX_STATE_BYTES, TrainingError, NEXT_STEP)
    )
    return True


def save_checkpoint(folder: Path, model: Any, identity: dict[str, Any], state: RunState) -> None:
    """Write the state of a run, atomically replacing an earlier one."""
    text = json.dumps({"identity": identity, "run": asdict(state)})
    partial = folder / f"partial-{CHECKPOINT_FILE}"
    with partial.open("wb") as file:
        with zipfile.ZipFile(file, "w") as archive:  # as np.savez, but one array in memory at a time
            _write(archive, STATE, np.frombuffer(text.encode(), dtype=np.uint8))
            for index, variable in enumerate(_variables(model)):
                _write(archive, f"v{index}", np.asarray(variable))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, folder / CHECKPOINT_FILE)


def read_state(folder: Path, identity: dict[str, Any]) -> RunState | None:
    """Read the state of the run in a folder; None if it has no checkpoint.

    Parameters
    ----------
    folder
        Folder of the run.
    identity
        Values that this run must share with that one; a `precision` of `"auto"` accepts the one it chose.

    Raises
    ------
    TrainingError
        If the checkpoint is damaged, or of other stores or settings; the message names the differences.
    """
    content = _content_of(folder)
    if content is None:
        return None
    check_identity(folder / CHECKPOINT_FILE, identity, content[0])
    return content[1]


def standing(folder: Path) -> RunState | None:
    """Read the state of the run in a folder, whatever its settings; None if it has no checkpoint.

    Raises
    ------
    TrainingError
        If the checkpoint is damaged.
    """
    content = _content_of(folder)
    return content[1] if content else None


def _content_of(folder: Path) -> tuple[dict[str, Any], RunState] | None:
    """Read the identity and state of a checkpoint."""
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return None
    text = bytes(_read(path, STATE, None, MAX_STATE_BYTES))
    raw = parsed(Any, text, f"{path} is damaged", TrainingError, NEXT_STEP)
    content: _Content = checked(_Content, raw, f"{path} is damaged", TrainingError, NEXT_STEP)
    try:
        return content["identity"], _consistent(content["run"], raw["run"])
    except ValueError as error:
        raise _damaged(path, error) from error


def check_identity(path: Path, identity: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Check that the run at a path, with the identity `theirs`, is the run of `identity`.

    Raises
    ------
    TrainingError
        If it is another run; the message names the differences.
    """
    wanted = dict(identity)
    if wanted.get("precision") == "auto":  # chosen when the run began, and kept
        wanted["precision"] = theirs.get("precision")
    differ = [name for name in wanted | theirs if wanted.get(name) != theirs.get(name)]
    if differ:
        named = [name for name in differ if name != "axis"]  # a digest, which tells a reader nothing
        raise TrainingError(
            f"{path} is of another run: {', '.join(named) or 'excluded experiments or labels'}",
            got="; ".join(f"{name} {shortened(wanted.get(name))}" for name in named) or "others",
            expected="; ".join(f"{name} {shortened(theirs.get(name))}" for name in named)
            or "those of that run",
            next_step="give the stores, --exclude and settings of that run, or another --out",
        )


def _consistent(state: RunState, raw: dict[str, Any]) -> RunState:
    """Return a state, after checking that its numbers fit together and that `raw` has no unknown keys."""
    if strange := sorted(raw.keys() - vars(state).keys()):
        raise ValueError(f"it has an unknown key, {strange[0]}")
    if len(state.history) not in (0, state.epoch):
        raise ValueError(f"its history does not have {state.epoch} epochs")
    if not -1 <= state.best_epoch < max(1, state.epoch):
        raise ValueError(f"its best epoch is {state.best_epoch}, of {state.epoch}")
    return state


def restore(folder: Path, model: Any) -> None:
    """Load the state of a checkpoint into a compiled model.

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
    """Delete the files of an unfinished run; if killed in between, it can resume from its checkpoint."""
    (folder / BEGUN_FILE).unlink(missing_ok=True)
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)


def _write(archive: zipfile.ZipFile, name: str, value: npt.NDArray[Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
        np.lib.format.write_array(entry, np.ascontiguousarray(value).reshape(value.shape), allow_pickle=False)


def _variables(model: Any) -> list[Any]:
    """List all variables that training changes: weights, dropout state, optimiser moments and step."""
    metrics = {id(variable) for variable in model.metrics_variables}
    lasting = [variable for variable in model.variables if id(variable) not in metrics]
    known = {id(variable) for variable in lasting}
    return lasting + [variable for variable in model.optimizer.variables if id(variable) not in known]


def _read(path: Path, name: str, shape: tuple[int, ...] | None, most: int) -> npt.NDArray[Any]:
    """Read one array of the file, after checking its size."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as entry:
            size = archive.getinfo(f"{name}.npy").file_size
            if size > most + HEADER_BYTES:
                raise ValueError(f"{name} has {size} bytes")
            value = _array_of(entry)
    except (OSError, ValueError, LookupError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        # zipfile raises RuntimeError for entries that are encrypted or compressed in an unknown way.
        raise _damaged(path, error) from error
    if shape is not None and value.shape != shape:
        raise TrainingError(f"{path} is of another model: {name}", got=value.shape, expected=shape)
    return value


def _array_of(entry: IO[bytes]) -> npt.NDArray[Any]:
    """Read one array in NumPy's format; its shape must match the amount of data."""
    if np.lib.format.read_magic(entry) != (1, 0):
        raise ValueError("an array of a version other than 1.0")
    shape, _, dtype = np.lib.format.read_array_header_1_0(entry)
    if dtype.kind not in "biuf":
        raise ValueError(f"an array of {dtype}")
    return np.frombuffer(entry.read(), dtype).reshape(shape)


def _damaged(path: Path, error: Exception) -> TrainingError:
    return TrainingError(
        f"{path} is damaged",
        got=f"{type(error).__name__}: {error}",
        expected="the checkpoint of an interrupted run",
        next_step=NEXT_STEP,
    )
