"""An opened store (its location, Zarr group and attributes), and the life cycle of all stores.

A store is opened once and passed on. Every store is made empty and unfinished. It is filled tile by tile,
with a record in the ledger for each, and marked complete when every tile has one.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import MemoryStore

from epixs.declared import parsed, shortened
from epixs.errors import StoreError
from epixs.storage.location import (
    absolute,
    delete_objects,
    get_object,
    has_object,
    is_store_fault,
    is_url,
    list_objects,
    object_names,
    put_object,
    reaching,
    unreachable,
    zarr_store,
)
from epixs.storage.version import epixs_version

SCHEMA_VERSION = "1"
"""Version of the layout of all stores."""

LEDGER_PATH = "ledger/record"

UNFINISHED, COMPLETE = "unfinished", "complete"
"""Values of the attribute `status`."""

ROOT = "zarr.json"
"""Object with a store's attributes, by which a store is recognised."""

CREATING = "creating"
"""Attribute of a store whose creation has not ended; it holds no values yet."""


@dataclass(frozen=True)
class Store:
    """An opened store.

    Parameters
    ----------
    location
        Absolute path or URL.
    group
        The Zarr group, open for reading and writing.
    attributes
        Its attributes as they were when it was opened.
    """

    location: str
    group: Any
    attributes: Mapping[str, Any]

    def __str__(self) -> str:
        return self.location

    @property
    def kind(self) -> str:
        """Kind of content: `"observed"` or `"imputed"` tracks, or genome `"factors"`."""
        return str(self.attributes.get("kind"))

    @property
    def is_complete(self) -> bool:
        """Whether every tile was written when the store was opened."""
        return self.attributes.get("status") == COMPLETE

    def array(self, name: str) -> Any:
        """Open an array of the store, as it is now."""
        return self.group[name]

    def has(self, key: str) -> bool:
        """Tell whether the store holds an object."""
        return has_object(self.location, key)

    def put(self, key: str, parts: Iterable[bytes]) -> None:
        """Write one object of the store, given in parts, completely or not at all."""
        put_object(self.location, key, parts)

    def get(self, key: str) -> bytes | None:
        """Read one object of the store whole; None if it does not exist."""
        return get_object(self.location, key)

    def listed(self, folder: str) -> dict[str, str]:
        """List all objects in a folder of the store, each with a tag that changes if it is written again."""
        return list_objects(self.location, folder)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete those of some objects of the store that exist."""
        delete_objects(self.location, keys)

    def refreshed(self) -> Store:
        """Open the store again, as it is now."""
        return _opened(self.location, self.group.store)

    def with_attributes(self, changes: Mapping[str, Any], without: str = "") -> Store:
        """Change some attributes and remove one, in one write; returns the store with the new attributes."""
        held = {name: v for name, v in {**dict(self.group.attrs), **changes}.items() if name != without}
        self.group.attrs.put(held)
        return replace(self, attributes=dict(held))


def open_store(place: Store | str | Path) -> Store:
    """Open a store of any kind that epixs wrote; an opened store is returned as it is.

    Raises
    ------
    StoreError
        If there is none, or if another program or another version wrote it.
    """
    if isinstance(place, Store):
        return place
    location = absolute(place)
    with reaching(location):
        _check_is_folder(location, str(place))
        return _opened(location, zarr_store(location))


def _opened(location: str, zarr_store: Any) -> Store:
    try:
        # Consolidated metadata may be out of date, if a run was killed before consolidating again.
        group = zarr.open_group(zarr_store, mode="r+", zarr_format=3, use_consolidated=False)
    except Exception as error:  # zarr raises many types if it is not a group
        if is_store_fault(error):
            raise
        raise StoreError(
            f"{location} is no store",
            got="nothing that Zarr can read",
            expected="a store that epixs wrote, or a model folder",
        ) from error
    attributes = dict(group.attrs)
    if attributes.get("epixs_schema") is None:
        raise StoreError(
            f"{location} is a Zarr store that epixs did not write",
            got=f"attributes {sorted(attributes)[:6]}",
            expected="the attribute epixs_schema",
            next_step="choose another path; epixs never overwrites it",
        )
    if attributes["epixs_schema"] != SCHEMA_VERSION:
        raise StoreError(
            f"{location} has another schema version",
            got=attributes["epixs_schema"],
            expected=SCHEMA_VERSION,
            next_step="make it again with this version of epixs",
        )
    return Store(location, group, attributes)


def _check_is_folder(location: str, name: str) -> None:
    """Check that a path is a folder; else say what it is instead of a store."""
    if is_url(location):
        return
    path = Path(location)
    if not path.exists():
        raise StoreError(
            f"store {name} does not exist", next_step="make one with `epixs ingest` or `epixs impute`"
        )
    if not path.is_dir():
        raise StoreError(f"{name} is a file, not a Zarr group", expected="a store that epixs wrote")
    if (path / "model.json").is_file():
        raise StoreError(f"{name} is a model, not a Zarr group", expected="a store that epixs wrote")


@contextlib.contextmanager
def reading(store: Store, problem: str = "is damaged", next_step: str | None = None) -> Iterator[None]:
    """Turn the many types of errors that Zarr and its codecs raise for damage into one.

    Raises
    ------
    StoreError
        If the store is damaged or cannot be reached.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        if is_store_fault(error):
            raise unreachable(store.location, error) from error
        raise StoreError(
            f"{store} {problem}", got=f"{type(error).__name__}: {error}", next_step=next_step
        ) from error


def read_json(store: Store | str, name: str, value: Any) -> Any:
    """Parse an attribute that holds JSON as text; stores of earlier versions hold it already parsed.

    Raises
    ------
    StoreError
        If it is not JSON.
    """
    is_text = isinstance(value, str)
    return parsed(Any, value, f"{store} is damaged: attribute {name}", StoreError) if is_text else value


def store_exists(location: str) -> bool:
    """Tell whether there is a Zarr group at an absolute path or URL, or nothing yet.

    Raises
    ------
    StoreError
        If there is something else, which must not be overwritten.
    """
    if has_object(location, ROOT):
        return True
    if not is_url(location) and Path(location).is_file():
        raise StoreError(f"{location} is a file", expected="a store, or nothing yet")
    # zarr leaves such a file if its very first write is interrupted
    if not all(re.fullmatch(r"zarr\.[0-9a-f]{32}\.partial", name) for name in object_names(location)):
        raise StoreError(
            f"{location} is not empty and not a Zarr group",
            next_step="choose another --out; epixs never overwrites what it did not write",
        )
    return False


def make_store(
    location: str,
    attributes: Mapping[str, Any],
    grid: tuple[int, int],
    fill: Callable[[Store], None],
    *,
    again: bool = False,
) -> Store:
    """Make an unfinished store at an absolute path or URL; `fill` adds its arrays.

    It is made in memory first, because Zarr makes several requests per object; then it is written, one object
    after another. `again` replaces a store of ours whose creation was interrupted; nothing else is ever
    overwritten.
    """
    versions = {"epixs_schema": SCHEMA_VERSION, "epixs_version": epixs_version()}
    begun = {**versions, **attributes, CREATING: True}
    made: dict[str, Any] = {}
    group = zarr.create_group(MemoryStore(made), zarr_format=3, attributes=begun)
    root = made[ROOT].to_bytes()
    fill(Store(location, group, dict(begun)))
    group.create_array(
        LEDGER_PATH,
        shape=grid,
        chunks=(1, 1),
        dtype="string",
        fill_value="",
        dimension_names=("row_group", "bin_range"),
    )
    Store(location, group, dict(begun)).with_attributes({}, without=CREATING)
    consolidate(group.store)
    if again:
        delete_objects(location, list(list_objects(location, "")))
    elif not is_url(location):
        Path(location).mkdir(parents=True, exist_ok=True)
    put_object(location, ROOT, [root])
    for key, value in made.items():
        if key != ROOT:
            put_object(location, key, [value.to_bytes()])
    put_object(location, ROOT, [made[ROOT].to_bytes()])
    return _opened(location, zarr_store(location))


def consolidate(zarr_store: Any) -> None:
    """Put the metadata of all arrays into one object, which xarray reads."""
    with warnings.catch_warnings():
        # zarr warns that consolidated metadata is not yet in the v3 specification; xarray reads it.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(zarr_store)


def find_or_make(location: str, check: Callable[[Store], object], make: Callable[[bool], Store]) -> Store:
    """Open the store that exists, or make it.

    `check` raises an error if the existing store was made from something else. `make(True)` replaces a store
    whose creation was interrupted.
    """
    if not store_exists(location):
        return make(False)
    store = open_store(location)
    check(store)
    return make(True) if CREATING in store.attributes else store


def check_ledger(store: Store, grid: tuple[int, int]) -> None:
    """Check that the ledger has a place for each tile.

    Raises
    ------
    StoreError
        If it is missing or has another shape; then nobody knows which tiles are written.
    """
    try:
        shape = store.array(LEDGER_PATH).shape
    except Exception as error:  # zarr raises many types
        if is_store_fault(error):
            raise
        shape = type(error).__name__
    if shape != grid:
        raise StoreError(
            f"{store}: its ledger is missing or damaged",
            got=shape,
            expected=f"shape {grid}",
            next_step=f"bring {LEDGER_PATH} back from a copy, or make the store again elsewhere",
        )


def differences(
    settings: Mapping[str, Any],
    stored: Any,
    in_words: Mapping[str, Callable[[], list[str]]] | None = None,
) -> list[str]:
    """List the settings in which a plan and a store differ, with both values; `in_words` details some.

    The store's own settings (`stored`) are a claim, and may be damaged.
    """
    if not isinstance(stored, dict):
        return ["settings that it no longer holds"]
    texts = []
    for name, value in settings.items():
        other = stored.get(name)
        if value == other:
            continue
        if in_words and name in in_words:
            texts += in_words[name]()
        elif isinstance(value, dict) and isinstance(other, dict):
            texts += [f"{name}: {text}" for text in differences(value, other)]
        else:
            texts.append(f"{name} {shortened(value)}, the store has {shortened(other)}")
    return texts
