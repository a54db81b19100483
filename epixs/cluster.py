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
    with (
        # Spawned, never forked: TensorFlow and zarr start threads that a fork would lose.
        dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}),
        LocalCluster(
            n_workers=workers or os.cpu_count() or 1,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        # Ctrl-C reaches all processes of a terminal; only this one has to say something about it.
        client.run(_ignore_interrupts)
        yield client


def _ignore_interrupts() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
