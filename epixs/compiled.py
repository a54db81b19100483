"""Compile kernels with numba: they run without Python's lock and are cached on disk where possible."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def compiled(*, nogil: bool = True, **options: Any) -> Callable[[Any], Any]:
    """Return the decorator `numba.njit(nogil=nogil, cache=True)`, with further options.

    Kernels that take a few microseconds should keep Python's lock (`nogil=False`): with several threads, it
    takes longer to get it back.

    If neither the package's folder nor the user's is writable, as in containers that run under an arbitrary
    user id, numba refuses to cache; then each process compiles for itself.
    """

    def decorate(function: Any) -> Any:
        try:
            dispatcher = numba.njit(nogil=nogil, cache=True, **options)(function)
        except RuntimeError:  # "cannot cache function ...: no locator available"
            return numba.njit(nogil=nogil, **options)(function)
        # A kernel holds a copy of those that it calls, but numba only asks if its own file has changed.
        file = dispatcher._cache._cache_file
        file._source_stamp = file._source_stamp, _stamps(function.__module__)
        return dispatcher

    return decorate


@functools.cache
def _stamps(module: str) -> tuple[tuple[str, int, int], ...]:
    """List name, time and size of the files whose functions and constants a module's kernels may use.

    These are the files that the module imports from its package, and, of those with kernels, in turn theirs.
    """
    root, seen, left = module.split(".")[0], {}, [module]
    while left:
        name = left.pop()
        path = getattr(sys.modules.get(name), "__file__", None)
        if name in seen or path is None:
            continue
        state = Path(path).stat()
        seen[name] = state.st_mtime_ns, state.st_size
        text = Path(path).read_text(encoding="utf-8")
        if name == module or "@compiled(" in text or "@intrinsic" in text:
            left += re.findall(rf"^from ({root}[\w.]*) import", text, re.M)
    return tuple(sorted((name, *stamp) for name, stamp in seen.items()))
