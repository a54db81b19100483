"""Kernels compiled by numba, without Python's lock, and kept on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(**options: Any) -> Callable[[Any], Any]:
    """A decorator: `numba.njit(nogil=True, cache=True)`, and options of its own.

    Where neither the package's folder nor the user's can be written to, as in containers that run under any
    user's number, numba refuses to cache at all; then each process compiles for itself.
    """

    def decorate(function: Any) -> Any:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # "cannot cache function ...: no locator available"
            return numba.njit(nogil=True, **options)(function)

    return decorate
