"""The Zarr store of one species' genome factors, fitted block by block for a trained model.

All arrays are indexed by the 5 kbp position: `factors_25bp (position, 200, k)`, `factors_250bp (position, 20,
k)` and `factors_5kbp (position, k)`, float32. So a block of positions is one chunk of each array, whichever
regions it lies in. If a region ends within a position, the values beyond its end are NaN. `shared/` holds the
weights that all blocks have in common, and `ledger/record` one record per block.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from epixs.axis.axis import COARSE_BINS, MEDIUM_BINS, SpeciesAxis
from epixs.axis.serialize import axis_from_dict, axis_to_dict
from epixs.declared import checked
from epixs.errors import StoreError
from epixs.factors.plan import ARRAYS, FactorPlan
from epixs.storage.fingerprint import checksum, digest
from epixs.storage.ledger import Record, read_ledger
from epixs.storage.location import absolute
from epixs.storage.store import (
    COMPLETE,
    UNFINISHED,
    Store,
    check_ledger,
    differences,
    find_or_make,
    make_store,
    open_store,
    read_json,
    reading,
)
from epixs.storage.tiling import Key

SHARED = "shared"

MAX_BLOCKS = 10_000_000

FactorSize = Annotated[int, Meta(ge=1, le=65_536)]


def prepare_factors(
    place: str | Path, plan: FactorPlan, shared: Mapping[str, npt.NDArray[np.float32]]
) -> Store:
    """Create a factor store, or check that the existing one belongs to the same plan.

    Raises
    ------
    StoreError
        If the place holds something else.
    """
    store = find_or_make(
        absolute(place),
        check=lambda store: _check_same(store, plan),
        make=lambda again: _create(absolute(place), plan, shared, again),
    )
    check_ledger(store, (1, plan.n_blocks))
    return store


def _check_same(store: Store, plan: FactorPlan) -> None:
    differ = differences(plan.identity, _attribute(factor_store(store), "identity"))
    if differ:
        raise StoreError(
            f"{store} holds other genome factors: {'; '.join(differ)}", next_step="choose another --out"
        )


def _attribute(store: Store, name: str) -> Any:
    """Read an attribute that is JSON; None if the store lacks it."""
    return read_json(store, name, store.attributes.get(name))


def _create(
    location: str, plan: FactorPlan, shared: Mapping[str, npt.NDArray[np.float32]], again: bool
) -> Store:
    attributes = {
        "kind": "factors",
        "status": UNFINISHED,
        "identity": json.dumps(plan.identity),
        "axis": json.dumps(axis_to_dict(plan.axis)),
    }

    def fill(store: Store) -> None:
        positions = plan.part.n_positions[2]
        chunks = plan.shapes(min(plan.block_positions, positions))
        for name, shape in plan.shapes(positions).items():
            store.group.create_array(
                name,
                shape=shape,
                chunks=chunks[name],
                dtype="float32",
                fill_value=np.nan,
                compressors=None,  # factors do not compress
                # Lengths differ from array to array, and xarray wants one length per name.
                dimension_names=(
                    "position",
                    *(f"{part}_{name}" for part in ("inner", "factor")[3 - len(shape) :]),
                ),
            )
        for name, values in shared.items():
            array = store.group.create_array(
                f"{SHARED}/{name}",
                shape=values.shape,
                chunks=values.shape,
                dtype="float32",
                fill_value=np.nan,
                dimension_names=[f"{name}_{i}" for i in range(values.ndim)],
            )
            array[...] = values

    return make_store(location, attributes, (1, plan.n_blocks), fill, again=again)


def factor_store(place: Store | str | Path) -> Store:
    """Open a store of genome factors, whatever its state.

    Raises
    ------
    StoreError
        If it is no factor store.
    """
    store = open_store(place)
    if store.kind != "factors":
        raise StoreError(
            f"{place} holds no genome factors",
            got=f"kind {store.kind!r}",
            expected="a store that `epixs fit-genome` wrote",
        )
    return store


@dataclass(frozen=True)
class FactorStatus:
    """State of a factor store: its plan, `"unfinished"` or `"complete"`, and the number of fitted blocks."""

    plan: FactorPlan
    status: str
    done: int


def factor_status(place: Store | str | Path) -> FactorStatus:
    """Read the state of a factor store, finished or not.

    Raises
    ------
    StoreError
        If it is no factor store, or damaged.
    """
    store = factor_store(place)
    done = sum(not record.is_forgotten for record in read_blocks(store).values())
    return FactorStatus(read_factor_plan(store), COMPLETE if store.is_complete else UNFINISHED, done)


class SavedIdentity(TypedDict):
    """Fields of a factor store's attribute `identity` that do not follow from its axis."""

    model: str
    sizes: tuple[FactorSize, FactorSize, FactorSize]
    block_positions: Annotated[int, Meta(ge=1)]
    settings: dict[str, Any]


def read_factor_plan(store: Store) -> FactorPlan:
    """Read the plan of a factor store, and check all of it.

    Raises
    ------
    StoreError
        If it is damaged.
    """
    with reading(factor_store(store)):
        content = _attribute(store, "identity")
        identity: SavedIdentity = checked(SavedIdentity, content, f"{store} is damaged: identity", StoreError)
        problem = f"{store} is damaged: axis"
        axis = axis_from_dict(_attribute(store, "axis"), problem, StoreError, whole=False)
        plan = FactorPlan(
            axis, identity["model"], identity["sizes"], identity["block_positions"], identity["settings"]
        )
        if len(axis.parts) != 1 or plan.n_blocks > MAX_BLOCKS or plan.identity != content:
            raise ValueError("its attributes contradict each other")
        for name, wanted in plan.shapes(plan.part.n_positions[2]).items():
            if store.array(name).shape != wanted or store.array(name).dtype != np.float32:
                raise ValueError(f"{name} has shape {store.array(name).shape}, not {wanted}")
    return plan


def read_shared(store: Store, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, npt.NDArray[np.float32]]:
    """Read the weights that all blocks share, and check their shapes.

    Raises
    ------
    StoreError
        If one is missing or of another shape.
    """
    weights = {}
    with reading(store):
        for name, shape in shapes.items():
            array = store.array(f"{SHARED}/{name}")
            if array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}, not {shape}")
            weights[name] = np.asarray(array[...], dtype=np.float32)
    return weights


def write_factors(
    store: Store, plan: FactorPlan, block: int, tables: tuple[npt.NDArray[np.float32], ...]
) -> str:
    """Write a block's factors, given by 25 bp, 250 bp and 5 kbp position; return their checksum."""
    first, stop = plan.span(block)
    window = plan.part.window(first, stop)
    coarse, medium, fine = _inner_indices(window)
    padded = {name: np.full(shape, np.nan, np.float32) for name, shape in plan.shapes(stop - first).items()}
    small, middle, large = (padded[name] for name in ARRAYS)
    small[coarse, fine] = tables[0][: coarse.size]
    middle[coarse, medium] = tables[1][window.positions(np.arange(coarse.size))[:, 1]]
    large[:] = tables[2][: stop - first]
    for name, values in padded.items():
        store.array(name)[first:stop] = values
    return checksum(np.concatenate([values.ravel() for values in padded.values()]))


def _inner_indices(
    part: SpeciesAxis, start: int = 0, stop: int | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the 5 kbp position of bins `[start, stop)`, and their 250 bp and 25 bp position within it."""
    bins = np.arange(start, part.n_positions[0] if stop is None else stop)
    region = np.searchsorted(part.regions.first_bin, bins, side="right") - 1
    fine = (bins - part.regions.first_bin[region]) % COARSE_BINS
    return part.positions(bins)[:, 2].astype(np.int64), fine // MEDIUM_BINS, fine


def block_fingerprint(plan: FactorPlan, block: int, content: str) -> str:
    """Digest everything that a block's factors depend on; `content` is the digest of its signal."""
    return digest([plan.fingerprint, block, content])


class BlockScores(TypedDict):
    """The ledger's row for a block: summed squared error and number of its held-out entries, and the loss."""

    squares: float
    held_out: float
    loss: float


def read_blocks(store: Store) -> dict[Key, Record]:
    """Read the ledger of a factor store: one record per block, whose only row holds its scores.

    Raises
    ------
    StoreError
        If a record is damaged.
    """
    records = read_ledger(store, BlockScores)
    if any(len(record.rows) != 1 for record in records.values()):
        raise StoreError(f"{store}: its ledger is damaged", next_step="fit the factors again")
    return records


def scores_of(records: Mapping[Key, Record]) -> dict[str, float]:
    """Compute `held_out_mse` and `loss` over all blocks."""
    rows = [record.rows[0] for record in records.values()]
    sums = {name: sum(float(row[name]) for row in rows) for name in ("squares", "held_out", "loss")}
    return {
        "held_out_mse": sums["squares"] / sums["held_out"] if sums["held_out"] else float("nan"),
        "loss": sums["loss"] / len(rows),
    }


@dataclass(frozen=True)
class FactorStore:
    """A finished factor store, opened; its fingerprint covers everything that its blocks were fitted to."""

    store: Store
    plan: FactorPlan
    fingerprint: str

    @property
    def path(self) -> str:
        """Location of the store."""
        return self.store.location

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Read the factors of bins `[start, stop)`, the three scales side by side: `(bin, sum of sizes)`.

        Raises
        ------
        StoreError
            If a block is missing or damaged.
        """
        coarse, medium, fine = _inner_indices(self.plan.part, start, stop)
        low, high = int(coarse[0]), int(coarse[-1]) + 1
        with reading(self.store, "cannot be read"):
            small, middle, large = (np.asarray(self.store.array(name)[low:high]) for name in ARRAYS)
        at = coarse - low
        values = np.concatenate([small[at, fine], middle[at, medium], large[at]], axis=1)
        if np.isnan(values).any():
            raise StoreError(
                f"{self.store} lacks factors of bins {start:,} to {stop:,}",
                next_step="run `epixs fit-genome` again: it resumes where it stopped",
            )
        return values


def open_factors(place: Store | str | Path) -> FactorStore:
    """Open a finished factor store.

    Raises
    ------
    StoreError
        If it is no factor store, damaged or unfinished.
    """
    store = factor_store(place)
    if not store.is_complete:
        raise StoreError(
            f"{place} is unfinished",
            got=f"status {store.attributes.get('status')!r}",
            expected="'complete'",
            next_step="run `epixs fit-genome` again: it resumes where it stopped",
        )
    plan = read_factor_plan(store)
    blocks = [record.fingerprint for _, record in sorted(read_blocks(store).items())]
    return FactorStore(store, plan, digest([plan.fingerprint, blocks]))
