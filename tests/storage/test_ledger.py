import json

import numpy as np
import pytest

from epixs.compendium.create import create_store
from epixs.compendium.summary import row_statistics
from epixs.errors import StoreError
from epixs.storage.fingerprint import checksum
from epixs.storage.ledger import Record, read_ledger, write_record
from epixs.storage.store import LEDGER_PATH
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
    assert record.has_errors


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
