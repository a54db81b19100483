"""The one loop of all that is written tile by tile: what the ledger lacks is done, recorded and reported."""

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
        """Whether a ledger record is that of this task."""
        ...


Pending = TypeVar("Pending", bound=Resumable)


def unwritten(tasks: Iterable[Pending], records: Mapping[Key, Record]) -> list[Pending]:
    """Tasks that a ledger lacks, or has from something else."""
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
    """Do the tasks that are pending, each followed by its record in the ledger. Safe to stop and to repeat.

    Parameters
    ----------
    store
        The store that is written.
    work
        Writes the tiles of some tasks and yields the record of each. It and the tasks travel to workers.
    pending, total
        What to do; and how many tasks there are with those that are done.
    client
        A `distributed.Client`, or a `concurrent.futures.ThreadPoolExecutor`; without one, in this process.
    progress
        Called at the beginning and after each task.
    at_once
        How many neighbours in a row group one worker does in turn at most.
    mine
        Tiles that no other run writes meanwhile; None for all of the store.

    Raises
    ------
    ClusterError
        If workers or the scheduler stop. What was written is kept.
    """
    done = total - len(pending)
    if progress:
        progress(Progress(done, total))
    groups = task_groups(pending, n_threads(client), at_once)
    # Closed here: whatever ends the run, nobody writes any more when it gives its lock back.
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
    """Move records together; where they cannot be, they stay, and whoever reads them says what is wrong."""
    with contextlib.suppress(StoreError), setting_up(store.location):
        ledger.compact(store, mine, ledger.FEW)


def _do_and_record(
    work: Callable[[Store, Sequence[Any]], Iterator[Record]], place: Store | str, tasks: Sequence[Any]
) -> int:
    """Do tasks and record each; returns how many they were."""
    store = open_store(place)
    for task, record in zip(tasks, work(store, tasks), strict=True):
        write_record(store, task.key, record)
    return len(tasks)
