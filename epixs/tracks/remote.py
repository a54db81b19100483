"""Read byte ranges of a remote file (http, https, s3, gs, az).

obstore retries with back-off after 429, 5xx, resets and short reads, and refuses servers that ignore ranges.
This module checks that every range has the version and size seen first. A file that is replaced while it is
read is therefore an error, not a mixture of two files.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.store import HTTPStore, from_url

from epixs.errors import TrackError
from epixs.storage.location import cloud_options, shown
from epixs.tracks.protocol import AGAIN, Range

PAGE_BYTES = 1 << 16
"""Size of the pages in which single remote reads (header, chromosomes, index) are fetched."""

COALESCE_BYTES = 1 << 14
"""Maximum gap in bytes between ranges that are fetched in one request."""

MAX_REQUEST_BYTES = 1 << 23

WINDOW_BYTES = 1 << 25
"""Number of bytes that are fetched ahead at a time."""

MAX_KEPT_BYTES = 2 * WINDOW_BYTES
"""Maximum memory per file, in bytes, for ranges fetched ahead and pages of the index."""

REQUESTS_AT_ONCE = 8


class RemoteFile:
    """A remote file, read by byte range.

    Raises
    ------
    TrackError
        If it does not answer or does not serve ranges.
    """

    def __init__(self, url: str) -> None:
        self.name, self._url = shown(url), url
        self.is_remote = True
        self.requests = self.bytes_moved = 0
        self._lock = threading.Lock()
        self._store, self._path = _object(url)
        self._starts: list[int] = []
        self._parts: dict[int, bytes] = {}
        self._kept_bytes = 0
        self._ahead: list[Range] = []
        self.size, self.version = -1, ""
        first = self._get(0, PAGE_BYTES)
        self._keep(0, first)

    def read(self, offset: int, length: int) -> bytes:
        """Read the bytes `[offset, offset + length)`."""
        data = self._kept(offset, length)
        if data is None and self._fetch_ahead(offset, length):
            data = self._kept(offset, length)
        if data is not None:
            return data
        if length >= PAGE_BYTES:
            return self._get(offset, offset + length)
        low = offset // PAGE_BYTES * PAGE_BYTES
        high = min(self.size, -(-(offset + length) // PAGE_BYTES) * PAGE_BYTES)
        page = self._get(low, high)
        self._keep(low, page)
        return page[offset - low : offset - low + length]

    def prefetch(self, ranges: Sequence[Range]) -> None:
        """Remember the ranges that will be read; neighbours are joined, to be fetched a few at a time."""
        self._ahead = coalesce(ranges)

    def _fetch_ahead(self, offset: int, length: int) -> bool:
        """Fetch the announced range of a read, and those after it; return False if none was announced."""
        at = bisect.bisect_right(self._ahead, (offset, self.size)) - 1
        stop, reached, total = at, offset, 0
        while 0 <= stop < len(self._ahead) and (reached < offset + length or total < WINDOW_BYTES):
            low, high = self._ahead[stop]
            if low > reached and reached < offset + length:
                return False
            stop, reached, total = stop + 1, high, total + high - low
        if reached < offset + length:
            return False
        requests = self._ahead[at:stop]
        self._forget_parts()
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            parts = list(pool.map(lambda pair: self._get(*pair), requests))
        for (low, _), part in zip(requests, parts, strict=True):
            self._keep(low, part)
        return True

    def state(self) -> list[Any]:
        """Return the name, and the size and ETag (or modification time) that every range came with."""
        return [self._url, self.size, self.version]

    def release(self) -> None:
        """Free the bytes fetched; more may be read later."""
        self._ahead = []
        self._forget_parts()

    def _forget_parts(self) -> None:
        self._parts.clear()
        self._starts.clear()
        self._kept_bytes = 0

    def close(self) -> None:
        """Free the bytes fetched."""
        self.release()

    def _keep(self, offset: int, data: bytes) -> None:
        if self._kept_bytes + len(data) > MAX_KEPT_BYTES:
            self._forget_parts()
        before = self._parts.get(offset)
        if before is None:
            bisect.insort(self._starts, offset)
        if before is None or len(data) > len(before):
            self._parts[offset] = data
            self._kept_bytes += len(data) - len(before or b"")

    def _kept(self, offset: int, length: int) -> bytes | None:
        end, pieces = offset + length, []
        while offset < end:
            at = bisect.bisect_right(self._starts, offset) - 1
            for start in self._starts[max(0, at - 1) : at + 1]:
                part = self._parts[start]
                if offset < start + len(part):
                    pieces.append(part[offset - start : end - start])
                    offset = start + len(part)
                    break
            else:
                return None
        return b"".join(pieces)

    def _get(self, low: int, high: int) -> bytes:
        try:
            result = obstore.get(self._store, self._path, options={"range": (low, high)})
            meta = result.meta
            data = bytes(result.bytes())
        except Exception as error:  # obstore raises many types
            raise unreachable(self.name, error) from error
        version = meta["e_tag"] or str(meta["last_modified"])
        with self._lock:
            self.requests += 1
            self.bytes_moved += len(data)
            if self.size < 0:
                self.size, self.version = int(meta["size"]), version
        if (self.size, self.version) != (meta["size"], version):
            raise TrackError(
                f"{self.name} changed while it was read",
                got=f"{meta['size']} bytes, version {version}",
                expected=f"{self.size} bytes, version {self.version}",
                next_step=AGAIN,
            )
        if len(data) != min(high, self.size) - low:
            raise TrackError(
                f"{self.name} sends less than it says",
                got=f"{len(data)} bytes",
                expected=f"{min(high, self.size) - low} bytes",
                next_step=AGAIN,
            )
        return data


def coalesce(ranges: Iterable[Range]) -> list[Range]:
    """Sort ranges and join those that touch or nearly touch, up to `MAX_REQUEST_BYTES`."""
    joined: list[Range] = []
    for low, high in sorted(pair for pair in ranges if pair[0] < pair[1]):
        if (
            joined
            and low - joined[-1][1] <= COALESCE_BYTES
            and max(high, joined[-1][1]) - joined[-1][0] <= MAX_REQUEST_BYTES
        ):
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return joined


def _object(url: str) -> tuple[Any, str]:
    """Return the obstore store of a URL, and the path in it."""
    options = cloud_options()
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https"):
            # One store per object: the URL stays as it is written, with its query.
            options["client_options"]["allow_http"] = parts.scheme == "http"
            return HTTPStore.from_url(url, **options), ""
        if parts.scheme in ("s3", "gs", "az"):
            return from_url(f"{parts.scheme}://{parts.netloc}", **options), parts.path.lstrip("/")
    except Exception as error:  # obstore raises many types
        raise unreachable(url, error) from error
    raise TrackError(f"{url} cannot be read", got=parts.scheme, expected="a file, http(s), s3, gs or az")


def unreachable(url: str, error: Exception) -> TrackError:
    """Make the error for a file that cannot be reached, without the secrets of its URL."""
    reason = shown(str(error).split("\n")[0])
    return TrackError(
        f"{shown(url)} cannot be read", got=f"{type(error).__name__}: {reason}", next_step=AGAIN
    )
