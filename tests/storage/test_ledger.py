import itertools
import json

import numpy as np
import pytest

from epixs.compendium.create import create_store
from epixs.compendium.summary import row_statistics
from epixs.errors import StoreError
from epixs.storage import store as storing
from epixs.storage.fingerprint import checksum
from epixs.storage.ledger import (
    COMPACTED,
    Record,
    compact,
    forget_records,
    read_ledger,
    read_progress,
    write_record,
)
from epixs.storage.store import LEDGER_PATH, make_store, open_store
from tests.compendium.test_plan import plan_of

GOOD = row_statistics(np.array([0.0, 2.0], dtype=np.float32), bases=50, covered=30)
TILE = (0, 0)


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "a.zarr", plan_of(3, 100))


def test_a_new_store_has_no_records(store):
    assert read_ledger(store) == {}


def test_records_round_trip(store):
    record = Record("finger", [GOOD, {"error": "x is empty"}])
    write_record(store, TILE, record)
    assert read_ledger(store) == {(0, 0): record}
    assert record.is_remarkable


@pytest.mark.parametrize(
    "text",
    [
        '{"fingerprint": 1',
        "5",
        "[" * 50_000,
        '{"fingerprint": 1, "rows": []}',
        '{"fingerprint": "a", "rows": {}}',
        '{"fingerprint": "a", "rows": [5]}',
        '{"fingerprint": "a", "rows": [{}]}',
        '{"fingerprint": "a", "rows": [{"error": 5}]}',
        *(
            json.dumps({"fingerprint": "a", "rows": [GOOD | change]})
            for change in (
                {"bins": "2"}, {"bins": -1}, {"zeros": 1 << 70}, {"sum": None}, {"sum": float("nan")},
                {"min": "0"}, {"max": float("inf")}, {"checksum": 5}, {"source": ["a"]}, {"bases": 1.5},
                {"notes": {"absent": "x"}}, {"notes": {"renamed": 1}},
            )
        ),
    ],
)  # fmt: skip
def test_damaged_record_is_an_error(store, text):
    store.array(LEDGER_PATH)[0, 0] = text
    with pytest.raises(StoreError, match="record 0/0 is damaged"):
        read_ledger(store)


def test_checksum_sees_every_value_and_missing_ones():
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert checksum(values) == checksum(values.copy(order="F"))
    changed = values.copy()
    changed[2, 3] = np.nan
    assert checksum(values) != checksum(changed)


def test_row_statistics_leave_missing_bins_out():
    row = row_statistics(np.array([0.0, np.nan, 2.0], dtype=np.float32), bases=75, covered=30)
    assert row.pop("checksum") == checksum(np.array([0.0, np.nan, 2.0], dtype=np.float32))
    assert row == {"bins": 2, "sum": 2.0, "min": 0.0, "max": 2.0, "zeros": 1, "bases": 75, "covered": 30}
    assert row_statistics(np.full(3, np.nan, dtype=np.float32), 75, 0)["bins"] == 0


GRID = (3, 4)
RECORDS = {
    (group, span): Record(f"{group}{span}", [GOOD, {"error": "is empty"} if span == 2 else GOOD])
    for group in range(3)
    for span in range(4)
}


def ledger_of(place):
    """Make a store with a record for each tile, each in an object of its own."""
    store = make_store(place, {"kind": "observed", "status": "unfinished"}, GRID, lambda store: None)
    for key, record in RECORDS.items():
        write_record(store, key, record)
    return store


def alone(store):
    return sorted(store.listed(f"{LEDGER_PATH}/c"))


def test_records_that_were_moved_together_read_as_before(tmp_path):
    store = ledger_of(str(tmp_path / "a.zarr"))
    compact(store, few=12)
    assert len(alone(store)) == 12  # so few may stay
    compact(store, few=0)
    assert alone(store) == []
    assert list(read_ledger(store)) == sorted(RECORDS)
    assert read_ledger(store) == RECORDS
    assert read_progress(store) == (12, {key: record for key, record in RECORDS.items() if key[1] == 2})


def test_moving_records_to_s3_and_reading_them_there(s3):
    store = ledger_of("s3://tracks/a.zarr")
    compact(store, few=0)
    assert alone(store) == []
    write_record(store, (0, 1), Record("new", [GOOD]))
    assert read_ledger(open_store("s3://tracks/a.zarr")) == RECORDS | {(0, 1): Record("new", [GOOD])}


def test_what_is_written_anew_counts_and_is_moved_in_place_of_the_old(tmp_path):
    store = ledger_of(str(tmp_path / "a.zarr"))
    compact(store, few=0)
    write_record(store, (1, 1), Record("new", [GOOD]))
    forget_records(store, {(2, 3)})
    expected = RECORDS | {(1, 1): Record("new", [GOOD]), (2, 3): Record("", RECORDS[2, 3].rows)}
    assert read_ledger(store) == expected
    compact(store, few=0)
    assert alone(store) == []
    assert read_ledger(store) == expected
    assert read_progress(store)[0] == 11


def test_a_run_moves_only_records_of_its_own_tiles(tmp_path):
    store = ledger_of(str(tmp_path / "a.zarr"))
    compact(store, mine={(0, 0), (0, 1)}, few=0)
    assert len(alone(store)) == 10
    assert read_ledger(store) == RECORDS


def test_a_record_that_is_written_while_it_is_moved_stays(tmp_path, monkeypatch):
    store = ledger_of(str(tmp_path / "a.zarr"))
    real = storing.put_object

    def put_and_write(location, key, parts):
        real(location, key, parts)
        if key == COMPACTED:
            write_record(store, (1, 2), Record("another", [GOOD]))

    monkeypatch.setattr(storing, "put_object", put_and_write)
    compact(store, few=0)
    assert alone(store) == ["1/2"]
    assert read_ledger(store) == RECORDS | {(1, 2): Record("another", [GOOD])}


class Killed(Exception):
    pass


def dying(real, steps, last):
    """Wrap a function to die instead of write number `last`; a deletion may also die half done."""

    def call(*arguments):
        if next(steps) == last:
            raise Killed
        if real.__name__ == "delete_objects" and next(steps) == last:
            real(arguments[0], arguments[1][:1])  # one of them, and no more
            raise Killed
        real(*arguments)

    return call


@pytest.mark.parametrize("where", ["local", "s3"])
@pytest.mark.parametrize("again", [False, True])
def test_killed_at_any_write_every_record_is_there(tmp_path, s3, monkeypatch, where, again):
    """Die before and after each write and delete; the next run completes the work."""
    for last in itertools.count():
        store = ledger_of(str(tmp_path / f"{last}.zarr") if where == "local" else f"s3://tracks/{last}.zarr")
        if again:
            compact(store, few=0)
            for key in [(0, 0), (1, 1)]:
                write_record(store, key, RECORDS[key])
        steps = itertools.count()
        with monkeypatch.context() as patch:
            for name in ("put_object", "delete_objects"):
                patch.setattr(storing, name, dying(getattr(storing, name), steps, last))
            try:
                compact(store, few=0)
            except Killed:
                killed = True
            else:
                killed = False
        assert read_ledger(open_store(store.location)) == RECORDS
        compact(store, few=0)
        assert alone(store) == []
        assert read_ledger(store) == RECORDS
        if not killed:
            break
    assert last >= 3


def test_a_lost_or_damaged_object_of_many_records_is_an_error(tmp_path):
    store = ledger_of(str(tmp_path / "a.zarr"))
    compact(store, few=0)
    path = tmp_path / "a.zarr" / COMPACTED
    content = path.read_bytes()
    for damaged in (content[:-1], content[1:], content[:40] + b"?" + content[41:], content + b"12"):
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match="ledger"):
            read_ledger(store)
    path.unlink()
    with pytest.raises(StoreError, match="its ledger is missing or damaged"):
        read_ledger(store)
