"""The interface of local and remote files whose bytes can be read in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

AGAIN = "run the same command again; what was read before is kept"

Range = tuple[int, int]
"""Range of bytes: the first one, and the one after the last."""


class Source(Protocol):
    """A file whose bytes can be read in any order."""

    name: str
    size: int
    is_remote: bool

    def read(self, offset: int, length: int) -> bytes:
        """Read the bytes `[offset, offset + length)`, which must lie inside the file."""
        ...

    def prefetch(self, ranges: Sequence[Range]) -> None:
        """Announce the ranges that will be read, so that they can be fetched together."""
        ...

    def release(self) -> None:
        """Free the bytes fetched; more may be read later."""
        ...

    def state(self) -> list[Any]:
        """Return the present name, size and version; they change if the file is replaced."""
        ...

    def close(self) -> None:
        """Close the file and free the bytes fetched."""
        ...
