"""Keep tracks in memory: all, or random stretches of the genome that are exchanged during training."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from epixs.sampling.windows import Windows, bytes_per_bin

STRETCH_BINS = 16_384
EPOCHS_PER_POOL = 4
"""Number of epochs that are drawn from the same stretches: reading others takes a while."""

POOLS_AT_ONCE = 4
"""Number of pools in memory: the first (for held-out entries), the current, the previous and the next one."""

Spans = list[tuple[int, int]]


def choose_spans(bins: int, tracks: int, halo: int, memory_bytes: int, key: tuple[int, ...]) -> Spans:
    """Choose stretches of one species' bins that fit into `memory_bytes`, at least one; `key` is the seed."""
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
        Function that reads the windows of all species for a pool number: each pool has its own, always the
        same.
    changing
        Whether pools differ; if not, the first one is always used.
    """

    def __init__(self, read: Callable[[int], list[Windows]], *, changing: bool) -> None:
        self.first, self._read = read(0), read
        self._pools: dict[int, Future[list[Windows]]] = {}
        self._lock = threading.Lock()
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="epixs-stretches") if changing else None

    def of_epoch(self, epoch: int) -> list[Windows]:
        """Return the windows of all species in an epoch, and read those of the next pool meanwhile."""
        if self._ahead is None:
            return self.first
        pool = epoch // EPOCHS_PER_POOL
        with self._lock:
            for number in (pool, pool + 1):
                if number and number not in self._pools:
                    self._pools[number] = self._ahead.submit(self._read, number)
            for old in [number for number in self._pools if number < pool - 1]:
                del self._pools[old]
            future = self._pools.get(pool)
        return future.result() if future else self.first

    def close(self) -> None:
        """Stop reading."""
        if self._ahead is not None:
            self._ahead.shutdown(wait=True, cancel_futures=True)


def share_of_memory(sizes: npt.NDArray[np.int64], memory_bytes: int) -> list[int]:
    """Divide the memory of a pool between species, in proportion to the sizes of their whole tracks."""
    return [int(memory_bytes / POOLS_AT_ONCE * size / max(1, sizes.sum())) for size in sizes]
