"""One writer a store: a lock file beside it, which names its holder and outlives no crash.

Two runs on one store would both be right, tile by tile, but would do all work twice and finish it twice. The
lock is a file `STORE.lock` with host, process and start; its holder touches it every half minute. It is taken
over when its process is gone (same host) or when it was not touched for ten minutes (another host).
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from epixs.errors import StoreError
from epixs.sources import is_url

TOUCHED_EVERY = 30.0
STALE_AFTER = 600.0
SETUP_SECONDS = 300.0
"""Seconds."""

MAX_LOCK_BYTES = 4096


@contextlib.contextmanager
def writing(store: str | Path, part: tuple[int, int] | None = None) -> Iterator[None]:
    """Hold a store's lock.

    Parameters
    ----------
    store
        A local path; stores elsewhere (`s3://...`) have no lock.
    part
        `(i, n)` for one of several runs that share the work: it excludes runs of the whole store and a second
        run of the same part, not the other parts.

    Raises
    ------
    StoreError
        Naming the run that holds it.
    """
    if is_url(str(store)):
        yield
        return
    lock = lock_path(store, part)
    lock.parent.mkdir(parents=True, exist_ok=True)
    others = [lock_path(store)] if part else list(lock.parent.glob(f"{_escaped(store)}.*-of-*.lock"))
    for other in others:
        _refuse_if_held(store, other)
    with _held(store, lock):
        yield


@contextlib.contextmanager
def setting_up(store: str | Path) -> Iterator[None]:
    """Wait for the other parts of a run to be out of a store's shared metadata, and keep them out of it."""
    if is_url(str(store)):
        yield
        return
    lock = lock_path(store).with_suffix(".setup.lock")
    deadline = time.monotonic() + SETUP_SECONDS
    while True:
        try:
            _create(store, lock)
        except StoreError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            break
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


@contextlib.contextmanager
def _held(store: str | Path, lock: Path) -> Iterator[None]:
    """Take a lock, touch it while it is held, and give it back."""
    _create(store, lock)
    stop = threading.Event()
    keeper = threading.Thread(target=_keep, args=(lock, stop), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()
        lock.unlink(missing_ok=True)


def lock_path(store: str | Path, part: tuple[int, int] | None = None) -> Path:
    """Where the lock of a store, or of a part of its work, lies."""
    path = Path(os.path.abspath(store))
    return path.with_name(f"{path.name}.{part[0]}-of-{part[1]}.lock" if part else f"{path.name}.lock")


def _escaped(store: str | Path) -> str:
    name = Path(os.path.abspath(store)).name
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _create(store: str | Path, lock: Path) -> None:
    holder = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "process_started": _process_start(os.getpid()),
        "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    for _ in range(2):
        try:
            with lock.open("x", encoding="utf-8") as file:
                file.write(json.dumps(holder))
            return
        except FileExistsError:
            _refuse_if_held(store, lock)
    _refuse(store, lock, {})


def _refuse_if_held(store: str | Path, lock: Path) -> None:
    """Remove a lock that nobody holds any more; refuse where somebody does."""
    try:
        with lock.open(encoding="utf-8") as file:
            holder = json.loads(file.read(MAX_LOCK_BYTES))
    except FileNotFoundError:
        return
    except (ValueError, OSError):
        holder = {}  # cut short while it was written, or not ours: its age decides
    if not isinstance(holder, dict):
        holder = {}
    if holder.get("host") == socket.gethostname() and type(holder.get("process")) is int:
        start = _process_start(holder["process"])
        held = start is not None and start == holder.get("process_started")
    else:
        held = _age(lock) < STALE_AFTER
    if held:
        _refuse(store, lock, holder)
    aside = lock.with_name(f"{lock.name}.{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):  # whoever renames it takes it over
        lock.rename(aside)
        aside.unlink()


def _refuse(store: str | Path, lock: Path, holder: dict[str, Any]) -> None:
    process, host, since = (holder.get(name, "?") for name in ("process", "host", "since"))
    raise StoreError(
        f"{store} is being written by another run",
        got=f"process {process} on {host} since {since}",
        expected="one writer at a time",
        next_step=f"wait for it; if it no longer exists, delete {lock}",
    )


def _keep(lock: Path, stop: threading.Event) -> None:
    while not stop.wait(TOUCHED_EVERY):
        with contextlib.suppress(OSError):
            os.utime(lock)


def _age(lock: Path) -> float:
    """Seconds since a lock was touched, by the clock of the file system it lies on."""
    probe = lock.with_name(f"{lock.name}.{uuid.uuid4().hex}")
    try:
        probe.touch()
        return probe.stat().st_mtime - lock.stat().st_mtime
    except OSError:
        return 0.0
    finally:
        probe.unlink(missing_ok=True)


def _process_start(process: int) -> str | None:
    """When a process of this machine started, in the kernel's own count; None if there is none."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[19]
