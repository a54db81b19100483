"""Many small tasks: a bounded number at a time, in this process or on a Dask client."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from epixs.errors import ClusterError


@dataclass(frozen=True)
class Progress:
    """How far an ingest is: tiles and bytes done and in all."""

    tiles_done: int
    tiles: int
    bytes_done: int
    bytes: int


IN_FLIGHT_PER_WORKER = 4


AGAIN = "run the same command again: what was written is kept"


Result = TypeVar("Result")


def n_threads(client: Any) -> int:
    """How many tasks a client's workers do at a time; 1 without a client."""
    return 1 if client is None else max(1, sum(client.nthreads().values()))


def run_tasks(
    function: Callable[..., Result], path: str, tasks: Sequence[Any], client: Any
) -> Iterator[Result]:
    """Call `function(path, task)` for each task, on a client or here; results come as they finish.

    A bounded number of tasks is in flight, so that a scheduler holds no more of a large run than it works on.
    """
    if client is None:
        for task in tasks:
            yield function(path, task)
        return
    from distributed import as_completed
    from distributed.client import FutureCancelledError
    from distributed.comm.core import CommClosedError
    from distributed.scheduler import KilledWorker

    waiting = iter(tasks)
    first = [
        client.submit(function, path, task, pure=False)
        for task in itertools.islice(waiting, IN_FLIGHT_PER_WORKER * n_threads(client))
    ]
    futures = as_completed(first)
    try:
        for future in futures:
            yield future.result()
            future.release()
            for task in waiting:
                futures.add(client.submit(function, path, task, pure=False))
                break
    except KilledWorker as error:
        raise ClusterError(
            "workers died again and again over one task",
            got=str(error.last_worker),
            expected="workers with the memory that the plan shows",
            next_step=f"give them more memory or look into their logs; {AGAIN}",
        ) from error
    except (FutureCancelledError, CommClosedError) as error:
        raise ClusterError(
            "the Dask scheduler is gone", got=type(error).__name__, next_step=f"start it again; {AGAIN}"
        ) from error
    except BaseException:
        client.cancel(list(getattr(futures, "futures", [])))
        raise
