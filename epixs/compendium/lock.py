"""One writer a store: a lock beside it, which names its holder and outlives no crash.

Two runs on one store would both be right, tile by tile, but would do all work twice and finish it twice. The
lock is a file or object `STORE.lock` with host, process and start; its holder touches it every half minute.
It is taken over when its process is gone (same host) or after ten minutes without a touch (another host).
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
import stat
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from epixs.compendium.location import objects
from epixs.errors import StoreError
from epixs.sources import is_url

TOUCHED_EVERY = 30.0
STALE_AFTER = 600.0
SETUP_SECONDS = 300.0
"""Seconds."""

MAX_LOCK_BYTES = 4096
_HELD: set[str] = set()
"""Locks that this process holds. Another one that names it was left when it could not be removed."""

WHOLE, SETUP = "lock", "setup.lock"


class Lock(Protocol):
    """A small file that only one of many can create."""

    name: str

    def create(self, text: str) -> bool:
        """Create it; False if it is there already."""
        ...

    def read(self) -> tuple[str, float] | None:
        """Its text and the seconds since it was touched; None if it is not there."""
        ...

    def take_over(self, text: str) -> bool:
        """Replace what `read` saw; False if somebody else was faster."""
        ...

    def touch(self, text: str) -> None:
        """Show that its holder lives."""
        ...

    def remove(self) -> None:
        """Give it back."""
        ...


@contextlib.contextmanager
def writing(store: str | Path, part: tuple[int, int] | None = None) -> Iterator[None]:
    """Hold a store's lock.

    Parameters
    ----------
    store
        A local path or a URL.
    part
        `(i, n)` for one of several runs that share the work: it excludes runs of the whole store and a second
        run of the same part, not the other parts.

    Raises
    ------
    StoreError
        Naming the run that holds it.
    """
    with _held(store, _lock(store, _ending(part) if part else WHOLE)):
        # Only now: of a whole run and a part that start together, at least one sees the other.
        for ending in [WHOLE] if part else _parts_held(store):
            _refuse_if_held(store, _lock(store, ending))
        yield


@contextlib.contextmanager
def setting_up(store: str | Path) -> Iterator[None]:
    """Wait for the other parts of a run to be out of a store's shared metadata, and keep them out of it."""
    deadline = time.monotonic() + SETUP_SECONDS
    while True:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(_held(store, _lock(store, SETUP)))
            except StoreError:
                if time.monotonic() > deadline:
                    raise
            else:
                yield
                return
        time.sleep(0.1)


@contextlib.contextmanager
def _held(store: str | Path, lock: Lock) -> Iterator[None]:
    """Take a lock, touch it while it is held, and give it back."""
    text = json.dumps(_holder())
    if not lock.create(text):
        _refuse_if_held(store, lock)
        if not (lock.take_over(text) or lock.create(text)):
            _refuse(store, lock, {})
    _HELD.add(lock.name)
    stop = threading.Event()
    keeper = threading.Thread(target=_keep, args=(lock, text, stop), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()
        _HELD.discard(lock.name)
        with contextlib.suppress(Exception):  # a store that cannot be reached keeps a lock that nobody holds
            lock.remove()


def _holder() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "process_started": _process_start(os.getpid()),
        "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _refuse_if_held(store: str | Path, lock: Lock) -> None:
    """Refuse where somebody holds a lock; one that nobody holds any more may be taken over."""
    found = lock.read()
    if found is None:
        return
    text, age = found
    try:
        holder = json.loads(text)
    except (ValueError, RecursionError):
        holder = {}  # cut short while it was written, or not ours: its age decides
    if not isinstance(holder, dict):
        holder = {}
    if holder.get("host") == socket.gethostname() and type(holder.get("process")) is int:
        start = _process_start(holder["process"])
        held = start is not None and start == holder.get("process_started")
        held = held and (holder["process"] != os.getpid() or lock.name in _HELD)
    else:
        held = age < STALE_AFTER
    if held:
        _refuse(store, lock, holder)


def _refuse(store: str | Path, lock: Lock, holder: dict[str, Any]) -> None:
    process, host, since = (holder.get(name, "?") for name in ("process", "host", "since"))
    raise StoreError(
        f"{store} is being written by another run",
        got=f"process {process} on {host} since {since}",
        expected="one writer at a time",
        next_step=f"wait for it; if it no longer exists, delete {lock.name}",
    )


def _keep(lock: Lock, text: str, stop: threading.Event) -> None:
    while not stop.wait(TOUCHED_EVERY):
        with contextlib.suppress(Exception):  # the next time may succeed
            lock.touch(text)


def _ending(part: tuple[int, int]) -> str:
    return f"{part[0]}-of-{part[1]}.lock"


def _lock(store: str | Path, ending: str) -> Lock:
    name = _one_name(store)
    return _ObjectLock(f"{name}.{ending}") if is_url(name) else _FileLock(f"{name}.{ending}")


def _one_name(store: str | Path) -> str:
    """The same name for all spellings of a store: without a slash at the end, and without symbolic links."""
    return str(store).rstrip("/") if is_url(str(store)) else os.path.realpath(store)


def _parts_held(store: str | Path) -> list[str]:
    """Endings of the locks of all parts of a store that there are."""
    if is_url(str(store)):
        import obstore

        folder, _, name = _one_name(store).rpartition("/")
        listed = obstore.list_with_delimiter(objects(folder))["objects"]
        names = [str(entry["path"]).rpartition("/")[2] for entry in listed]
    else:
        path = Path(_one_name(store))
        name = path.name
        names = [entry.name for entry in os.scandir(path.parent)] if path.parent.is_dir() else []
    return [
        other.removeprefix(f"{name}.")
        for other in names
        if other.startswith(f"{name}.") and other.endswith(".lock") and "-of-" in other
    ]


class _FileLock:
    """A lock file; created with O_EXCL, its age told by the clock of the file system it lies on."""

    def __init__(self, path: str) -> None:
        self.name = os.path.abspath(path)
        self._path = Path(self.name)

    def create(self, text: str) -> bool:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            return False
        return True

    def read(self) -> tuple[str, float] | None:
        try:
            file = os.open(self.name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait
        except FileNotFoundError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return "", 0.0  # whoever put it there has to take it away
            return os.read(file, MAX_LOCK_BYTES).decode(errors="replace"), self._age()
        finally:
            os.close(file)

    def _age(self) -> float:
        probe = self._beside()
        try:
            probe.touch()
            return probe.stat().st_mtime - self._path.stat().st_mtime
        except OSError:
            return 0.0
        finally:
            probe.unlink(missing_ok=True)

    def _beside(self) -> Path:
        return self._path.with_name(f"{self._path.name}.{uuid.uuid4().hex}")

    def take_over(self, text: str) -> bool:
        aside = self._beside()
        with contextlib.suppress(FileNotFoundError):  # whoever renames it takes it over
            self._path.rename(aside)
            aside.unlink()
        return self.create(text)

    def touch(self, text: str) -> None:
        os.utime(self._path)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


class _ObjectLock:
    """A lock object; created and replaced with conditional puts, its age told by this machine's clock."""

    def __init__(self, url: str) -> None:
        folder, _, self._key = url.rpartition("/")
        self.name, self._objects = url, objects(folder)
        self._seen = ""

    def create(self, text: str) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        try:
            obstore.put(self._objects, self._key, text.encode(), mode="create")
        except AlreadyExistsError:
            return False
        return True

    def read(self) -> tuple[str, float] | None:
        import obstore

        try:
            found = obstore.get(self._objects, self._key)
        except FileNotFoundError:
            return None
        self._seen = str(found.meta["e_tag"])
        age = datetime.datetime.now(datetime.UTC) - found.meta["last_modified"]
        text = bytes(found.bytes())[:MAX_LOCK_BYTES].decode(errors="replace")
        return text, age.total_seconds()

    def take_over(self, text: str) -> bool:
        import obstore
        from obstore.exceptions import PreconditionError

        try:
            obstore.put(self._objects, self._key, text.encode(), mode={"e_tag": self._seen})
        except (PreconditionError, FileNotFoundError):
            return False
        return True

    def touch(self, text: str) -> None:
        import obstore

        obstore.put(self._objects, self._key, text.encode())

    def remove(self) -> None:
        import obstore

        with contextlib.suppress(FileNotFoundError):
            obstore.delete(self._objects, self._key)


def _process_start(process: int) -> str | None:
    """When a process of this machine started, in the kernel's own count; None if there is none."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[19]
