"""Compile kernels with numba: they run without Python's lock and are cached on disk where possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(**options: Any) -> Callable[[Any], Any]:
    """Return the decorator `numba.njit(nogil=True, cache=True)`, with further options.

    If neither the package's folder nor the user's is writable, as in containers that run under an arbitrary
    user id, numba refuses to cache; then each process compiles for itself.
    """

    def decorate(function: Any) -> Any:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # "cannot cache function ...: no locator available"
            return numba.njit(nogil=True, **options)(function)

    return decorate
