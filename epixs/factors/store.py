"""The Zarr store of one species' genome factors, fitted block by block for a trained model.

All arrays are indexed by the 5 kbp position: `factors_25bp (position, 200, k)`, `factors_250bp (position, 20,
k)` and `factors_5kbp (position, k)`, float32. So a block of positions is one chunk of each, whichever regions
it lies in; where a region ends within a position, what is beyond its end is NaN. `shared/` holds the weights
that all blocks have in common, and `ledger/record` one record a block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from epixs.axis.axis import COARSE_BINS, MEDIUM_BINS, SpeciesAxis
from epixs.axis.serialize import axis_from_dict, axis_to_dict
from epixs.compendium.schema import SCHEMA_VERSION
from epixs.errors import StoreError
from epixs.factors.plan import ARRAYS, FactorPlan
from epixs.storage.fingerprint import checksum, digest
from epixs.storage.ledger import LEDGER_PATH, Record, read_ledger
from epixs.storage.location import absolute, has_object, is_url, object_names, zarr_store
from epixs.storage.version import epixs_version

SHARED = "shared"


MAX_FACTORS = 65_536


MAX_BLOCKS = 10_000_000


def prepare_factors(
    path: str | Path, plan: FactorPlan, shared: Mapping[str, npt.NDArray[np.float32]]
) -> None:
    """Create a factor store, or check that what is there belongs to the same plan.

    Raises
    ------
    StoreError
        If something else is there.
    """
    if has_object(path, "zarr.json"):
        found = _attributes(path).get("identity")
        differ = [n for n, v in plan.identity.items() if not isinstance(found, dict) or found.get(n) != v]
        if differ:
            name = differ[0]
            mine, theirs = plan.identity[name], found.get(name) if isinstance(found, dict) else None
            if isinstance(mine, dict) and isinstance(theirs, dict):  # only what differs
                keys = [key for key in mine if mine[key] != theirs.get(key)]
                mine, theirs = ({key: part.get(key) for key in keys} for part in (mine, theirs))
            raise StoreError(
                f"{path} holds other genome factors: {', '.join(differ)}",
                got=mine,
                expected=theirs,
                next_step="choose another --out",
            )
        if has_object(path, f"{LEDGER_PATH}/zarr.json"):
            return
    elif (is_url(str(path)) or Path(path).exists()) and object_names(path):
        raise StoreError(f"{path} exists and is not empty", next_step="choose another --out")
    root = zarr.create_group(
        zarr_store(path),
        zarr_format=3,
        overwrite=True,
        attributes={
            "epixs_schema": SCHEMA_VERSION,
            "epixs_version": epixs_version(),
            "kind": "factors",
            "status": "unfinished",
            "identity": plan.identity,
            "axis": axis_to_dict(plan.axis),
        },
    )
    positions = plan.part.n_positions[2]
    chunks = plan.shapes(min(plan.block_positions, positions))
    for name, shape in plan.shapes(positions).items():
        root.create_array(
            name,
            shape=shape,
            chunks=chunks[name],
            dtype="float32",
            fill_value=np.nan,
            compressors=None,  # factors are noise to a compressor
            dimension_names=("position", "factor") if len(shape) == 2 else ("position", "inner", "factor"),
        )
    for name, values in shared.items():
        array = root.create_array(
            f"{SHARED}/{name}", shape=values.shape, chunks=values.shape, dtype="float32", fill_value=np.nan
        )
        array[...] = values
    root.create_array(LEDGER_PATH, shape=(1, plan.n_blocks), chunks=(1, 1), dtype="string", fill_value="")


def _attributes(path: str | Path) -> dict[str, Any]:
    try:
        attributes = dict(zarr.open_group(zarr_store(path), mode="r").attrs)
    except Exception as error:  # zarr raises many types for what is not a group
        raise StoreError(f"{path} is not a Zarr group", got=type(error).__name__) from error
    if attributes.get("kind") != "factors":
        raise StoreError(
            f"{path} holds no genome factors",
            got=f"kind {attributes.get('kind')!r}",
            expected="a store that `epixs fit-genome` wrote",
        )
    return attributes


def is_factor_store(path: str | Path) -> bool:
    """Whether there is a store of genome factors, whatever its state."""
    try:
        _attributes(path)
    except StoreError:
        return False
    return True


@dataclass(frozen=True)
class FactorStatus:
    """How far a factor store is: its plan, `"unfinished"` or `"complete"`, and blocks that are fitted."""

    plan: FactorPlan
    status: str
    done: int


def factor_status(path: str | Path) -> FactorStatus:
    """Read how far a factor store is, finished or not.

    Raises
    ------
    StoreError
        If it is none, or damaged.
    """
    state = "complete" if _attributes(path).get("status") == "complete" else "unfinished"
    return FactorStatus(read_factor_plan(path), state, len(read_blocks(path)))


def read_factor_plan(path: str | Path) -> FactorPlan:
    """The plan of a factor store, every claim checked.

    Raises
    ------
    StoreError
        If it is damaged.
    """
    attributes = _attributes(path)
    try:
        identity = attributes["identity"]
        axis = axis_from_dict(attributes["axis"], whole=False)
        small, middle, large = (int(n) for n in identity["sizes"])
        sizes = (small, middle, large)
        plan = FactorPlan(
            axis, str(identity["model"]), sizes, int(identity["block_positions"]), identity["settings"]
        )
        sound = all(0 < n <= MAX_FACTORS for n in sizes) and plan.block_positions > 0
        if not sound or len(axis.parts) != 1 or plan.n_blocks > MAX_BLOCKS or plan.identity != identity:
            raise ValueError("its attributes contradict each other")
        root: Any = zarr.open_group(zarr_store(path), mode="r")
        for name, wanted in plan.shapes(plan.part.n_positions[2]).items():
            if root[name].shape != wanted or root[name].dtype != np.float32:
                raise ValueError(f"{name} has shape {root[name].shape}, not {wanted}")
    except StoreError:
        raise
    except Exception as error:  # of any type, as from damaged JSON and arrays
        raise StoreError(f"{path} is damaged", got=f"{type(error).__name__}: {error}") from error
    return plan


def read_shared(
    path: str | Path, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, npt.NDArray[np.float32]]:
    """The weights that all blocks share, of the shapes that they must have.

    Raises
    ------
    StoreError
        If one is missing or of another shape.
    """
    found = {}
    for name, shape in shapes.items():
        try:
            array = zarr.open_array(zarr_store(path), path=f"{SHARED}/{name}", mode="r")
            if array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}, not {shape}")
            found[name] = np.asarray(array[...], dtype=np.float32)
        except Exception as error:  # zarr and its codecs raise many types
            raise StoreError(f"{path} is damaged", got=f"{type(error).__name__}: {error}") from error
    return found


def write_factors(
    path: str | Path, plan: FactorPlan, block: int, tables: tuple[npt.NDArray[np.float32], ...]
) -> str:
    """Write a block's factors, given by 25 bp, 250 bp and 5 kbp position; returns their checksum."""
    first, stop = plan.span(block)
    window = plan.part.window(first, stop)
    coarse, medium, fine = _inner_indices(window)
    padded = {name: np.full(shape, np.nan, np.float32) for name, shape in plan.shapes(stop - first).items()}
    small, middle, large = (padded[name] for name in ARRAYS)
    small[coarse, fine] = tables[0][: coarse.size]
    middle[coarse, medium] = tables[1][window.positions(np.arange(coarse.size))[:, 1]]
    large[:] = tables[2][: stop - first]
    root: Any = zarr.open_group(zarr_store(path), mode="r+")
    for name, values in padded.items():
        root[name][first:stop] = values
    return checksum(np.concatenate([values.ravel() for values in padded.values()]))


def _inner_indices(
    part: SpeciesAxis, start: int = 0, stop: int | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Of bins `[start, stop)`: 5 kbp position, and 250 bp and 25 bp position within it."""
    bins = np.arange(start, part.n_positions[0] if stop is None else stop)
    region = np.searchsorted(part.regions.first_bin, bins, side="right") - 1
    fine = (bins - part.regions.first_bin[region]) % COARSE_BINS
    return part.positions(bins)[:, 2].astype(np.int64), fine // MEDIUM_BINS, fine


def block_fingerprint(plan: FactorPlan, block: int, content: str) -> str:
    """Digest of all that a block's factors depend on; `content` of the signal there."""
    return digest([plan.fingerprint, block, content])


def reopen_factors(path: str | Path) -> None:
    """Mark a store unfinished before its blocks are written again."""
    zarr.open_group(zarr_store(path), mode="r+").attrs["status"] = "unfinished"


def read_blocks(path: str | Path) -> dict[int, Record]:
    """The ledger of a factor store: a record a block, whose one row holds its scores.

    Raises
    ------
    StoreError
        If a record is damaged.
    """
    found = {block: record for (_, block), record in read_ledger(path, _is_scored).items()}
    if any(len(record.rows) != 1 for record in found.values()):
        raise StoreError(f"{path}: its ledger is damaged", next_step="fit the factors again")
    return found


def _is_scored(row: Any) -> bool:
    names = ("squares", "held_out", "loss")
    return type(row) is dict and all(type(row.get(name)) in (int, float) for name in names)


def finish_factors(path: str | Path, plan: FactorPlan) -> dict[str, float]:
    """Flip the status of a store whose blocks are all written; returns `held_out_mse` and `loss` over all."""
    records = read_blocks(path)
    missing = [block for block in range(plan.n_blocks) if block not in records]
    if missing:
        raise StoreError(f"{path} lacks {len(missing)} of {plan.n_blocks} blocks", next_step="run it again")
    zarr.open_group(zarr_store(path), mode="r+").attrs["status"] = "complete"
    rows = [record.rows[0] for record in records.values()]
    sums = {name: sum(float(row[name]) for row in rows) for name in ("squares", "held_out", "loss")}
    return {
        "held_out_mse": sums["squares"] / sums["held_out"] if sums["held_out"] else float("nan"),
        "loss": sums["loss"] / len(rows),
    }


@dataclass(frozen=True)
class FactorStore:
    """A finished factor store, opened; its fingerprint is of all that its blocks were fitted to."""

    path: str
    plan: FactorPlan
    fingerprint: str

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Factors of bins `[start, stop)` at all three scales, one after the other: `(bin, sum of sizes)`.

        Raises
        ------
        StoreError
            If a block is missing or damaged.
        """
        coarse, medium, fine = _inner_indices(self.plan.part, start, stop)
        low, high = int(coarse[0]), int(coarse[-1]) + 1
        try:
            root: Any = zarr.open_group(zarr_store(self.path), mode="r")
            small, middle, large = (np.asarray(root[name][low:high]) for name in ARRAYS)
        except Exception as error:  # zarr and its codecs raise many types
            raise StoreError(f"{self.path} cannot be read", got=f"{type(error).__name__}: {error}") from error
        at = coarse - low
        values = np.concatenate([small[at, fine], middle[at, medium], large[at]], axis=1)
        if np.isnan(values).any():
            raise StoreError(
                f"{self.path} lacks factors of bins {start:,} to {stop:,}",
                next_step="run `epixs fit-genome` again: it resumes where it stopped",
            )
        return values


def open_factors(path: str | Path) -> FactorStore:
    """Open a finished factor store.

    Raises
    ------
    StoreError
        If it is none, damaged or unfinished.
    """
    attributes = _attributes(path)
    if attributes.get("status") != "complete":
        raise StoreError(
            f"{path} is unfinished",
            got=f"status {attributes.get('status')!r}",
            expected="'complete'",
            next_step="run `epixs fit-genome` again: it resumes where it stopped",
        )
    plan = read_factor_plan(path)
    blocks = [record.fingerprint for _, record in sorted(read_blocks(path).items())]
    return FactorStore(absolute(path), plan, digest([plan.fingerprint, blocks]))
