"""Run the tasks that a ledger lacks, on a store of four tiles, with work that only counts."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from epixs.cluster.client import open_client
from epixs.cluster.resume import run_pending, unwritten
from epixs.storage.ledger import Record, read_ledger
from epixs.storage.store import make_store


@dataclass(frozen=True)
class Square:
    number: int

    @property
    def key(self):
        return 0, self.number

    def is_written(self, record):
        return record is not None and record.fingerprint == "square"


TASKS = [Square(number) for number in range(4)]


def square(store, tasks):
    for task in tasks:
        yield Record("square", [{"value": task.number**2}])


def square_but_three(store, tasks):
    for task in tasks:
        if task.number == 3:
            raise OSError("no three")
        yield from square(store, [task])


@pytest.fixture
def store(tmp_path):
    return make_store(str(tmp_path / "a.zarr"), {"kind": "squares", "status": "unfinished"}, (1, 4), print)


def records(store):
    return read_ledger(store, Any)


def values(store):
    return {number: record.rows[0]["value"] for (_, number), record in records(store).items()}


@pytest.mark.parametrize("where", ["here", "threads", "workers"])
@pytest.mark.parametrize("at_once", [1, 3])
def test_each_task_is_done_and_recorded_once(store, where, at_once):
    seen = []
    options = {"progress": lambda p: seen.append((p.tiles_done, p.tiles)), "at_once": at_once}
    if where == "here":
        run_pending(store, square, TASKS, 4, **options)
    elif where == "threads":
        with ThreadPoolExecutor(2) as threads:
            run_pending(store, square, TASKS, 4, client=threads, **options)
    else:
        with open_client(workers=1) as client:
            run_pending(store, square, TASKS, 4, client=client, **options)
    assert values(store) == {0: 0, 1: 1, 2: 4, 3: 9}
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("threads", [0, 2])
def test_what_was_done_before_an_error_is_recorded_and_not_done_again(store, threads):
    client = ThreadPoolExecutor(threads) if threads else None
    with pytest.raises(OSError, match="no three"):
        run_pending(store, square_but_three, TASKS, 4, client=client)
    assert values(store) == {0: 0, 1: 1, 2: 4}
    pending = unwritten(TASKS, records(store))
    assert pending == [Square(3)]
    seen = []
    run_pending(store, square, pending, 4, client=client, progress=lambda p: seen.append(p.tiles_done))
    assert seen == [3, 4]
    assert unwritten(TASKS, records(store)) == []


def test_threads_have_ended_when_a_run_is_given_up(store):
    running = set()

    def waiting(store, tasks):
        for task in tasks:
            running.add(task.number)
            assert task.number == 0 or given_up.wait(30)
            running.discard(task.number)
            yield Record("square", [])

    def give_up(progress):
        if progress.tiles_done == 1:
            given_up.set()
            raise KeyboardInterrupt

    given_up = threading.Event()
    with ThreadPoolExecutor(2) as threads, pytest.raises(KeyboardInterrupt):
        run_pending(store, waiting, TASKS, 4, client=threads, progress=give_up)
    assert running == set()


def test_records_of_something_else_are_pending(store):
    run_pending(store, square, TASKS, 4)
    held = records(store) | {(0, 1): Record("cube", [])}
    assert unwritten(TASKS, held) == [Square(1)]
