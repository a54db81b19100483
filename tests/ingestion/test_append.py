"""Add experiments and regions to a finished store, and remove experiments from it."""

import contextlib
import itertools
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from epixs.catalog.experiments import Catalog
from epixs.checks.verify import forget, verify
from epixs.compendium.read import experiments_of, open_compendium, regions_of, stored_plan
from epixs.compendium.remove import remove_experiments, restore_experiments
from epixs.compendium.status import store_status
from epixs.errors import ConfigError, StoreError
from epixs.genome.assembly import Assembly
from epixs.genome.bed import make_regions
from epixs.ingestion import append as appending
from epixs.ingestion.preview import preview
from epixs.ingestion.run import ingest
from epixs.storage import store as storing

ASSEMBLY = Assembly("small", {"chr1": 10_010, "chr2": 5_000})
REGIONS, _ = make_regions(ASSEMBLY, [("chr1", 2_000, 4_000, "one")])
MORE, _ = make_regions(ASSEMBLY, [("chr2", 0, 900, "two"), ("chr1", 3_000, 5_000, "overlaps")])


@pytest.fixture
def catalog(write_bigwig, monkeypatch):
    """Write five tracks; their stores have row groups of two experiments and tiles of 20 bins."""
    monkeypatch.setattr("epixs.compendium.plan.CHUNK_ROWS", 2)
    monkeypatch.setattr("epixs.compendium.plan.CHUNK_BINS", 20)
    monkeypatch.setattr("epixs.compendium.plan.FEWEST_SHARD_CHUNKS", 1)
    rng = np.random.default_rng(0)
    rows = []
    for index in range(5):
        steps = [("chr1", 20 * i, 20 * i + 15, float(rng.random() * 9)) for i in range(400)]
        steps += [("chr2", 30 * i, 30 * i + 30, float(rng.random())) for i in range(100)]
        path = write_bigwig(f"{index}.bw", steps)
        rows.append([f"b{index}", "a", "histone", f"A{index}", "signal", "", str(path), ""])
    names = ["biosample", "assay", "assay_class", "accession", "output_type", "strand", "path", "md5sum"]
    return Catalog("tiny", ASSEMBLY, pd.DataFrame(rows, columns=names))


def some(catalog, *rows):
    return replace(catalog, experiments=catalog.experiments.iloc[list(rows)])


def shards(path):
    return {file.relative_to(path): file.stat().st_mtime_ns for file in (path / "signal" / "c").rglob("?")}


def test_appended_experiments_come_last_and_full_shards_are_not_touched(catalog, tmp_path):
    path = tmp_path / "a.zarr"
    ingest(some(catalog, 0, 1, 2), REGIONS, path)
    before = shards(path)
    (tmp_path / "0.bw").unlink()  # rows that the store holds are not read again
    (tmp_path / "2.bw").unlink()
    table = ingest(some(catalog, 3, 4), None, path, append=True)
    assert table["accession"].tolist() == ["A0", "A1", "A2", "A3", "A4"]
    assert set(table["status"]) == {"ok"}
    after = shards(path)
    assert all(after[name] == time for name, time in before.items() if name.parts[2] == "0")
    assert verify(path) == []


def test_a_store_that_grew_equals_one_made_at_once(catalog, tmp_path):
    ingest(some(catalog, 0, 1, 2), REGIONS, tmp_path / "a.zarr")
    ingest(catalog, MORE, tmp_path / "a.zarr", append=True)
    both = REGIONS.extended(MORE)
    ingest(catalog, both, tmp_path / "b.zarr")
    grown, whole = (open_compendium(tmp_path / name) for name in ("a.zarr", "b.zarr"))
    xr.testing.assert_identical(grown.drop_attrs(), whole.drop_attrs())
    assert grown.attrs["plan"] == whole.attrs["plan"]
    assert regions_of(grown).name == ("one", "two", "overlaps")
    assert regions_of(grown).start[2] == 4_000
    ingest(catalog, both, tmp_path / "a.zarr")  # and the store is then an ordinary one


def test_appending_what_is_there_does_nothing(catalog, tmp_path, monkeypatch):
    ingest(catalog, REGIONS, tmp_path / "a.zarr")
    before = shards(tmp_path / "a.zarr")
    monkeypatch.setattr(appending, "grow_store", None)
    ingest(some(catalog, 2), REGIONS, tmp_path / "a.zarr", append=True)
    assert shards(tmp_path / "a.zarr") == before
    assert ingest(some(catalog, 0), REGIONS, tmp_path / "new.zarr", append=True)["status"].tolist() == ["ok"]


@pytest.mark.parametrize("cut_at", ["_write_labels", "store_attributes", "consolidate"])
def test_growing_that_was_cut_short_goes_on(catalog, tmp_path, monkeypatch, cut_at):
    path = tmp_path / "a.zarr"
    ingest(some(catalog, 0, 1, 2), REGIONS, path)

    def cut(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"epixs.compendium.create.{cut_at}", cut)
        with pytest.raises(KeyboardInterrupt):
            ingest(catalog, MORE, path, append=True)
    with pytest.raises(StoreError, match="unfinished"):
        open_compendium(path)
    with pytest.raises(StoreError, match=r"are being added.*--append again"):
        ingest(some(catalog, 0, 1, 2), REGIONS, path)
    assert stored_plan(path).n_experiments == 5
    ingest(catalog, MORE, path, append=True)
    ingest(catalog, REGIONS.extended(MORE), tmp_path / "b.zarr")
    grown, whole = (open_compendium(p) for p in (path, tmp_path / "b.zarr"))
    xr.testing.assert_identical(grown.drop_attrs(), whole.drop_attrs())


def test_contradictions_are_refused_before_anything_is_written(catalog, tmp_path):
    path = tmp_path / "a.zarr"
    ingest(some(catalog, 0, 1, 2), REGIONS, path)
    before = shards(path)

    def refused(message, changed=None, regions=None, **options):
        with pytest.raises((StoreError, ConfigError), match=message):
            ingest(changed or catalog, regions, path, append=True, **options)
        with pytest.raises((StoreError, ConfigError), match=message):
            preview(str(path), changed or catalog, regions, options.get("uncovered", "zero"), append=True)

    def changed(**columns):
        return replace(catalog, experiments=catalog.experiments.assign(**columns))

    refused("cannot append.*got .*nan; expected .*zero", uncovered="nan")
    refused("cannot append.*got .*mouse", replace(catalog, species="mouse"))
    refused("holds A0 with another assay; got b; expected a", changed(assay="b"))
    refused("has b0 / a already; got X0; expected A0", changed(accession=["X0", "A1", "A2", "A3", "A4"]))
    with pytest.raises(ConfigError, match="no regions"):
        ingest(catalog, None, tmp_path / "new.zarr")
    assert shards(path) == before
    assert store_status(path).status == "complete"


def names_in(path):
    with xr.open_zarr(path) as dataset:
        return dataset.experiment.to_numpy().tolist()


def test_removed_experiments_keep_their_mark_and_make_room(catalog, tmp_path):
    path = tmp_path / "a.zarr"
    ingest(some(catalog, 0, 1), REGIONS, path)
    remove_experiments(path, ["A0"], "wrong antibody")
    assert experiments_of(open_compendium(path))["status"].tolist() == ["removed: wrong antibody", "ok"]
    other = some(catalog, 2)
    other = replace(other, experiments=other.experiments.assign(biosample="b0"))
    table = ingest(other, None, path, append=True)
    assert table["status"].tolist() == ["removed: wrong antibody", "ok", "ok"]
    assert table["biosample"].tolist() == ["b0", "b1", "b0"]
    assert names_in(path) == ["b0 / a / A0", "b1 / a", "b0 / a"]
    with pytest.raises(StoreError, match=r"would hold b0 / a twice; got A0, A2"):
        restore_experiments(path, ["A0"])
    remove_experiments(path, ["A2"], "the first was right")
    restore_experiments(path, ["A0"])
    status = experiments_of(open_compendium(path))["status"]
    assert status.tolist() == ["ok", "ok", "removed: the first was right"]
    assert names_in(path) == ["b0 / a", "b1 / a", "b0 / a / A2"]
    with pytest.raises(StoreError, match="no such experiment; got A9"):
        remove_experiments(path, ["A9"], "never there")


def test_regions_over_which_a_held_track_cannot_be_read_are_refused_and_nothing_changes(
    catalog, write_bigwig, tmp_path
):
    path = tmp_path / "a.zarr"
    other = {"chr1": 10_010, "chr2": 4_999}  # another length of the chromosome of the regions to add
    short = write_bigwig("1.bw", [("chr1", 0, 9_000, 2.0)], sizes=other)
    ingest(some(catalog, 0, 1), REGIONS, path)
    before = open_compendium(path).load()
    for asked in (some(catalog, 0, 1), some(catalog, 2)):
        with pytest.raises(StoreError, match=r"1 experiment .*A1: .*chr2.*the store was not changed"):
            ingest(asked, MORE, path, append=True)
        assert open_compendium(path).load().identical(before)
    short.unlink()
    with pytest.raises(StoreError, match=r"cannot be read over the regions to add; got A1: .*does not exist"):
        ingest(some(catalog, 2), MORE, path, append=True)
    assert open_compendium(path).load().identical(before)
    remove_experiments(path, ["A1"], "too short")
    assert set(ingest(some(catalog, 2), None, path, append=True)["status"]) >= {"ok"}


def test_a_catalog_whose_files_are_gone_adds_nothing(catalog, tmp_path):
    path = str(tmp_path / "a.zarr")
    ingest(some(catalog, 0, 1, 2), REGIONS, path)
    before, plan = open_compendium(path).load(), stored_plan(path)
    source = tmp_path / "1.bw"
    source.rename(tmp_path / "away.bw")
    with pytest.raises(StoreError, match=r"gone: 1 source of rows that .* already holds; got .*1\.bw"):
        ingest(catalog, None, path, append=True)
    xr.testing.assert_identical(open_compendium(path).load(), before)
    assert stored_plan(path).fingerprint == plan.fingerprint
    (tmp_path / "away.bw").rename(source)
    assert (ingest(catalog, None, path, append=True)["status"] == "ok").all()


def test_a_file_that_changed_is_never_half_old_and_half_new(catalog, write_bigwig, tmp_path):
    """That holds after an interrupted re-read, and when regions are added, named in the catalog or not."""
    path = tmp_path / "a.zarr"
    ingest(some(catalog, 0, 1), REGIONS, path)
    write_bigwig("0.bw", [("chr1", 0, 10_000, 50.0), ("chr2", 0, 5_000, 50.0)])
    ingest(some(catalog, 0, 1), REGIONS, path, part=(1, 3))
    ingest(some(catalog, 2), None, path, append=True)
    row = open_compendium(path).signal[0].to_numpy()
    assert np.allclose(row, np.arcsinh(50.0), atol=1e-3)
    write_bigwig("1.bw", [("chr1", 0, 10_000, 70.0), ("chr2", 0, 5_000, 70.0)])
    ingest(some(catalog, 2), MORE, path, append=True)
    row = open_compendium(path).signal[1].to_numpy()
    assert np.allclose(row, np.arcsinh(70.0), atol=1e-3)


def test_repair_without_sources_gives_nothing_up(catalog, tmp_path):
    path = tmp_path / "a.zarr"
    ingest(some(catalog, 0, 1), REGIONS, path)
    (tmp_path / "small.chrom.sizes").write_text("chr1\t10010\nchr2\t5000\n")
    before = open_compendium(path).signal.to_numpy()
    away = tmp_path / "away"
    away.mkdir()
    for number in (0, 1):
        (tmp_path / f"{number}.bw").rename(away / f"{number}.bw")
    faults = verify(path, sources=True)
    assert faults
    assert not any(fault.repairable for fault in faults)
    forget(path, faults)
    assert np.array_equal(open_compendium(path).signal.to_numpy(), before)
    # a tile that is really damaged is kept as well
    shard = path / "signal" / "c" / "0" / "1"
    shard.write_bytes(shard.read_bytes()[:-9] + b"123456789")
    forget(path, verify(path))
    for asked, append in ((some(catalog, 0, 1), False), (some(catalog, 2), True)):
        with pytest.raises(StoreError, match="gone: "):
            ingest(asked, None if append else REGIONS, path, append=append)
    for number in (0, 1):
        (away / f"{number}.bw").rename(tmp_path / f"{number}.bw")
    ingest(some(catalog, 2), None, path, append=True)
    assert np.array_equal(open_compendium(path).signal[:2].to_numpy(), before)


WRITES = [
    (zarr.storage.LocalStore, "set"),
    (zarr.storage.LocalStore, "set_if_not_exists"),
    (storing, "put_object"),
]
"""All functions that write a file of a store."""


class Killed(Exception):
    pass


def dying(real, count, last):
    """Wrap a function that writes, to die instead of write number `last` and all later ones."""

    def call(*args, **kwargs):
        if next(count) >= last:
            raise Killed
        return real(*args, **kwargs)

    return call


@pytest.mark.parametrize(
    ("what", "stride"),
    [("again", 1), ("remove", 1), ("undo", 1)]
    + [pytest.param(what, 5, marks=pytest.mark.slow) for what in ("experiments", "regions")],
)
def test_killed_at_any_write_the_same_command_completes_it(catalog, tmp_path, monkeypatch, what, stride):
    """Each write in turn is the last; a store that then opens as complete is as before or as after."""

    def prepare(store):
        ingest(some(catalog, 0, 1), REGIONS, store)
        if what == "undo":
            remove_experiments(store, ["A0"], "why")

    def act(store):
        match what:
            case "again":
                ingest(some(catalog, 0, 1), REGIONS, store)
            case "remove":
                remove_experiments(store, ["A0"], "why")
            case "undo":
                restore_experiments(store, ["A0"])
            case "experiments":
                ingest(some(catalog, 2), None, store, append=True)
            case "regions":
                ingest(some(catalog, 0), MORE, store, append=True)

    def seen(store):
        return open_compendium(store).load().drop_attrs(deep=False)

    prepare(tmp_path / "whole.zarr")
    before = seen(tmp_path / "whole.zarr")
    act(tmp_path / "whole.zarr")
    after = seen(tmp_path / "whole.zarr")
    kills = 0
    for last in itertools.count(0, stride):
        path = tmp_path / "a.zarr"
        shutil.rmtree(path, ignore_errors=True)
        prepare(path)
        with monkeypatch.context() as patch:
            count = itertools.count()
            for owner, name in WRITES:
                patch.setattr(owner, name, dying(getattr(owner, name), count, last))
            try:
                act(path)
            except Killed:
                kills += 1
            else:
                break
        with contextlib.suppress(StoreError):
            left = seen(path)
            marked = (
                {"status"} if what in ("remove", "undo") else set()
            )  # the attribute, not this label, decides
            assert any(left.drop_vars(marked).identical(state.drop_vars(marked)) for state in (before, after))
        act(path)
        assert seen(path).identical(after), last
    assert kills >= (1 if what != "again" else 0)


def test_the_whole_catalog_goes_on_with_a_store_that_grew(catalog, tmp_path):
    """Its layout is that of its first experiments, not the one of a new store of all experiments."""
    path = tmp_path / "a.zarr"
    ingest(some(catalog, 0), REGIONS, path)
    ingest(some(catalog, 1, 2), None, path, append=True)
    seen = []
    table = ingest(some(catalog, 0, 1, 2), REGIONS, path, progress=seen.append)
    assert set(table["status"]) == {"ok"}
    assert [progress.tiles_done for progress in seen] == [seen[0].tiles]  # nothing was left to do
