"""Copy some regions of a compendium into a compendium of their own."""

import numpy as np
import pytest

from epixs.checks.verify import verify
from epixs.compendium.read import experiments_of, open_compendium, regions_of
from epixs.compendium.remove import remove
from epixs.errors import StoreError
from epixs.genome.regions import Regions
from epixs.ingestion.subset import copy_regions
from tests.worlds import planted, write_store


@pytest.fixture
def store(tmp_path):
    values = planted(1, 2, 2)
    values[0, 100:200] = np.nan
    labels = [(f"b{b}", f"a{a}") for b in range(2) for a in range(2)]
    places = [("chr1", 0, 50_000), ("chr2", 25_000, 50_000)]
    return write_store(tmp_path / "mouse.zarr", values, labels=labels, regions=places)


def within(chroms, starts, ends):
    return Regions("mm10", tuple(f"p{i}" for i in range(len(chroms))), chroms, starts, ends)


def test_values_and_labels_are_those_of_the_places(store, tmp_path):
    places = within(("chr2", "chr1"), (30_000, 1_000), (40_000, 5_000))
    copy_regions(store, places, tmp_path / "part.zarr")
    whole, part = open_compendium(store), open_compendium(tmp_path / "part.zarr")
    assert regions_of(part) == places
    bins = np.concatenate(
        [regions_of(whole).bins_of(*place) for place in [("chr2", 30_000, 40_000), ("chr1", 1_000, 5_000)]]
    )
    assert np.array_equal(part.signal.to_numpy(), whole.signal.to_numpy()[:, bins], equal_nan=True)
    assert verify(tmp_path / "part.zarr") == []
    labels = ["biosample", "assay", "assay_class", "accession", "output_type"]
    assert experiments_of(part)[labels].equals(experiments_of(whole)[labels])
    assert part.attrs["uncovered"] == whole.attrs["uncovered"]


def test_again_it_stays_and_other_places_are_refused(store, tmp_path):
    places = within(("chr1",), (0,), (25_000,))
    copy_regions(store, places, tmp_path / "part.zarr")
    copy_regions(store, places, tmp_path / "part.zarr")
    with pytest.raises(StoreError, match="regions"):
        copy_regions(store, within(("chr1",), (0,), (50_000,)), tmp_path / "part.zarr")


def test_removed_experiments_are_left_out(store, tmp_path):
    remove(store, ["b0-a1"], reason="wrong")
    copy_regions(store, within(("chr1",), (0,), (25_000,)), tmp_path / "part.zarr")
    part, whole = open_compendium(tmp_path / "part.zarr"), open_compendium(store)
    assert [*part.accession.to_numpy()] == ["b0-a0", "b1-a0", "b1-a1"]
    assert np.array_equal(part.signal.to_numpy(), whole.signal.to_numpy()[[0, 2, 3], :1000], equal_nan=True)
