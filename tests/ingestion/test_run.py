import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr
import zarr

from epixs.catalog.experiments import read_catalog
from epixs.compendium.read import open_compendium
from epixs.compendium.status import store_status
from epixs.errors import CatalogError, ConfigError, StoreError, TrackError
from epixs.genome.bed import make_regions, read_regions
from epixs.ingestion import plan as planning
from epixs.ingestion import tile as module
from epixs.ingestion.cost import project_cost, unreadable_sources
from epixs.ingestion.lazy import open_tracks
from epixs.ingestion.plan import plan_ingest
from epixs.ingestion.preview import preview
from epixs.ingestion.run import ingest, pending_tasks
from epixs.ingestion.tile import tile_task
from epixs.storage.ledger import read_ledger
from epixs.storage.store import open_store
from epixs.tracks.source import source_states


def slow_signal(catalog, regions):
    """Oracle: pyBigWig values, base by base, bin by bin."""
    import pyBigWig

    rows = []
    for path in catalog.experiments["path"]:
        with pyBigWig.open(path) as file:
            row = []
            for bin_ in regions.table().itertuples():
                values = np.nan_to_num(
                    file.values(bin_.chrom, bin_.start, bin_.end, numpy=True).astype(float)
                )
                row.append(np.arcsinh(values.sum() / (bin_.end - bin_.start)))
        rows.append(row)
    return np.array(rows)


def test_store_and_lazy_view_hold_the_arcsinh_of_the_mean(panel, tmp_path):
    catalog, regions = panel
    table = ingest(catalog, regions, tmp_path / "a.zarr")
    assert table["status"].tolist() == ["ok"] * 3
    slow = slow_signal(catalog, regions)
    with xr.open_zarr(tmp_path / "a.zarr") as dataset:
        stored = dataset.signal.to_numpy()
        np.testing.assert_allclose(stored, slow, atol=2.5e-4)
        assert dataset.attrs["uncovered"] == "zero"
        lazy = open_tracks(catalog, regions)
        assert np.array_equal(lazy.signal.to_numpy(), stored)
        assert lazy.signal.dtype == dataset.signal.dtype == np.float32
        assert lazy.epixs.sel("chr2:100-200").sizes["bin"] == 4
        np.testing.assert_allclose(dataset.signal_max, stored.max(axis=1))
        np.testing.assert_allclose(dataset.covered_fraction, 0.87, atol=0.02)


def test_paths_do_as_well(world):
    lazy = open_tracks(world.catalog, world.bed("mouse"), species="mouse")
    expected = open_compendium(world.store("mouse")).signal[3].to_numpy()
    assert np.array_equal(lazy.signal[3].to_numpy(), expected)


def test_one_experiment_reads_one_file(panel, monkeypatch):
    catalog, regions = panel
    lazy = open_tracks(catalog, regions)
    read = []
    original = module.read_row
    monkeypatch.setattr(module, "read_row", lambda *a: read.append(a[0]) or original(*a))
    lazy.signal[1].compute(scheduler="synchronous")
    assert read == [catalog.experiments["path"].iloc[1]]


def test_uncovered_nan(panel, tmp_path):
    catalog, regions = panel
    lazy = open_tracks(catalog, regions, uncovered="nan").signal.to_numpy()
    zero = open_tracks(catalog, regions).signal.to_numpy()
    missing = np.isnan(lazy)
    assert missing.any()
    assert (zero[missing] == 0).all()
    assert (lazy[~missing] >= zero[~missing] - 1e-3).all()
    assert (lazy[~missing] > zero[~missing] + 0.1).any()


def test_running_again_reads_nothing(panel, tmp_path, monkeypatch):
    catalog, regions = panel
    ingest(catalog, regions, tmp_path / "a.zarr")
    monkeypatch.setattr(module, "read_row", None)  # a call would raise a TypeError, or fail the row
    assert (ingest(catalog, regions, tmp_path / "a.zarr")["status"] == "ok").all()


def test_interrupted_ingest_resumes_to_the_same_store(panel, tmp_path, monkeypatch):
    catalog, regions = panel
    monkeypatch.setattr("epixs.compendium.plan.CHUNK_BINS", 8)
    monkeypatch.setattr("epixs.compendium.plan.FEWEST_SHARD_CHUNKS", 1)
    ingest(catalog, regions, tmp_path / "whole.zarr")
    whole_plan = plan_ingest(catalog, regions)
    assert whole_plan.grid == (1, 10)

    class Cut(Exception):
        pass

    def stop(progress):
        if progress.tiles_done == 4:
            raise Cut

    with pytest.raises(Cut):
        ingest(catalog, regions, tmp_path / "a.zarr", progress=stop)
    state = store_status(tmp_path / "a.zarr")
    assert (state.status, state.tiles_done) == ("unfinished", 4)
    read = []
    original = module.read_row
    monkeypatch.setattr(module, "read_row", lambda *a: read.append(a[0]) or original(*a))
    ingest(catalog, regions, tmp_path / "a.zarr")
    assert len(read) == 3 * 6
    first, second = (open_compendium(tmp_path / f"{n}.zarr").signal.to_numpy() for n in ("whole", "a"))
    assert np.array_equal(first, second)
    ledgers = [read_ledger(open_store(tmp_path / f"{n}.zarr")) for n in ("whole", "a")]
    assert ledgers[0] == ledgers[1]


def test_replaced_source_is_read_again(panel, tmp_path, write_bigwig):
    catalog, regions = panel
    ingest(catalog, regions, tmp_path / "a.zarr")
    write_bigwig("0.bw", [("chr1", 9_000, 10_010, 5.0)])
    os.utime(tmp_path / "0.bw", ns=(1, 1))
    plan = plan_ingest(catalog, regions)
    states = source_states(catalog.experiments["path"])
    tasks = [tile_task(plan, catalog.assembly, tile, states) for tile in plan.tiles()]
    store = open_store(tmp_path / "a.zarr")
    (pending,) = pending_tasks(store, tasks, read_ledger(store))
    assert [row.kept is None for row in pending.rows] == [True, False, False]
    ingest(catalog, regions, tmp_path / "a.zarr")
    signal_now = open_compendium(tmp_path / "a.zarr").signal[0, :41].to_numpy()
    assert np.allclose(signal_now, np.arcsinh(5.0), atol=1e-3)


def test_a_bad_file_costs_its_row_and_nothing_else(panel, tmp_path, write_bigwig):
    catalog, regions = panel
    good = (tmp_path / "1.bw").read_bytes()
    (tmp_path / "1.bw").write_bytes(b"<html>Not found</html>")
    table = ingest(catalog, regions, tmp_path / "a.zarr")
    assert [s == "ok" for s in table["status"]] == [True, False, True]
    assert "HTML" in table["status"][1]
    dataset = open_compendium(tmp_path / "a.zarr")
    missing = np.isnan(dataset.signal.to_numpy())
    assert missing[1].all()
    assert not missing[[0, 2]].any()
    assert "HTML" in str(dataset.status.to_numpy()[1])
    with pytest.raises(TrackError, match="HTML"):
        open_tracks(catalog, regions).signal.compute()
    (tmp_path / "1.bw").write_bytes(good)
    assert ingest(catalog, regions, tmp_path / "a.zarr")["status"].tolist() == ["ok"] * 3


def test_retry_failed_reads_tiles_whose_files_look_unchanged(panel, tmp_path, monkeypatch):
    catalog, regions = panel
    original = module.read_row

    def flaky(source, *rest):
        raise TrackError(f"{source} timed out")

    monkeypatch.setattr(module, "read_row", flaky)
    assert (ingest(catalog, regions, tmp_path / "a.zarr")["status"] != "ok").all()
    monkeypatch.setattr(module, "read_row", original)
    assert (ingest(catalog, regions, tmp_path / "a.zarr")["status"] != "ok").all()
    assert (ingest(catalog, regions, tmp_path / "a.zarr", retry_failed=True)["status"] == "ok").all()


def test_a_part_that_reads_failed_rows_again_keeps_the_store_unfinished(panel, tmp_path, monkeypatch):
    """While one share reads, another share that ends must not finish the store and sweep its files."""
    monkeypatch.setattr("epixs.compendium.plan.CHUNK_BINS", 10)
    monkeypatch.setattr("epixs.compendium.plan.FEWEST_SHARD_CHUNKS", 1)
    catalog, regions = panel
    original = module.read_row

    def flaky(source, *rest):
        raise TrackError(f"{source} timed out")

    monkeypatch.setattr(module, "read_row", flaky)
    path = tmp_path / "a.zarr"
    ingest(catalog, regions, path)
    seen = []

    def reading(*rest):
        if not seen:
            seen.append(None)
            ingest(catalog, regions, path, retry_failed=True, part=(2, 2))
            seen.append(store_status(path).status)
        return original(*rest)

    monkeypatch.setattr(module, "read_row", reading)
    done = ingest(catalog, regions, path, retry_failed=True, part=(1, 2))
    assert seen[1] == "unfinished"
    assert set(done["status"]) == {"ok"}
    assert store_status(path).status == "complete"


def test_another_catalog_is_refused(panel, tmp_path):
    catalog, regions = panel
    ingest(catalog, regions, tmp_path / "a.zarr")
    fewer, _ = make_regions(catalog.assembly, [("chr1", 9_000, 10_010, "end")])
    with pytest.raises(
        StoreError,
        match=r"would write; got regions 1 with 41 bins \(.*\), the store has 2 with 77 bins \(.*\): region 2, chr2:100-1,000, is missing",
    ):
        ingest(catalog, fewer, tmp_path / "a.zarr")


def test_lost_shards_are_written_again(panel, tmp_path):
    catalog, regions = panel
    ingest(catalog, regions, tmp_path / "a.zarr")
    expected = open_compendium(tmp_path / "a.zarr").signal.to_numpy()
    (tmp_path / "a.zarr" / "signal" / "c" / "0" / "0").unlink()
    ingest(catalog, regions, tmp_path / "a.zarr")
    assert np.array_equal(open_compendium(tmp_path / "a.zarr").signal.to_numpy(), expected)


def test_rows_are_never_erased_because_their_sources_are_gone(panel, tmp_path):
    catalog, regions = panel
    ingest(catalog, regions, tmp_path / "a.zarr")
    (tmp_path / "1.bw").rename(tmp_path / "elsewhere.bw")
    with pytest.raises(StoreError, match=r"gone: 1 source of rows that .* already holds; got .*1\.bw"):
        ingest(catalog, regions, tmp_path / "a.zarr")
    assert not np.isnan(open_compendium(tmp_path / "a.zarr").signal.to_numpy()).any()


def test_a_store_is_unfinished_while_it_is_written_again(panel, tmp_path, monkeypatch):
    catalog, regions = panel
    ingest(catalog, regions, tmp_path / "a.zarr")
    os.utime(tmp_path / "0.bw", ns=(1, 1))

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_block", stop)
    with pytest.raises(KeyboardInterrupt):
        ingest(catalog, regions, tmp_path / "a.zarr")
    with pytest.raises(StoreError, match="unfinished"):
        open_compendium(tmp_path / "a.zarr")


def test_a_track_with_one_chromosome_of_another_assembly_leaves_no_half_row(
    panel, tmp_path, write_bigwig, monkeypatch
):
    monkeypatch.setattr("epixs.compendium.plan.CHUNK_BINS", 8)
    monkeypatch.setattr("epixs.compendium.plan.FEWEST_SHARD_CHUNKS", 1)
    catalog, regions = panel
    write_bigwig("1.bw", [("chr1", 0, 10_010, 1.0)], sizes={"chr1": 10_010, "chr2": 4_000})
    table = ingest(catalog, regions, tmp_path / "a.zarr")
    assert "is not on small: chr2; got 4000 bp" in table["status"][1]
    assert np.isnan(open_compendium(tmp_path / "a.zarr").signal[1].to_numpy()).all()


def test_changed_labels_are_another_catalog(panel, tmp_path):
    catalog, regions = panel
    ingest(catalog, regions, tmp_path / "a.zarr")
    catalog.experiments["assay_class"] = "other"
    with pytest.raises(StoreError, match=r"got .* with assay_class 'other', the store has "):
        ingest(catalog, regions, tmp_path / "a.zarr")


def test_cost_is_projected_from_the_plan(panel):
    catalog, regions = panel
    cost = project_cost(plan_ingest(catalog, regions), catalog.assembly)
    assert cost.tiles == 1
    assert cost.bytes_in == sum(os.path.getsize(p) for p in catalog.experiments["path"])
    assert cost.core_seconds is not None
    assert cost.core_seconds > 0


def test_what_a_cut_write_left_is_swept_away(panel, tmp_path):
    catalog, regions = panel
    ingest(catalog, regions, tmp_path / "a.zarr")
    left = tmp_path / "a.zarr" / "signal" / "c" / "0" / "0.77.partial"
    left.write_bytes(b"half a shard")
    os.utime(tmp_path / "1.bw", ns=(1, 1))
    ingest(catalog, regions, tmp_path / "a.zarr")
    assert not left.exists()


def test_full_disk_stops_with_what_was_written_kept(panel, tmp_path, monkeypatch):
    catalog, regions = panel
    original = module.write_block

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_block", full)
    with pytest.raises(OSError, match="No space left"):
        ingest(catalog, regions, tmp_path / "a.zarr")
    monkeypatch.setattr(module, "write_block", original)
    assert (ingest(catalog, regions, tmp_path / "a.zarr")["status"] == "ok").all()


def test_killed_in_mid_run_resumes(world, tmp_path):
    """After kill -9 at the first tile, the store is unfinished; the next run completes it as usual."""
    code = (
        "import sys, os, signal\n"
        "from epixs.catalog.experiments import read_catalog\n"
        "from epixs.genome.bed import read_regions\n"
        "from epixs.ingestion.run import ingest\n"
        "c = read_catalog(sys.argv[1], 'human'); r, _ = read_regions(sys.argv[2], c.assembly)\n"
        "ingest(c, r, sys.argv[3], progress=lambda p: p.tiles_done == 1 and os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    target = tmp_path / "a.zarr"
    done = subprocess.run(
        [sys.executable, "-c", code, world.catalog, world.bed("human"), target], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert store_status(target).status == "unfinished"
    catalog = read_catalog(world.catalog, "human")
    regions, _ = read_regions(world.bed("human"), catalog.assembly)
    ingest(catalog, regions, target)
    expected = open_compendium(world.store("human")).signal.to_numpy()
    assert np.array_equal(open_compendium(target).signal.to_numpy(), expected)


def test_a_file_that_is_replaced_during_the_run_is_not_mixed_in(panel, tmp_path, monkeypatch):
    catalog, regions = panel
    replaced = catalog.experiments["path"].iloc[1]
    read = module.read_tile

    def replace_first(*args):
        os.utime(replaced, (1, 1))
        return read(*args)

    monkeypatch.setattr(module, "read_tile", replace_first)
    table = ingest(catalog, regions, tmp_path / "a.zarr")
    assert "changed since the run began" in table["status"][1]
    assert table["status"].tolist().count("ok") == 2
    monkeypatch.undo()
    assert set(ingest(catalog, regions, tmp_path / "a.zarr")["status"]) == {"ok"}


def test_a_file_that_comes_while_a_run_goes_on_waits_for_the_next_run(panel, tmp_path, monkeypatch):
    """The file might be replaced once more; then a row would mix two versions."""
    catalog, regions = panel
    (tmp_path / "2.bw").rename(tmp_path / "late.bw")
    read = module.read_tile

    def come(*args):
        (tmp_path / "late.bw").rename(tmp_path / "2.bw")
        return read(*args)

    monkeypatch.setattr(module, "read_tile", come)
    table = ingest(catalog, regions, tmp_path / "a.zarr")
    assert "could not be read when the run began, but can now" in table["status"][2]
    monkeypatch.undo()
    assert set(ingest(catalog, regions, tmp_path / "a.zarr")["status"]) == {"ok"}


def test_catalog_without_its_files_is_refused_in_full(panel, tmp_path):
    (tmp_path / "2.bw").unlink()
    with pytest.raises(CatalogError, match=r"row 4, column path"):
        read_catalog(tmp_path / "catalog.tsv")


def test_parts_of_a_job_array_make_the_same_store(panel, tmp_path, monkeypatch):
    monkeypatch.setattr("epixs.compendium.plan.CHUNK_BINS", 10)
    monkeypatch.setattr("epixs.compendium.plan.FEWEST_SHARD_CHUNKS", 1)
    catalog, regions = panel
    ingest(catalog, regions, tmp_path / "whole.zarr")
    first = ingest(catalog, regions, tmp_path / "parts.zarr", part=(2, 3))
    assert set(first["status"]) == {"unfinished"}
    with pytest.raises(StoreError, match="is unfinished"):
        open_compendium(tmp_path / "parts.zarr")
    ingest(catalog, regions, tmp_path / "parts.zarr", part=(1, 3))
    last = ingest(catalog, regions, tmp_path / "parts.zarr", part=(3, 3))
    assert set(last["status"]) == {"ok"}
    whole, parts = (open_compendium(tmp_path / name) for name in ("whole.zarr", "parts.zarr"))
    xr.testing.assert_identical(parts.drop_attrs(), whole.drop_attrs())
    with pytest.raises(ConfigError, match="part; got 4/3; expected I/N"):
        ingest(catalog, regions, tmp_path / "parts.zarr", part=(4, 3))


def test_parts_that_start_together(panel, tmp_path, monkeypatch):
    monkeypatch.setattr("epixs.compendium.plan.CHUNK_BINS", 10)
    monkeypatch.setattr("epixs.compendium.plan.FEWEST_SHARD_CHUNKS", 1)
    catalog, regions = panel
    with ThreadPoolExecutor(4) as pool:
        done = list(
            pool.map(lambda i: ingest(catalog, regions, tmp_path / "a.zarr", part=(i, 4)), range(1, 5))
        )
    assert any((table["status"] == "ok").all() for table in done)
    assert store_status(tmp_path / "a.zarr").status == "complete"


def test_no_store_is_made_when_nothing_can_be_read(panel, tmp_path):
    catalog, regions = panel
    for path in catalog.experiments["path"]:
        (tmp_path / path).write_bytes(b"<html>Not found</html>")
    with pytest.raises(TrackError, match=r"none of the 3 files can be read.*The first: .*0\.bw is an HTML"):
        ingest(catalog, regions, tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()
    assert list(unreadable_sources(plan_ingest(catalog, regions), catalog.assembly)) == ["A0", "A1", "A2"]


def test_a_row_is_not_given_up_for_a_source_that_turned_to_garbage(panel, tmp_path):
    catalog, regions = panel
    ingest(catalog, regions, tmp_path / "a.zarr")
    before = open_compendium(tmp_path / "a.zarr").signal.to_numpy()
    good = (tmp_path / "1.bw").read_bytes()
    for bad in (b"<html>login</html>", good[:-200]):
        (tmp_path / "1.bw").write_bytes(bad)
        with pytest.raises(StoreError, match=r"holds a row whose source can no longer be read.*1\.bw"):
            ingest(catalog, regions, tmp_path / "a.zarr")
        values = open_compendium(tmp_path / "a.zarr", unfinished=True).signal.to_numpy()
        assert np.array_equal(values, before)
    (tmp_path / "1.bw").write_bytes(good)
    ingest(catalog, regions, tmp_path / "a.zarr")


def test_only_the_rows_that_need_it_are_read_again(panel, tmp_path, monkeypatch):
    catalog, regions = panel
    (tmp_path / "2.bw").rename(tmp_path / "late.bw")
    ingest(catalog, regions, tmp_path / "a.zarr")
    (tmp_path / "late.bw").rename(tmp_path / "2.bw")
    read = []
    original = module.read_row
    monkeypatch.setattr(module, "read_row", lambda *a: read.append(a[0]) or original(*a))
    assert set(ingest(catalog, regions, tmp_path / "a.zarr")["status"]) == {"ok"}
    assert read == [str(tmp_path / "2.bw")]
    ingest(catalog, regions, tmp_path / "whole.zarr")
    whole, parts = (open_compendium(tmp_path / name) for name in ("whole.zarr", "a.zarr"))
    xr.testing.assert_identical(parts.drop_attrs(), whole.drop_attrs())


def test_a_kept_row_that_is_damaged_is_read_again(panel, tmp_path):
    catalog, regions = panel
    ingest(catalog, regions, tmp_path / "a.zarr")
    before = open_compendium(tmp_path / "a.zarr").signal.to_numpy()
    zarr.open_array(tmp_path / "a.zarr", path="signal", mode="r+")[0, 3] = 77.0
    os.utime(tmp_path / "2.bw", ns=(1, 1))
    ingest(catalog, regions, tmp_path / "a.zarr")
    assert np.array_equal(open_compendium(tmp_path / "a.zarr").signal.to_numpy(), before)


def test_each_source_is_asked_for_its_state_once(panel, tmp_path, monkeypatch):
    catalog, regions = panel
    asked = []
    original = planning.source_states
    monkeypatch.setattr(planning, "source_states", lambda paths: asked.extend(paths) or original(paths))
    for _ in range(2):  # a new store, then the existing one
        asked.clear()
        plan = preview(tmp_path / "a.zarr", catalog, regions)
        ingest(catalog, regions, tmp_path / "a.zarr", plan=plan)
        assert sorted(asked) == sorted(catalog.experiments["path"])
    asked.clear()
    plan = preview(tmp_path / "a.zarr", catalog, None, append=True)
    ingest(catalog, None, tmp_path / "a.zarr", append=True, plan=plan)
    assert sorted(asked) == sorted(catalog.experiments["path"])
