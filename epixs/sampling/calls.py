"""Count the calls that run in other threads, and wait for their end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from epixs.errors import TrainingError


class Calls:
    """Admits calls until it is closed, and counts those that are running."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._open = True

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Run one call.

        Raises
        ------
        TrainingError
            If no more calls are admitted.
        """
        with self._changed:
            if not self._open:
                raise TrainingError("the sampler is closed", next_step="make a new one")
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def refuse(self) -> None:
        """Admit no more calls."""
        with self._changed:
            self._open = False

    def wait(self) -> None:
        """Wait until no call is running."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running)


class Closing:
    """Base class of samplers that can be closed; `_end` waits for batches being drawn, and refuses others."""

    _end: Callable[[], Any]

    def close(self) -> None:
        """Wait for the batches being drawn, and refuse others."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
