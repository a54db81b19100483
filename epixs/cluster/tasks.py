"""Run many small tasks, a bounded number at a time: in this process, on its threads or on a Dask client."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from epixs.errors import ClusterError
from epixs.storage.store import Store
from epixs.storage.tiling import Key


@dataclass(frozen=True)
class Progress:
    """Progress of a run over a store: numbers of tiles done and of all tiles."""

    tiles_done: int
    tiles: int


IN_FLIGHT_PER_WORKER = 4

AGAIN = "run the same command again: what was written is kept"

Result = TypeVar("Result")

GROUPS_PER_THREAD = 4
"""Minimum number of groups of tasks per thread, if there are enough tasks."""


class OfTile(Protocol):
    """A task that belongs to one tile of a store."""

    @property
    def key(self) -> Key:
        """The tile's place in the ledger."""
        ...


Task = TypeVar("Task", bound=OfTile)


def n_threads(client: Any) -> int:
    """Return the number of tasks that a client runs at a time; 1 without a client."""
    if client is None:
        return 1
    if isinstance(client, ThreadPoolExecutor):
        return os.cpu_count() or 1
    return max(1, sum(map(int, client.nthreads().values())))


def task_groups(tasks: Sequence[Task], threads: int, at_once: int) -> list[tuple[Task, ...]]:
    """Group tasks that one worker runs in turn: at most `at_once` neighbours of one row group."""
    most = min(at_once, max(1, len(tasks) // (GROUPS_PER_THREAD * threads)))
    groups = []
    for _, neighbours in itertools.groupby(tasks, key=lambda task: task.key[0]):
        waiting = iter(neighbours)
        while group := tuple(itertools.islice(waiting, most)):
            groups.append(group)
    return groups


def run_tasks(
    function: Callable[[Any, Any], Result], store: Store | str, tasks: Sequence[Any], client: Any
) -> Generator[Result, None, None]:
    """Call `function(store, task)` for each task; yields results as they finish.

    Without a `client`, tasks run in this process; with a `ThreadPoolExecutor`, on its threads; with a
    `distributed.Client`, on its workers, each of which opens the store by its location. The number of tasks
    in flight is bounded, so that the scheduler never holds all tasks of a large run.
    """
    if client is None:
        for task in tasks:
            yield function(store, task)
    elif isinstance(client, ThreadPoolExecutor):
        yield from _run_on_threads(functools.partial(function, store), tasks, client)
    else:
        yield from _run_on_workers(functools.partial(function, str(store)), tasks, client)


def _run_on_threads(
    function: Callable[[Any], Result], tasks: Sequence[Any], threads: ThreadPoolExecutor
) -> Generator[Result, None, None]:
    waiting = iter(tasks)
    running: set[Future[Result]] = set()
    try:
        while True:
            free = IN_FLIGHT_PER_WORKER * n_threads(threads) - len(running)
            running |= {threads.submit(function, task) for task in itertools.islice(waiting, free)}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        wait([future for future in running if not future.cancel()])


def _run_on_workers(
    function: Callable[[Any], Result], tasks: Sequence[Any], client: Any
) -> Generator[Result, None, None]:
    from distributed import as_completed
    from distributed.client import FutureCancelledError
    from distributed.comm.core import CommClosedError
    from distributed.scheduler import KilledWorker

    waiting = iter(tasks)
    first = [
        client.submit(function, task, pure=False)
        for task in itertools.islice(waiting, IN_FLIGHT_PER_WORKER * n_threads(client))
    ]
    futures = as_completed(first)
    try:
        for future in futures:
            yield future.result()
            future.release()
            for task in waiting:
                futures.add(client.submit(function, task, pure=False))
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
