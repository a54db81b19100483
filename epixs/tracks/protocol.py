"""What a bigWig is read from: something whose bytes can be read at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

AGAIN = "run the same command again; what was read before is kept"

Range = tuple[int, int]
"""First byte, and the byte after the last."""


class Source(Protocol):
    """Something whose bytes can be read at random."""

    name: str
    size: int
    is_remote: bool

    def read(self, offset: int, length: int) -> bytes:
        """Bytes `[offset, offset + length)`, all of them inside the file."""
        ...

    def prefetch(self, ranges: Sequence[Range]) -> None:
        """Say what will be read, so that it can be fetched together."""
        ...

    def release(self) -> None:
        """Let go of what was fetched; more may be read later."""
        ...

    def state(self) -> list[Any]:
        """Name, size and version now: what tells that it was replaced."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...
