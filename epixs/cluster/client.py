"""The Dask client: a LocalCluster of our own, or a scheduler somewhere."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import Any

from epixs.errors import ConfigError

CONNECT_SECONDS = 20

GARBAGE_THRESHOLD = 50_000
"""New objects of a worker between two searches for garbage, which tiles do not leave; Python has 700."""

WORKER_SETTINGS = {
    # By default, Dask looks a hundred times a second at what a worker does, and fifty times at how its loop
    # does. Nobody asks it.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "2s",
    "distributed.worker.memory.monitor-interval": "1s",
    # Spawned, never forked: TensorFlow and zarr start threads that a fork would lose.
    "distributed.worker.multiprocessing-method": "spawn",
    # Dask has glibc give back every freed array at once, which doubles the time of reading tiles: each new
    # array then takes fresh pages. Keeping up to 256 MB costs less than that.
    "distributed.nanny.pre-spawn-environ": {
        "MALLOC_TRIM_THRESHOLD_": 1 << 28,
        "MALLOC_MMAP_THRESHOLD_": 1 << 25,
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # and what is kept, in large pages
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
        Worker processes of an embedded LocalCluster; by default one a core.
    scheduler
        Address of a running scheduler instead, for instance `"tcp://10.0.0.1:8786"`.

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
    """Hold Ctrl-C back while workers start (a second or two), and in the workers for good.

    It reaches all processes of a terminal, but only this one has something to say about it. New processes
    inherit what is blocked; here it is let through at the end.
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
    """What a worker of our own does first."""
    gc.set_threshold(GARBAGE_THRESHOLD)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)


def take_one_thread() -> None:
    """Have TensorFlow compute on one thread in a worker, which has a neighbour on each other core."""
    if in_worker():
        import tensorflow as tf

        with contextlib.suppress(RuntimeError):  # TensorFlow has started before
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(1)


def in_worker() -> bool:
    """Whether this thread works on a task of a Dask worker."""
    with contextlib.suppress(ImportError, ValueError):
        from distributed import get_worker

        get_worker()
        return True
    return False


def free_threads() -> int:
    """Threads that may compute at a time on behalf of this one: one in a worker, else one per core."""
    return 1 if in_worker() else cores()


def cores() -> int:
    """Cores that this process may use; macOS does not say, and has all of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
