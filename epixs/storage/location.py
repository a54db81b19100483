"""Locations of stores and files: on this machine, or in an object store (`s3://`, `gs://`, `az://`)."""

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
    """Tell whether a path is a URL rather than a local path."""
    return re.match(r"^[a-z][a-z0-9+.\-]*://", path) is not None


def shown(text: str) -> str:
    """Remove passwords and queries (signatures) from the URLs in a text, so that messages may show it."""
    text = re.sub(r"(://)[^/@\s\"']*@", r"\1", text)
    return re.sub(r"(://[^?\s\"']*)\?[^\s\"')]*", r"\1?...", text)


def cloud_options() -> dict[str, Any]:
    """Return time limits and retries for obstore; it takes keys, region and endpoint from the environment."""
    return {
        "client_options": {
            "timeout": timedelta(seconds=REQUEST_SECONDS),
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "allow_http": os.environ.get("AWS_ALLOW_HTTP", "") == "true",
        },
        "retry_config": {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
    }


LEFTOVERS = re.compile(r".+(\.partial|#\d+)")
"""Names of files that interrupted writes of Zarr and of obstore leave behind."""


def absolute(path: str | Path) -> str:
    """Make a path absolute, because Dask workers may have another working directory; URLs do not change."""
    return str(path) if is_url(str(path)) else os.path.abspath(path)


def is_store_fault(error: BaseException) -> bool:
    """Tell whether an error comes from obstore (an object store, or a disk) after all retries."""
    return type(error).__module__.startswith("obstore")


@contextlib.contextmanager
def reaching(location: str) -> Iterator[None]:
    """Turn errors of an object store (after all retries) into an error that says what to do.

    Raises
    ------
    StoreError
        For any failure of the object store, in this process or in a worker.
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
    """Make the error for a location that an object store, or a disk, failed to read or write."""
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
    """Return the obstore store of a folder or URL; it is cached, because it holds the connections.

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
    """Return the argument with which zarr and xarray open a folder (Zarr's own store) or a URL (obstore)."""
    return ObjectStore(objects(location)) if is_url(location) else location


def has_object(location: str, key: str) -> bool:
    """Tell whether a folder or URL holds an object, for instance `"zarr.json"`."""
    try:
        obstore.head(objects(location), key)
    except FileNotFoundError:
        return False
    return True


def put_object(location: str, key: str, parts: Iterable[bytes]) -> None:
    """Write one object, given in parts, completely or not at all."""
    if not is_url(location):
        _refuse_to_leave(Path(location), Path(location) / key)
    obstore.put(objects(location), key, iter(parts), use_multipart=False)


def get_object(location: str, key: str) -> bytes | None:
    """Read one object whole; None if it does not exist."""
    try:
        return bytes(obstore.get(objects(location), key).bytes())
    except FileNotFoundError:
        return None


def list_objects(location: str, prefix: str) -> dict[str, str]:
    """List all objects in a folder of a store, each with a tag that changes when it is written again."""
    pages: Any = obstore.list(objects(location), prefix=prefix)
    return {
        str(entry["path"]).removeprefix(f"{prefix}/"): f"{entry['e_tag']} {entry['last_modified']}"
        for page in pages
        for entry in page
    }


def delete_objects(location: str, keys: Sequence[str]) -> None:
    """Delete those of some objects that exist."""
    if not is_url(location):
        for folder in {(Path(location) / key).parent for key in keys}:
            _refuse_to_leave(Path(location), folder / "any")
    with contextlib.suppress(FileNotFoundError):
        obstore.delete(objects(location), list(keys))


def object_names(location: str, most: int = 10) -> list[str]:
    """List a few of the objects anywhere under a folder or URL; none if the folder does not exist."""
    try:
        page: Any = next(iter(obstore.list(objects(location), chunk_size=most)), [])
    except FileNotFoundError:
        return []
    return [str(entry["path"]) for entry in page]


def sweep(location: str) -> None:
    """Delete the files that interrupted writes have left in a local store."""
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
            next_step="remove the symbolic link",
        )
