"""The Dask client that ingest runs on: a LocalCluster of our own, or a scheduler somewhere."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from epixs.errors import ConfigError

CONNECT_SECONDS = 20


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
        # Spawned, never forked: TensorFlow and zarr start threads that a fork would lose.
        stack.enter_context(dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}))
        with _ignoring_interrupts():
            cluster = LocalCluster(
                n_workers=workers or os.cpu_count() or 1,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )
            stack.enter_context(cluster)
            client = stack.enter_context(Client(cluster))
            client.run(_silence)
        yield client


@contextlib.contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C while workers start (seconds), and for good in the processes started meanwhile.

    It reaches all processes of a terminal, but only this one has something to say about it. Ignoring is the
    one disposition that new processes inherit before they can choose their own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _silence() -> None:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
