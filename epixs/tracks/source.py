"""Open the bytes of a bigWig: a local file, or byte ranges of a remote one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from epixs.errors import TrackError
from epixs.storage.location import is_url
from epixs.tracks.protocol import AGAIN, Range, Source
from epixs.tracks.remote import REQUESTS_AT_ONCE, RemoteFile


def open_source(path: str | Path) -> Source:
    """Open a local file or a URL.

    Raises
    ------
    TrackError
        If it does not exist or cannot be read.
    """
    return RemoteFile(str(path)) if is_url(str(path)) else LocalFile(Path(path))


def source_state(path: str) -> list[Any]:
    """Return path, size and version (modification time or ETag) of a file; they change if it is replaced.

    Size and version are -1 if the file cannot be reached.
    """
    if is_url(path):
        try:
            remote = RemoteFile(path)
        except TrackError:
            return [path, -1, -1]
        return remote.state()
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # a name with a NUL is a ValueError
        return [path, -1, -1]
    return [path, status.st_size, status.st_mtime_ns]


def source_states(paths: Iterable[str]) -> list[list[Any]]:
    """Return the `source_state` of many paths; remote ones are asked a few at a time."""
    paths = list(paths)
    if not any(is_url(path) for path in paths):
        return [source_state(path) for path in paths]
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        return list(pool.map(source_state, paths))


class LocalFile:
    """A regular local file; pipes and devices are refused, because they might never end."""

    is_remote = False

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        try:
            status = os.stat(path)
        except FileNotFoundError:
            raise TrackError(
                f"{path} does not exist", next_step="correct the catalog's path column"
            ) from None
        except (OSError, ValueError) as error:
            raise TrackError(f"{path} cannot be opened: {error}") from error
        if not stat.S_ISREG(status.st_mode):
            raise TrackError(f"{path} cannot be opened", got="a folder or device", expected="a file")
        if not os.access(path, os.R_OK):
            raise TrackError(
                f"{path} cannot be opened", got="no permission to read it", expected="a readable file"
            )
        self.size = status.st_size
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise TrackError(f"{path} cannot be opened: {error}") from error

    def read(self, offset: int, length: int) -> bytes:
        """Read the bytes `[offset, offset + length)`; fewer if the file has become shorter."""
        try:
            self._file.seek(offset)
            return self._file.read(length)
        except OSError as error:
            raise TrackError(f"{self.name} cannot be read: {error}", next_step=AGAIN) from error

    def prefetch(self, ranges: Sequence[Range]) -> None:
        """Do nothing: the operating system reads ahead by itself."""

    def release(self) -> None:
        """Do nothing: nothing was fetched."""

    def state(self) -> list[Any]:
        """Return name, size and modification time of the open file, even if another has taken its name."""
        status = os.fstat(self._file.fileno())
        return [self.name, status.st_size, status.st_mtime_ns]

    def close(self) -> None:
        """Close the file."""
        self._file.close()
