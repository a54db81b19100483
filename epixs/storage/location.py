"""Where a store or a file lies: on this machine, or in an object store (`s3://`, `gs://`, `az://`)."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

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


PARTIAL = ".partial"


def absolute(path: str | Path) -> str:
    """A path that means the same in another working directory, as Dask workers may have; URLs stay."""
    return str(path) if is_url(str(path)) else os.path.abspath(path)


@contextlib.contextmanager
def reaching(path: str | Path) -> Iterator[None]:
    """Turn what an object store answers (after all retries) into an error that says what to do.

    Raises
    ------
    StoreError
        For any failure of the object store, here or in a worker.
    """
    try:
        yield
    except Exception as error:
        if not is_url(str(path)) or not type(error).__module__.startswith("obstore"):
            raise
        raise StoreError(
            f"{path} cannot be reached",
            got=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}",
            next_step="run the same command again when it answers; what was written is kept",
        ) from error


def zarr_store(path: str | Path) -> Any:
    """What zarr and xarray open for a path or URL.

    Raises
    ------
    StoreError
        If the URL cannot be written to at all (http), or obstore is not installed.
    """
    if not is_url(str(path)):
        return str(path)
    from zarr.storage import ObjectStore

    return ObjectStore(objects(str(path)))


def has_object(path: str | Path, key: str) -> bool:
    """Whether a store holds an object, for instance `"zarr.json"`."""
    if not is_url(str(path)):
        return (Path(path) / key).is_file()
    import obstore

    try:
        obstore.head(objects(str(path)), key)
    except FileNotFoundError:
        return False
    return True


def put_object(path: str | Path, key: str, parts: Iterable[bytes]) -> None:
    """Write one object of a store, given in parts, whole or not at all."""
    if is_url(str(path)):
        import obstore

        obstore.put(objects(str(path)), key, b"".join(parts))
        return
    target = Path(path) / key
    _refuse_to_leave(Path(path), target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}{PARTIAL}")
    try:
        with partial.open("wb") as file:
            file.writelines(parts)
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _refuse_to_leave(store: Path, target: Path) -> None:
    """Refuse to write through a symbolic link that leads out of a store."""
    inside, outside = os.path.realpath(store), os.path.realpath(target.parent)
    if os.path.commonpath([inside, outside]) != inside:
        raise StoreError(
            f"{target.parent} leads out of {store}",
            got=outside,
            expected=f"a folder under {inside}",
            next_step="take the symbolic link away",
        )


def delete_object(path: str | Path, key: str) -> None:
    """Take one object out of a store."""
    if not is_url(str(path)):
        (Path(path) / key).unlink(missing_ok=True)
        return
    import obstore

    obstore.delete(objects(str(path)), key)


def sweep(path: str | Path) -> None:
    """Delete what writes that were cut short have left in a local store."""
    if not is_url(str(path)):
        for left in Path(path).rglob(f"*{PARTIAL}"):
            left.unlink(missing_ok=True)


def object_names(path: str | Path, most: int = 10) -> list[str]:
    """A few of the names that lie directly in a folder, or anywhere under a prefix."""
    if not is_url(str(path)):
        return [entry.name for entry, _ in zip(os.scandir(path), range(most), strict=False)]
    import obstore

    for page in obstore.list(objects(str(path)), chunk_size=most):
        return [str(entry["path"]) for entry in page]
    return []


@functools.lru_cache(maxsize=64)
def objects(url: str) -> Any:
    """The obstore store of a URL; kept, because it holds the connections."""
    try:
        from obstore.store import from_url
    except ImportError as error:
        raise StoreError(
            f"{url} is remote, which needs obstore",
            got="it is not installed",
            next_step="install it with `pip install 'epixs[cloud]'`",
        ) from error
    if url.partition("://")[0] not in ("s3", "gs", "az"):
        raise StoreError(f"{url} cannot hold a store", expected="a folder, or s3://, gs:// or az://")
    try:
        return from_url(url, **cloud_options())
    except Exception as error:  # obstore raises many types
        raise StoreError(f"{url} cannot be opened", got=str(error).split("\n")[0]) from error
