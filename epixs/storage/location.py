"""Where a store or a file lies: on this machine, or in an object store (`s3://`, `gs://`, `az://`)."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.store import LocalStore, from_url
from zarr.storage import ObjectStore

from epixs.errors import StoreError

CONNECT_SECONDS, REQUEST_SECONDS, RETRY_SECONDS, RETRIES = 10.0, 60.0, 120.0, 6


def is_url(path: str) -> bool:
    """Whether a path is a URL rather than a file."""
    return re.match(r"^[a-z][a-z0-9+.\-]*://", path) is not None


def shown(text: str) -> str:
    """A URL, or a text with some, as messages may show it: no passwords, no queries (signatures)."""
    text = re.sub(r"(://)[^/@\s\"']*@", r"\1", text)
    return re.sub(r"(://[^?\s\"']*)\?[^\s\"')]*", r"\1?...", text)


def cloud_options() -> dict[str, Any]:
    """Time limits and retries for obstore; keys, region and endpoint it takes from the environment."""
    return {
        "client_options": {
            "timeout": timedelta(seconds=REQUEST_SECONDS),
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "allow_http": os.environ.get("AWS_ALLOW_HTTP", "") == "true",
        },
        "retry_config": {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
    }


LEFTOVERS = re.compile(r".+(\.partial|#\d+)")
"""Names of files that a write leaves when it is cut short: those of Zarr, and those of obstore."""


def absolute(path: str | Path) -> str:
    """A path that means the same in another working directory, as Dask workers may have; URLs stay."""
    return str(path) if is_url(str(path)) else os.path.abspath(path)


def is_store_fault(error: BaseException) -> bool:
    """Whether an error is what an object store answered, or a disk through obstore, after all retries."""
    return type(error).__module__.startswith("obstore")


@contextlib.contextmanager
def reaching(location: str) -> Iterator[None]:
    """Turn what an object store answers (after all retries) into an error that says what to do.

    Raises
    ------
    StoreError
        For any failure of the object store, here or in a worker.
    OSError
        For a failure of the local disk, as Python's own functions raise it.
    """
    try:
        yield
    except Exception as error:
        if is_store_fault(error):
            raise unreachable(location, error) from error
        raise


def unreachable(location: str, error: Exception) -> StoreError | OSError:
    """The error of a location that an object store, or a disk, failed to read or write."""
    reason = str(error).splitlines()[0][:200]
    if not is_url(location):
        number = re.search(r"\(os error (\d+)\)", str(error))
        return OSError(int(number[1]) if number else 0, reason, location)
    return StoreError(
        f"{location} cannot be reached",
        got=f"{type(error).__name__}: {reason}",
        next_step="run the same command again when it answers; what was written is kept",
    )


@functools.lru_cache(maxsize=64)
def objects(location: str) -> Any:
    """The obstore store of a folder or URL; kept, because it holds the connections.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    StoreError
        If the URL cannot hold a store (http).
    """
    if not is_url(location):
        if not os.path.isdir(location):
            raise FileNotFoundError(location)
        return LocalStore(location)
    if location.partition("://")[0] not in ("s3", "gs", "az"):
        raise StoreError(f"{location} cannot hold a store", expected="a folder, or s3://, gs:// or az://")
    try:
        return from_url(location, **cloud_options())
    except Exception as error:  # obstore raises many types
        raise StoreError(f"{location} cannot be opened", got=str(error).split("\n")[0]) from error


def zarr_store(location: str) -> Any:
    """What zarr and xarray open for a folder or URL; folders are left to Zarr's own store."""
    return ObjectStore(objects(location)) if is_url(location) else location


def has_object(location: str, key: str) -> bool:
    """Whether a folder or URL holds an object, for instance `"zarr.json"`."""
    try:
        obstore.head(objects(location), key)
    except FileNotFoundError:
        return False
    return True


def put_object(location: str, key: str, parts: Iterable[bytes]) -> None:
    """Write one object, given in parts, whole or not at all."""
    if not is_url(location):
        _refuse_to_leave(Path(location), Path(location) / key)
    obstore.put(objects(location), key, iter(parts), use_multipart=False)


def get_object(location: str, key: str) -> bytes | None:
    """One object, whole; None if it is not there."""
    try:
        return bytes(obstore.get(objects(location), key).bytes())
    except FileNotFoundError:
        return None


def list_objects(location: str, prefix: str) -> dict[str, str]:
    """Names of all objects in a folder of a store, each with a tag that changes when it is written again."""
    pages: Any = obstore.list(objects(location), prefix=prefix)
    return {
        str(entry["path"]).removeprefix(f"{prefix}/"): f"{entry['e_tag']} {entry['last_modified']}"
        for page in pages
        for entry in page
    }


def delete_objects(location: str, keys: Sequence[str]) -> None:
    """Delete objects, those that are there."""
    if not is_url(location):
        for folder in {(Path(location) / key).parent for key in keys}:
            _refuse_to_leave(Path(location), folder / "any")
    with contextlib.suppress(FileNotFoundError):
        obstore.delete(objects(location), list(keys))


def object_names(location: str, most: int = 10) -> list[str]:
    """A few of the names that lie anywhere under a folder or URL; none where there is no folder."""
    try:
        page: Any = next(iter(obstore.list(objects(location), chunk_size=most)), [])
    except FileNotFoundError:
        return []
    return [str(entry["path"]) for entry in page]


def sweep(location: str) -> None:
    """Delete what writes that were cut short have left in a local store."""
    if not is_url(location):
        for path in Path(location).rglob("*"):
            if LEFTOVERS.fullmatch(path.name) and path.is_file():
                path.unlink(missing_ok=True)


def _refuse_to_leave(store: Path, target: Path) -> None:
    """Refuse to write or delete through a symbolic link that leads out of a store."""
    inside, outside = os.path.realpath(store), os.path.realpath(target.parent)
    if os.path.commonpath([inside, outside]) != inside:
        raise StoreError(
            f"{target.parent} leads out of {store}",
            got=outside,
            expected=f"a folder under {inside}",
            next_step="take the symbolic link away",
        )
