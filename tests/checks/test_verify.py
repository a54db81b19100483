import shutil
from dataclasses import replace

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from epixs.catalog.experiments import read_catalog
from epixs.checks.verify import forget, verify
from epixs.cli.app import app
from epixs.compendium.read import open_compendium
from epixs.errors import StoreError
from epixs.genome.assembly import Assembly
from epixs.genome.bed import read_regions
from epixs.imputation.write import impute
from epixs.ingestion.lazy import open_tracks
from epixs.ingestion.run import ingest
from epixs.storage.ledger import read_ledger, write_record
from epixs.storage.store import open_store


@pytest.fixture
def store(world, tmp_path, monkeypatch):
    """Make a store of several tiles, whose bigWigs are copies that a test may change."""
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


def test_labels_of_something_else_are_found(store):
    path, _, _ = store
    array = zarr.open_array(str(path), path="assay", mode="r+")
    array[:] = array[:][::-1]
    with pytest.raises(StoreError, match="not those that the store was made with"):
        verify(path)


def test_a_tile_of_other_regions_is_found_and_written_again(store):
    path, _, make = store
    store = open_store(path)
    record = read_ledger(store)[0, 1]
    write_record(store, (0, 1), replace(record, fingerprint="of other regions"))
    faults = verify(path)
    assert [(fault.bin_range, fault.what) for fault in faults] == [
        (1, "was written for other regions or settings")
    ]
    forget(path, faults)
    make()
    assert verify(path, sources=True) == []


@pytest.mark.slow
def test_a_genome_of_ones_own_can_be_given(store, tmp_path):
    path, catalog, _ = store
    name = catalog.assembly.name
    other = Assembly(name, {chrom: size + 1 for chrom, size in catalog.assembly.chrom_sizes.items()})
    assert verify(path, sources=True, assembly=other)
    sizes = tmp_path / "sizes.tsv"
    sizes.write_text("".join(f"{c}\t{n}\n" for c, n in catalog.assembly.chrom_sizes.items()))
    command = ["verify", str(path), "--sources", "--chrom-sizes"]
    assert CliRunner().invoke(app, [*command, str(sizes)]).exit_code == 0
    sizes.write_text("chr1\t17\n")
    assert CliRunner().invoke(app, [*command, str(sizes)]).exit_code == 1
    assert CliRunner().invoke(app, [*command, str(tmp_path / "no.tsv")]).exit_code == 2


def test_imputed_stores_have_checksums_and_no_sources(trained, world, held_out, tmp_path):
    impute(trained, world.store("mouse"), tmp_path / "i.zarr", pairs=held_out)
    assert verify(tmp_path / "i.zarr") == []
    with pytest.raises(StoreError, match="is imputed; expected an observed store"):
        verify(tmp_path / "i.zarr", sources=True)
