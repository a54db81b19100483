import numpy as np

from epixs.compendium.lazy import lazy_dataset
from tests.compendium.test_plan import plan_of


def test_tiles_are_computed_only_when_read_and_land_in_place():
    plan = plan_of(20, 600_000)
    seen = []

    def block_of(tile):
        def compute():
            seen.append((tile.row_group, tile.bin_range))
            rows = np.arange(tile.first_row, tile.stop_row, dtype=np.float32)[:, None]
            return rows * 1e6 + np.arange(tile.first_bin, tile.stop_bin, dtype=np.float32)

        return compute

    dataset = lazy_dataset(plan, block_of)
    assert seen == []
    assert float(dataset.signal[17, 300_000]) == 17_300_000
    assert seen == [(1, 1)]
    assert dataset.signal.shape == (20, 600_000)
    assert dataset.attrs["kind"] == "observed"
    assert str(dataset.biosample.to_numpy()[5]) == "biosample5"
    seen.clear()
    assert float(lazy_dataset(plan, block_of, rows=1).signal[17, 300_000]) == 17_300_000
    assert seen == [(17, 1)]
