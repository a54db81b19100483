import tracemalloc

import numpy as np
import pytest

from epixs.compendium.lazy import lazy_dataset
from tests.compendium.test_plan import plan_of


@pytest.fixture
def plan():
    return plan_of(20, 600_000)


@pytest.fixture
def asked():
    """Return the block that was read: first and last row, first and last bin."""
    return []


@pytest.fixture
def read(asked):
    def read(tile):
        asked.append((tile.first_row, tile.stop_row, tile.first_bin, tile.stop_bin))
        rows = np.arange(tile.first_row, tile.stop_row, dtype=np.float32)[:, None]
        return rows * 1e6 + np.arange(tile.first_bin, tile.stop_bin, dtype=np.float32)

    return read


def test_values_are_computed_only_when_read_and_land_in_place(plan, read, asked):
    dataset = lazy_dataset(plan, read)
    assert asked == []
    assert float(dataset.signal[17, 300_000]) == 17_300_000
    assert asked == [(17, 18, 300_000, 300_001)]
    assert dataset.signal.shape == (20, 600_000)
    assert dataset.attrs["kind"] == "observed"
    assert str(dataset.biosample.to_numpy()[5]) == "biosample5"


def test_a_selection_computes_what_it_needs_and_no_more(plan, read, asked):
    signal = lazy_dataset(plan, read, bins=1000).signal
    assert signal[17:, 2_990:3_010].to_numpy()[0, 10] == 17_003_000
    spans = [(2_990, 3_000), (3_000, 3_010)]
    assert sorted(asked) == [(row, row + 1, *span) for row in (17, 18, 19) for span in spans]


@pytest.mark.parametrize(
    "index",
    [
        (slice(None, None, 5), slice(100, 2_100, 7)),
        (slice(3, 1, -1), slice(1_200, 900, -3)),
        ([1, 19, 4], slice(0, 10)),
        (2, [5, 1_500, 7]),
        (-1, -1),
    ],
)
def test_any_selection_is_that_of_the_whole(plan, read, index):
    signal = lazy_dataset(plan, read, bins=1000).signal[:, :3_000]
    whole = np.arange(20, dtype=np.float32)[:, None] * 1e6 + np.arange(3_000, dtype=np.float32)
    rows, bins = index
    assert np.array_equal(signal[rows, bins].to_numpy(), whole[rows][..., bins])


def test_what_is_read_of_a_long_genome_costs_no_more_than_of_a_short_one(read):
    signal = lazy_dataset(plan_of(2, 300_000_000), read).signal.data
    tracemalloc.start()
    assert float(signal[1, 250_000_000].compute()) == np.float32(251_000_000)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_a_selection_of_nothing_is_empty(plan, read):
    signal = lazy_dataset(plan, read).signal
    assert signal[:, 5:5].to_numpy().shape == (20, 0)
    assert signal[[], 5:9].to_numpy().shape == (0, 4)
