"""Tracks in memory: all of them, or random stretches of the genome that are exchanged as training goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from epixs.sampling.windows import Windows, bytes_per_bin

STRETCH_BINS = 8_192
EPOCHS_PER_POOL = 4
"""Epochs that are drawn from the same stretches: reading others takes a while."""

POOLS_AT_ONCE = 4
"""The first, for what is held out, the one that is trained on, the one before and the next one."""

Spans = list[tuple[int, int]]


def choose_spans(bins: int, tracks: int, halo: int, memory_bytes: int, key: tuple[int, ...]) -> Spans:
    """Choose stretches of one species' bins that fit into some memory, at least one; `key` decides which."""
    count = -(-bins // STRETCH_BINS)
    each = bytes_per_bin(tracks) * (STRETCH_BINS + 2 * halo)
    most = max(1, memory_bytes // max(1, each))
    if most >= count:
        return [(0, bins)]
    chosen = np.sort(np.random.Generator(np.random.PCG64([0x57, *key])).permutation(count)[:most])
    return [(int(n) * STRETCH_BINS, min(bins, (int(n) + 1) * STRETCH_BINS)) for n in chosen]


class Stretches:
    """Windows of all species, by epoch.

    Parameters
    ----------
    read
        Reads the windows of all species of one pool; each has others, and the same pool always the same.
    changing
        Whether pools differ: else the first one is used for ever.
    """

    def __init__(self, read: Callable[[int], list[Windows]], *, changing: bool) -> None:
        self.first, self._read = read(0), read
        self._pools: dict[int, Future[list[Windows]]] = {}
        self._lock = threading.Lock()
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="epixs-stretches") if changing else None

    def of_epoch(self, epoch: int) -> list[Windows]:
        """Windows of all species in an epoch; those of the next pool are read meanwhile."""
        if self._ahead is None:
            return self.first
        pool = epoch // EPOCHS_PER_POOL
        with self._lock:
            for number in (pool, pool + 1):
                if number and number not in self._pools:
                    self._pools[number] = self._ahead.submit(self._read, number)
            for old in [number for number in self._pools if number < pool - 1]:
                del self._pools[old]
            found = self._pools.get(pool)
        return found.result() if found else self.first

    def close(self) -> None:
        """Read no more."""
        if self._ahead is not None:
            self._ahead.shutdown(wait=True, cancel_futures=True)


def share_of_memory(sizes: npt.NDArray[np.int64], memory_bytes: int) -> list[int]:
    """Memory of each species, in proportion to what its tracks would take as wholes."""
    return [int(memory_bytes / POOLS_AT_ONCE * size / max(1, sizes.sum())) for size in sizes]
