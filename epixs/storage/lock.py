"""Allow one writer per store: a lock beside the store names its holder and does not outlive a crash.

Two runs on one store would both write correct tiles, but would do all work twice and finish it twice. The
lock is a file or object `STORE.lock` with host, process and start. Its holder touches it every half minute.
Another run may take it over when the holder's process is gone (same host, same process namespace) or after
ten minutes without a touch (elsewhere). A run touches or removes only a lock with its own text. So a run that
was paused until another one took over does not remove the other's lock.
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

from epixs.errors import StoreError
from epixs.storage.location import is_url, objects

TOUCHED_EVERY = 30.0
"""Seconds between two touches of a lock file by its holder."""

STALE_AFTER = 600.0
"""Seconds without a touch after which a lock counts as left behind."""

SETUP_SECONDS = 300.0
"""Seconds to wait at most for the lock of the shared metadata."""

MAX_LOCK_BYTES = 4096

_HELD: set[str] = set()
"""Names of the locks that this process holds. Any other lock that names it is left from a failed removal."""

WHOLE, SETUP = "lock", "setup.lock"


class Lock(Protocol):
    """A small file or object that only one of many processes can create."""

    name: str

    def create(self, text: str) -> bool:
        """Create it; False if it exists already."""
        ...

    def read(self) -> tuple[str, float] | None:
        """Return its text and the seconds since it was touched; None if it does not exist."""
        ...

    def take_over(self, text: str) -> bool:
        """Replace the lock that `read` saw; False if another process was faster."""
        ...

    def touch(self, text: str) -> None:
        """Renew its time, if it still has this text."""
        ...

    def remove(self, text: str) -> None:
        """Remove it, if it still has this text."""
        ...


@contextlib.contextmanager
def writing(store: str | Path, part: tuple[int, int] | None = None) -> Iterator[None]:
    """Hold a store's lock.

    Parameters
    ----------
    store
        A local path or a URL.
    part
        `(i, n)` for one of several runs that share the work. It excludes runs of the whole store and a second
        run of the same part, but not the other parts.

    Raises
    ------
    StoreError
        If another run holds it; the message names that run.
    """
    with _held(store, _lock(store, _ending(part) if part else WHOLE)):
        # After taking the lock: if a whole run and a part start together, at least one sees the other.
        for ending in [WHOLE, *_other_shares(store, part)] if part else _parts_held(store):
            _refuse_if_held(store, _lock(store, ending))
        yield


def is_alone(store: str | Path, part: tuple[int, int]) -> bool:
    """Tell whether no other part of a run is at work; while `setting_up` is held, none can begin."""
    try:
        for ending in set(_parts_held(store)) - {_ending(part)}:
            _refuse_if_held(store, _lock(store, ending))
    except StoreError:
        return False
    return True


@contextlib.contextmanager
def setting_up(store: str | Path) -> Iterator[None]:
    """Wait until no other part of a run changes a store's shared metadata, and keep other parts from it."""
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
    """Take a lock, touch it regularly while it is held, and remove it."""
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
        with contextlib.suppress(Exception):  # in an unreachable store, the lock stays without a holder
            lock.remove(text)


def _holder() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "process_started": _process_start(os.getpid()),
        "namespace": _namespace(),
        "token": uuid.uuid4().hex,
        "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _refuse_if_held(store: str | Path, lock: Lock) -> None:
    """Raise an error if another run holds a lock; a lock without a living holder may be taken over."""
    content = lock.read()
    if content is None:
        return
    text, age = content
    try:
        holder = json.loads(text)
    except (ValueError, RecursionError):
        holder = {}  # written incompletely, or not ours: its age decides
    if not isinstance(holder, dict):
        holder = {}
    place = (socket.gethostname(), _namespace())
    if (holder.get("host"), holder.get("namespace")) == place and type(holder.get("process")) is int:
        start = _process_start(holder["process"])
        if start is None:  # no such process, or a process of another user that /proc hides
            held = _exists(holder["process"]) and age < STALE_AFTER
        else:
            held = start == holder.get("process_started")
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
    """Return one name for all spellings of a store: without a slash at the end and without symbolic links."""
    return str(store).rstrip("/") if is_url(str(store)) else os.path.realpath(store)


def _parts_held(store: str | Path) -> list[str]:
    """List the endings of all existing locks of parts of a store."""
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


def _other_shares(store: str | Path, part: tuple[int, int]) -> list[str]:
    """List the locks of parts of another division, with another `n`: their tiles overlap with this part's."""
    return [ending for ending in _parts_held(store) if not ending.endswith(f"-of-{part[1]}.lock")]


class _FileLock:
    """A lock file, created with O_EXCL; its age is told by the clock of its file system."""

    def __init__(self, path: str) -> None:
        self.name = os.path.abspath(path)
        self._path = Path(self.name)
        self._seen = ""

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
            file = os.open(self.name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # opening a pipe would wait
        except FileNotFoundError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return "", 0.0  # not ours: its owner has to remove it
            self._seen = os.read(file, MAX_LOCK_BYTES).decode(errors="replace")
            return self._seen, self._age()
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
        return self._take_away(self._seen) and self.create(text)

    def touch(self, text: str) -> None:
        if self._is(self._path, text):
            os.utime(self._path)

    def remove(self, text: str) -> None:
        if self._is(self._path, text):
            self._take_away(text)

    def _take_away(self, text: str) -> bool:
        """Rename the lock, which only one process can do, and delete it; put back one with another text."""
        aside = self._beside()
        try:
            self._path.rename(aside)
        except FileNotFoundError:
            return True
        is_same = self._is(aside, text)
        if not is_same:
            with contextlib.suppress(FileExistsError):
                os.link(aside, self._path)
        aside.unlink()
        return is_same

    def _is(self, path: Path, text: str) -> bool:
        try:
            return path.read_bytes()[:MAX_LOCK_BYTES].decode(errors="replace") == text
        except OSError:
            return False


class _ObjectLock:
    """A lock object, created and replaced by conditional puts; its age is told by this machine's clock."""

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
            answer = obstore.get(self._objects, self._key)
        except FileNotFoundError:
            return None
        self._seen = str(answer.meta["e_tag"])
        age = datetime.datetime.now(datetime.UTC) - answer.meta["last_modified"]
        text = bytes(answer.bytes())[:MAX_LOCK_BYTES].decode(errors="replace")
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

        content = self.read()
        if content is not None and content[0] == text:
            obstore.put(self._objects, self._key, text.encode(), mode={"e_tag": self._seen})

    def remove(self, text: str) -> None:
        import obstore

        content = self.read()
        if content is not None and content[0] == text:
            with contextlib.suppress(FileNotFoundError):
                obstore.delete(self._objects, self._key)


def _process_start(process: int) -> str | None:
    """Return a local process's start time in the kernel's clock ticks; None if there is no such process."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[19]


def _namespace() -> str:
    """Identify this machine's boot and process namespace, within which process numbers are unique."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _exists(process: int) -> bool:
    """Tell whether there is a process of this number, of any user."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
