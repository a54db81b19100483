"""Open a Dask client: of an embedded LocalCluster, or of a running scheduler."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from epixs.errors import ConfigError

Span = TypeVar("Span")
Result = TypeVar("Result")

CONNECT_SECONDS = 20

GARBAGE_THRESHOLD = 50_000
"""Number of new objects of a worker between two garbage collections. Python's default is 700; tiles leave no
cyclic garbage."""

WORKER_SETTINGS = {
    # By default, Dask samples a worker's work a hundred times per second, and its event loop fifty times.
    # Nobody reads that.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "2s",
    "distributed.worker.memory.monitor-interval": "1s",
    # Workers are spawned, never forked: TensorFlow and zarr start threads that a fork would lose.
    "distributed.worker.multiprocessing-method": "spawn",
    # Dask makes glibc return every freed array to the system at once. Each new array then needs new pages,
    # which doubles the time of reading tiles. Keeping up to 256 MB is cheaper.
    "distributed.nanny.pre-spawn-environ": {
        "MALLOC_TRIM_THRESHOLD_": 1 << 28,
        "MALLOC_MMAP_THRESHOLD_": 1 << 25,
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # the memory kept is in large pages
        "OMP_NUM_THREADS": 1,
        "TF_CPP_MIN_LOG_LEVEL": 3,
    },
}


@contextlib.contextmanager
def open_client(workers: int | None = None, scheduler: str | None = None) -> Iterator[Any]:
    """Connect to a scheduler, or start workers on this machine and stop them at the end.

    Parameters
    ----------
    workers
        Number of worker processes of an embedded LocalCluster; by default one per core.
    scheduler
        Address of a running scheduler to use instead, for instance `"tcp://10.0.0.1:8786"`.

    Raises
    ------
    ConfigError
        If both are given, or no scheduler answers at the address.
    """
    import dask
    from distributed import Client, LocalCluster

    if workers is not None and scheduler is not None:
        raise ConfigError("--workers and --scheduler", got="both", expected="one of them")
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=CONNECT_SECONDS)
        except (OSError, ValueError, TimeoutError) as error:
            raise ConfigError(
                f"no Dask scheduler answers at {scheduler}",
                got=type(error).__name__,
                expected="the address that `dask scheduler` prints",
            ) from error
        with client:
            yield client
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(WORKER_SETTINGS))
        with _postponing_interrupts():
            cluster = LocalCluster(
                n_workers=workers or os.cpu_count() or 1,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )
            stack.enter_context(cluster)
            client = stack.enter_context(Client(cluster))
            client.run(_settle)
        yield client


@contextlib.contextmanager
def _postponing_interrupts() -> Iterator[None]:
    """Block Ctrl-C while workers start (a second or two), and in the workers for good.

    The signal reaches all processes of a terminal, but only this one should react. New processes inherit
    blocked signals; this process unblocks it at the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    resource_tracker.ensure_running()  # starting it later would unblock the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _settle() -> None:
    """Prepare a worker of an embedded LocalCluster: fewer garbage collections, no logs."""
    gc.set_threshold(GARBAGE_THRESHOLD)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)


def take_one_thread() -> None:
    """Limit TensorFlow to one thread in a worker, because other workers use the other cores."""
    if in_worker():
        import tensorflow as tf

        with contextlib.suppress(RuntimeError):  # TensorFlow has started already
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(1)


def in_worker() -> bool:
    """Tell whether this thread runs a task of a Dask worker."""
    with contextlib.suppress(ImportError, ValueError):
        from distributed import get_worker

        get_worker()
        return True
    return False


_computing: list[object] = []
"""One entry for each computation of this process that shares the cores now."""

os.register_at_fork(after_in_child=_computing.clear)


@contextlib.contextmanager
def free_threads() -> Iterator[int]:
    """Give a computation its number of threads: one in a worker, else its share of the cores when it begins.

    Computations that run at the same time, as blocks of Dask do, share the cores.
    """
    entry = object()
    _computing.append(entry)
    try:
        yield 1 if in_worker() else max(1, cores() // len(_computing))
    finally:
        _computing.remove(entry)


def on_free_threads(
    compute: Callable[[Span], Result], divide: Callable[[int], Sequence[Span]]
) -> list[Result]:
    """Compute pieces on the free threads; `divide` gives the pieces for a number of threads."""
    with free_threads() as threads:
        spans = divide(threads)
        if min(threads, len(spans)) <= 1:
            return [compute(span) for span in spans]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(compute, spans))


def cores() -> int:
    """Count the cores that this process may use; on macOS, which does not tell, all cores."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
