"""Run the tasks whose records the ledger lacks, record and report each: the loop that all stores share."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from epixs.cluster.tasks import OfTile, Progress, n_threads, run_tasks, task_groups
from epixs.errors import StoreError
from epixs.storage import ledger
from epixs.storage.ledger import Record, write_record
from epixs.storage.lock import setting_up
from epixs.storage.store import Store, open_store
from epixs.storage.tiling import Key


class Resumable(OfTile, Protocol):
    """A task that knows its own record."""

    def is_written(self, record: Record | None) -> bool:
        """Tell whether a ledger record is that of this task."""
        ...


Pending = TypeVar("Pending", bound=Resumable)


def unwritten(tasks: Iterable[Pending], records: Mapping[Key, Record]) -> list[Pending]:
    """Return the tasks that have no record in a ledger, or a record of something else."""
    return [task for task in tasks if not task.is_written(records.get(task.key))]


def run_pending(
    store: Store,
    work: Callable[[Store, Sequence[Any]], Iterator[Record]],
    pending: Sequence[Any],
    total: int,
    *,
    client: Any = None,
    progress: Callable[[Progress], None] | None = None,
    at_once: int = 1,
    mine: Container[Key] | None = None,
) -> None:
    """Run the pending tasks, and write each one's record into the ledger. Safe to stop and to repeat.

    Parameters
    ----------
    store
        The store to write.
    work
        Function that writes the tiles of some tasks and yields the record of each. It is sent to workers with
        the tasks.
    pending, total
        The tasks to run, and the number of all tasks, done or not.
    client
        A `distributed.Client` or a `concurrent.futures.ThreadPoolExecutor`; without one, tasks run in this
        process.
    progress
        Function called at the beginning and after each task.
    at_once
        Maximum number of neighbouring tasks of a row group that one worker runs in turn.
    mine
        Tiles that no other run writes meanwhile; None for all tiles of the store.

    Raises
    ------
    ClusterError
        If workers or the scheduler stop. What was written is kept.
    """
    done = total - len(pending)
    if progress:
        progress(Progress(done, total))
    groups = task_groups(pending, n_threads(client), at_once)
    # Closed here, so that however the run ends, no task still writes when the lock is released.
    with contextlib.closing(
        run_tasks(functools.partial(_do_and_record, work), store, groups, client)
    ) as results:
        alone = 0
        for size in results:
            for _ in range(size):
                done += 1
                if progress:
                    progress(Progress(done, total))
            alone += size
            if alone >= ledger.RUN_OF_TILES:
                _compact(store, mine)
                alone = 0
    if total > ledger.FEW:
        _compact(store, mine)


def _compact(store: Store, mine: Container[Key] | None) -> None:
    """Move records into one object; if that fails, they stay, and reading them reports the problem."""
    with contextlib.suppress(StoreError), setting_up(store.location):
        ledger.compact(store, mine, ledger.FEW)


def _do_and_record(
    work: Callable[[Store, Sequence[Any]], Iterator[Record]], place: Store | str, tasks: Sequence[Any]
) -> int:
    """Run tasks and record each; returns their number."""
    store = open_store(place)
    for task, record in zip(tasks, work(store, tasks), strict=True):
        write_record(store, task.key, record)
    return len(tasks)
