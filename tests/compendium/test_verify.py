import shutil

import numpy as np
import pytest
import zarr

from epixs.catalog import read_catalog
from epixs.compendium.ingest import ingest, open_tracks
from epixs.compendium.store import open_compendium
from epixs.compendium.verify import forget, verify
from epixs.errors import StoreError
from epixs.genome import read_regions
from epixs.imputation import impute


@pytest.fixture
def store(world, tmp_path, monkeypatch):
    """A store of several tiles, whose bigWigs are copies that a test may change."""
    monkeypatch.setattr("epixs.compendium.plan.CHUNK_BINS", 500)
    monkeypatch.setattr("epixs.compendium.plan.FEWEST_SHARD_CHUNKS", 1)
    shutil.copytree(world.folder / "tracks", tmp_path / "tracks")
    shutil.copy(world.catalog, tmp_path / "catalog.tsv")
    shutil.copy(world.bed("mouse"), tmp_path / "mouse.bed")
    catalog = read_catalog(tmp_path / "catalog.tsv", "mouse")
    regions, _ = read_regions(world.bed("mouse"), catalog.assembly)

    def make():
        return ingest(catalog, regions, tmp_path / "a.zarr")

    make()
    return tmp_path / "a.zarr", catalog, make


def test_a_sound_store_has_no_fault(store):
    path, _, _ = store
    seen = []
    assert verify(path, progress=seen.append) == []
    assert seen[-1].tiles_done == seen[-1].tiles == len(seen) > 1
    assert verify(path, sources=True) == []


def test_an_independent_reader_finds_the_same(store, tmp_path):
    path, catalog, _ = store
    assert verify(path, sources=True, backend="pybigwig") == []
    regions, _ = read_regions(tmp_path / "mouse.bed", catalog.assembly)
    other = open_tracks(catalog, regions, backend="pybigwig").signal.to_numpy()
    assert np.abs(other - open_compendium(path).signal.to_numpy()).max() <= 1 / 2048
    ingest(catalog, regions, tmp_path / "b.zarr", backend="pybigwig")
    assert np.array_equal(open_compendium(tmp_path / "b.zarr").signal.to_numpy(), other)
    shutil.copy(*catalog.experiments["path"].iloc[:2])
    assert verify(path, sources=True, backend="pybigwig")


def test_changed_lost_and_broken_tiles_are_found_and_written_again(store):
    path, _, make = store
    before = open_compendium(path).signal.to_numpy()
    array = zarr.open_array(str(path), path="signal", mode="r+")
    array[0, 3] = np.float32(array[0, 3] + 1)
    (path / "signal" / "c" / "0" / "1").unlink()
    shard = path / "signal" / "c" / "0" / "2"
    shard.write_bytes(shard.read_bytes()[:-9] + b"123456789")
    faults = verify(path)
    assert [fault.bin_range for fault in faults] == [0, 1, 2]
    assert [fault.what.split(" (")[0] for fault in faults] == [
        "does not have the values that were written",
        "does not have the values that were written",
        "cannot be read",
    ]
    forget(path, faults)
    with pytest.raises(StoreError, match="unfinished"):
        open_compendium(path)
    assert {fault.what for fault in verify(path)} == {"is not written"}
    make()
    assert verify(path, sources=True) == []
    assert np.array_equal(open_compendium(path).signal.to_numpy(), before, equal_nan=True)


def test_sources_that_hold_something_else_now_are_named(store):
    path, catalog, _ = store
    one, two, gone = catalog.experiments["path"].iloc[:3]
    shutil.copy(two, one)
    shutil.os.unlink(gone)
    assert verify(path) == []
    faults = verify(path, sources=True)
    assert faults
    assert all(one in fault.what for fault in faults)
    assert all(f"{gone} (" in fault.what and "does not exist" in fault.what for fault in faults)


def test_imputed_stores_have_checksums_and_no_sources(trained, world, held_out, tmp_path):
    impute(trained, world.store("mouse"), tmp_path / "i.zarr", pairs=held_out)
    assert verify(tmp_path / "i.zarr") == []
    with pytest.raises(StoreError, match="is imputed; expected an observed store"):
        verify(tmp_path / "i.zarr", sources=True)
