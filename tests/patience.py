"""Waiting for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 600.0
"""Seconds after which a test takes something for hung: ten times what any of it takes on two busy cores."""

BETWEEN_LOOKS = 0.02


def wait_until(condition: Callable[[], object]) -> bool:
    """Wait until a condition holds; False if it did not within `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(BETWEEN_LOOKS)
    return True
