import json
import re
import shutil

import numpy as np
import pytest
import xarray as xr
import zarr

from epixs.compendium import create
from epixs.compendium import read as reading
from epixs.compendium.create import create_store, prepare_store
from epixs.compendium.read import experiments_of, open_compendium, read_attributes, regions_of, stored_plan
from epixs.compendium.remove import remove_experiments, restore_experiments
from epixs.compendium.status import store_status
from epixs.compendium.summary import row_statistics
from epixs.compendium.write import finalise, write_block
from epixs.errors import StoreError
from epixs.storage.ledger import Record, write_record
from epixs.storage.store import open_store
from epixs.storage.tiling import Tile
from tests.compendium.test_plan import plan_of


@pytest.fixture
def plan():
    return plan_of(20, 40_000)


def fill(path, plan, skip=()):
    """Write every tile except some; returns the values."""
    values = np.random.default_rng(0).random((plan.n_experiments, plan.n_bins), dtype=np.float32)
    store = open_store(path)
    for tile in plan.tiles():
        if tile.key in skip:
            continue
        block = values[tile.first_row : tile.stop_row, tile.first_bin : tile.stop_bin]
        write_block(store, tile, block)
        write_record(store, tile.key, Record("f", [row_statistics(row, 25, 25) for row in block]))
    return values


def by_f(tile, record):
    return record.fingerprint == "f"


def test_plain_xarray_reads_what_was_written(tmp_path, plan):
    path = tmp_path / "a.zarr"
    create_store(path, plan)
    values = fill(path, plan)
    finalise(open_store(path), plan, by_f)
    with xr.open_zarr(path) as dataset:
        assert dataset.signal.dims == ("experiment", "bin")
        assert dataset.signal.dtype == np.float32
        assert np.array_equal(dataset.signal.to_numpy(), values)
        assert {"biosample", "assay", "assay_class", "accession"} <= set(dataset.coords)
        assert dataset.region_first_bin.to_numpy().tolist() == [0]
        assert dataset.attrs["status"] == "complete"
        assert str(dataset.biosample.to_numpy()[3]) == "biosample3"
        assert np.allclose(dataset.signal_mean, values.mean(axis=1), atol=1e-5)


def test_a_missing_tile_reads_as_nan_and_the_store_cannot_be_finished(tmp_path, plan):
    path = tmp_path / "a.zarr"
    create_store(path, plan)
    fill(path, plan, skip={(1, 0)})
    with pytest.raises(StoreError, match=r"tile 1/0 is not written.*Run the same command again"):
        finalise(open_store(path), plan, by_f)
    dataset = open_compendium(path, unfinished=True)
    assert np.isnan(dataset.signal[16:].to_numpy()).all()
    assert not np.isnan(dataset.signal[:16].to_numpy()).any()


def test_tiles_written_from_something_else_cannot_be_finished(tmp_path, plan):
    create_store(tmp_path / "a.zarr", plan)
    fill(tmp_path / "a.zarr", plan)
    with pytest.raises(StoreError, match="not written"):
        finalise(open_store(tmp_path / "a.zarr"), plan, lambda tile, record: tile.row_group == 0)


def test_readers_refuse_an_unfinished_store(tmp_path, plan):
    create_store(tmp_path / "a.zarr", plan)
    with pytest.raises(StoreError, match=r"unfinished; got status 'unfinished'; expected 'complete'"):
        open_compendium(tmp_path / "a.zarr")


def test_part_of_a_shard_is_never_written(tmp_path, plan):
    create_store(tmp_path / "a.zarr", plan)
    with pytest.raises(StoreError, match="not one whole shard"):
        write_block(
            open_store(tmp_path / "a.zarr"), Tile(0, 0, 0, 8, 0, 40_000), np.zeros((8, 40_000), np.float32)
        )
    with pytest.raises(StoreError, match="not one whole shard"):
        write_block(
            open_store(tmp_path / "a.zarr"), Tile(0, 0, 0, 16, 0, 40_000), np.zeros((8, 40_000), np.float32)
        )


def test_zeros_are_written_not_skipped(tmp_path, plan):
    path = tmp_path / "a.zarr"
    create_store(path, plan)
    tile = next(plan.tiles())
    write_block(open_store(path), tile, np.zeros((16, 40_000), np.float32))
    assert (open_compendium(path, unfinished=True).signal[:16].to_numpy() == 0).all()


@pytest.mark.parametrize("content", ["nothing", "file", "folder", "foreign", "version"])
def test_foreign_stores_are_refused_and_left_alone(tmp_path, plan, content):
    path = tmp_path / "a.zarr"
    expected = {
        "nothing": "does not exist",
        "file": "is a file",
        "folder": "is no store",
        "foreign": "epixs did not write",
        "version": "another schema version; got 99",
    }[content]
    if content == "file":
        path.write_text("hello")
    elif content == "folder":
        path.mkdir()
        (path / "thesis.docx").write_text("precious")
    elif content in ("foreign", "version"):
        zarr.create_group(
            path, attributes={"epixs_schema": "99"} if content == "version" else {"title": "ERA5"}
        )
    with pytest.raises(StoreError, match=expected):
        read_attributes(path)
    if content != "nothing":
        with pytest.raises(StoreError):
            prepare_store(path, plan)
    if content == "folder":
        assert (path / "thesis.docx").read_text() == "precious"


def test_a_folder_of_unfinished_downloads_is_not_ours(tmp_path, plan):
    path = tmp_path / "downloads"
    path.mkdir()
    (path / "ENCFF1.bigWig.partial").write_text("precious")
    with pytest.raises(StoreError, match="not a Zarr group"):
        prepare_store(path, plan)
    assert (path / "ENCFF1.bigWig.partial").read_text() == "precious"


def test_another_plan_is_refused_naming_what_differs(tmp_path, plan):
    prepare_store(tmp_path / "a.zarr", plan)
    prepare_store(tmp_path / "a.zarr", plan)  # the same plan continues
    with pytest.raises(StoreError, match=r"got uncovered nan, the store has zero"):
        prepare_store(tmp_path / "a.zarr", plan_of(20, 40_000, uncovered="nan"))


def test_a_store_whose_creation_was_cut_short_is_created_again(tmp_path, plan, monkeypatch):
    path = tmp_path / "a.zarr"

    class Killed(Exception):
        pass

    def stop(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("epixs.compendium.create._write_labels", stop)
        with pytest.raises(Killed):
            create_store(path, plan)
    prepare_store(path, plan)
    assert store_status(path).tiles == 2
    assert "creating" not in zarr.open_group(path, mode="r").attrs


@pytest.mark.parametrize("shape", [None, (1, 1), (9,)])
def test_a_store_without_its_ledger_is_not_made_anew(tmp_path, plan, shape):
    """The signal may exist only in the store, if the sources are gone."""
    path = tmp_path / "a.zarr"
    create_store(path, plan)
    fill(path, plan)
    finalise(open_store(path), plan, by_f)
    shutil.rmtree(path / "ledger" / "record")
    if shape:
        zarr.create_array(path / "ledger" / "record", shape=shape, dtype="string")
    with pytest.raises(StoreError, match="its ledger is missing or damaged"):
        prepare_store(path, plan)
    assert np.isfinite(open_compendium(path).signal.to_numpy()).any()


def test_a_fill_value_that_would_pass_for_signal_is_refused(tmp_path, plan):
    path = tmp_path / "a.zarr"
    create_store(path, plan)
    fill(path, plan)
    finalise(open_store(path), plan, by_f)
    for name in ("zarr.json", "signal/zarr.json"):
        text = (path / name).read_text()
        (path / name).write_text(text.replace('"fill_value": "NaN"', '"fill_value": 0.0'))
    with pytest.raises(StoreError, match=r"fill value of its signal; got 0\.0; expected NaN"):
        open_compendium(path)


def test_damaged_metadata_is_refused_before_anything_is_allocated(tmp_path, plan):
    path = tmp_path / "a.zarr"
    create_store(path, plan)
    fill(path, plan)
    finalise(open_store(path), plan, by_f)
    metadata = json.loads((path / "zarr.json").read_text())
    signal = metadata["consolidated_metadata"]["metadata"]["signal"]
    signal["shape"] = [1 << 40, 40_000]
    (path / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(StoreError, match="damaged|impossible"):
        open_compendium(path)


@pytest.mark.parametrize("removed", [5, ["a"], {"A0": 5}])
def test_damaged_marks_are_refused_not_taken_for_none(tmp_path, plan, removed):
    path = tmp_path / "a.zarr"
    create_store(path, plan)
    zarr.open_group(path, mode="r+").attrs["removed"] = removed
    for read in (store_status, stored_plan):
        with pytest.raises(StoreError, match="damaged: removed"):
            read(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda growth: 5,
        lambda growth: [],
        lambda growth: growth | {"kind": 5},
        lambda growth: growth | {"provenance": None},
        lambda growth: growth | {"regions": [["a"], [1], [0], [25]]},
        lambda growth: growth | {"regions": [["a"], ["chr1"], ["0"], [25]]},
        lambda growth: growth | {"regions": [["a"], ["chr1"], [0], [1 << 80]]},
        lambda growth: growth | {"experiments": 5},
        lambda growth: growth | {"experiments": {}},
        lambda growth: growth | {"experiments": growth["experiments"] | {"assay": [5] * 20}},
        lambda growth: growth | {"experiments": growth["experiments"] | {"assay": ["a"]}},
        lambda growth: growth | {"experiments": growth["experiments"] | {"source_size": ["x"] * 20}},
        lambda growth: growth | {"experiments": growth["experiments"] | {"source_size": [1 << 80] * 20}},
        lambda growth: growth | {"chrom_sizes": {"chr1": 1 << 80}},
    ],
)
def test_damaged_growth_is_refused(tmp_path, plan, change):
    path = tmp_path / "a.zarr"
    create_store(path, plan)
    zarr.open_group(path, mode="r+").attrs["growth"] = change(plan.to_dict())
    with pytest.raises(StoreError, match="damaged: attribute growth"):
        stored_plan(path)


def test_damaged_attributes_of_the_signal_are_refused(tmp_path, plan):
    path = tmp_path / "a.zarr"
    create_store(path, plan)
    for name in ("zarr.json", "signal/zarr.json"):
        text = (path / name).read_text()
        (path / name).write_text(re.sub(r'"coordinates": "[^"]*"', '"coordinates": 5', text))
    with pytest.raises(StoreError, match="metadata contradict each other"):
        open_compendium(path, unfinished=True)


def test_a_record_without_a_row_is_damage(tmp_path, plan):
    path = tmp_path / "a.zarr"
    create_store(path, plan)
    fill(path, plan)
    finalise(open_store(path), plan, by_f)
    write_record(open_store(path), (0, 0), Record("f", []))
    with pytest.raises(StoreError, match="ledger of row group 0 is damaged"):
        remove_experiments(path, [plan.experiments["accession"].iloc[0]], "why")


def test_tables_round_trip(tmp_path, plan):
    create_store(tmp_path / "a.zarr", plan)
    dataset = open_compendium(tmp_path / "a.zarr", unfinished=True)
    assert regions_of(dataset) == plan.regions
    assert experiments_of(dataset)["assay"].tolist() == plan.experiments["assay"].tolist()


def test_status(tmp_path, plan):
    path = tmp_path / "a.zarr"
    create_store(path, plan)
    empty = row_statistics(np.full(9, np.nan, dtype=np.float32), 25, 0)
    rows = [{"error": "x.bigWig is empty"}] + [empty] * 15
    write_record(open_store(path), (0, 0), Record("f", rows))
    state = store_status(path)
    assert (state.status, state.tiles_done, state.tiles) == ("unfinished", 1, 2)
    assert state.failed == [("accession0", "x.bigWig is empty")]


def test_nothing_is_written_through_a_link_that_leads_out(tmp_path, plan):
    path = tmp_path / "a.zarr"
    create_store(path, plan)
    (tmp_path / "elsewhere").mkdir()
    (path / "signal" / "c").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(StoreError, match=r"leads out of .*a\.zarr.*Remove the symbolic link"):
        fill(path, plan)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.fixture
def finished(tmp_path, plan):
    create_store(tmp_path / "a.zarr", plan)
    fill(tmp_path / "a.zarr", plan)
    finalise(open_store(tmp_path / "a.zarr"), plan, by_f)
    return tmp_path / "a.zarr"


def save(dataset, path):
    """Save as a user of xarray would."""
    dataset.drop_encoding().load().to_zarr(path, zarr_format=3, consolidated=False)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (
            lambda d: d.isel(bin=slice(100, 20_000)),
            "does not hold the bins.*got 19,900 bins; expected the 40,000",
        ),
        (lambda d: d.isel(bin=slice(None, None, -1)), "does not hold the bins.*in another order"),
        (lambda d: d.isel(experiment=[0, 1]), "not those that the store was made with; got 2 experiments"),
        (
            lambda d: d.assign_coords(
                kind=("experiment", np.array(["observed"] * 19 + ["imputed"], dtype=object))
            ),
            "says it is observed",
        ),
    ],
)
def test_what_was_cut_from_a_store_and_saved_is_not_taken_for_whole(tmp_path, finished, cut, message):
    save(cut(open_compendium(finished)), tmp_path / "b.zarr")
    with pytest.raises(StoreError, match=message):
        open_compendium(tmp_path / "b.zarr")


def test_a_whole_copy_by_xarray_is_a_store(tmp_path, finished):
    save(open_compendium(finished), tmp_path / "b.zarr")
    assert open_compendium(tmp_path / "b.zarr").signal.equals(open_compendium(finished).signal)


def test_rows_of_another_kind_appended_to_a_store_are_found(tmp_path, finished):
    rows = open_compendium(finished).isel(experiment=[0, 1])
    rows["kind"][:] = "imputed"
    per_row = [name for name in rows.variables if rows[name].dims[:1] == ("experiment",)]
    others = [name for name in rows.variables if name not in per_row]
    rows = rows.drop_vars(others).drop_encoding().load()
    rows.to_zarr(finished, append_dim="experiment", zarr_format=3, consolidated=False)
    assert xr.open_zarr(finished, consolidated=False).sizes["experiment"] == 22
    create.consolidate(open_store(finished).group.store)
    with pytest.raises(StoreError, match="experiments that are imputed and observed; expected only observed"):
        open_compendium(finished)


def make_earlier(path):
    """Remove the variables and attributes that stores of earlier versions lack."""
    added = ("experiment", "kind", "bin_index")
    root = zarr.open_group(path, mode="r+", use_consolidated=False)
    names = root["signal"].attrs["coordinates"].split()
    root["signal"].attrs["coordinates"] = " ".join(name for name in names if name not in added)
    for name in added:
        shutil.rmtree(path / name)
    for _, array in root.arrays():
        array.attrs.put({name: value for name, value in array.attrs.items() if name != "missing_value"})
    create.consolidate(open_store(path).group.store)


def test_stores_of_earlier_versions_open_and_are_brought_up_to_date(finished, plan):
    new = open_compendium(finished)
    make_earlier(finished)
    dataset = open_compendium(finished)
    assert dataset.identical(new)
    assert dataset.assay.dtype == object
    assert dataset.kind.to_numpy().tolist() == ["observed"] * 20
    assert dataset.experiment.to_numpy()[3] == "biosample3 / assay3"
    assert dataset.isel(bin=slice(10, 20)).epixs.bins()["bin"].tolist() == list(range(10, 20))
    finalise(open_store(finished), plan, by_f)  # as the same command does
    with xr.open_zarr(finished) as again:
        assert {"experiment", "kind", "bin_index"} <= set(again.coords)
        assert again.assay.dtype == object
        assert again.experiment.to_numpy().tolist() == dataset.experiment.to_numpy().tolist()
        assert np.array_equal(again.bin_index, np.arange(40_000))


def test_removing_from_a_store_of_an_earlier_version_does_not_half_update_it(finished, plan):
    make_earlier(finished)
    remove_experiments(finished, ["accession3"], "why")
    assert "experiment" not in zarr.open_group(finished, mode="r")
    assert open_compendium(finished).experiment.to_numpy()[3] == "biosample3 / assay3 / accession3"
    finalise(open_store(finished), plan, by_f)
    with xr.open_zarr(finished) as again:
        assert again.experiment.to_numpy()[3] == "biosample3 / assay3 / accession3"
        assert again.status.to_numpy()[3] == "removed: why"
        assert again.md5sum.dtype == object


def test_a_removed_experiment_gives_up_its_name(finished):
    def names():
        with xr.open_zarr(finished) as dataset:
            assert (
                dataset.experiment.to_numpy().tolist()
                == open_compendium(finished).experiment.to_numpy().tolist()
            )
            return dataset.experiment.to_numpy()[:2].tolist()

    assert names() == ["biosample0 / assay0", "biosample1 / assay1"]
    remove_experiments(finished, ["accession1"], "why")
    assert names() == ["biosample0 / assay0", "biosample1 / assay1 / accession1"]
    restore_experiments(finished, ["accession1"])
    assert names() == ["biosample0 / assay0", "biosample1 / assay1"]


@pytest.mark.parametrize("name", ["experiment", "bin", "region"])
def test_what_has_the_name_of_a_dimension_is_not_loaded_by_its_size(finished, name):
    """xarray loads such variables when it opens a store."""
    huge = {"shape": (1 << 50,), "chunks": (1 << 50,), "dtype": "int64", "dimension_names": (name,)}
    zarr.open_group(finished, mode="r+").create_array(name, overwrite=True, **huge)
    create.consolidate(open_store(finished).group.store)
    assert open_compendium(finished).sizes["experiment"] == 20


def test_a_damaged_bin_index_is_refused(finished):
    index = zarr.open_array(finished, path="bin_index", mode="r+")
    index[7] = 8
    with pytest.raises(StoreError, match="does not hold the bins of its regions"):
        open_compendium(finished)


def test_many_bins_are_numbered_chunk_by_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "INDEX_CHUNK", 1_000)
    monkeypatch.setattr(create, "INDEX_CHUNK", 1_000)
    plan = plan_of(2, 5_500)
    create_store(tmp_path / "a.zarr", plan)
    assert open_compendium(tmp_path / "a.zarr", unfinished=True).bin_index.to_numpy().tolist() == [
        *range(5_500)
    ]
    index = zarr.open_array(tmp_path / "a.zarr", path="bin_index", mode="r+")
    assert index.chunks == (1_000,)
    index[5_400] = 0
    with pytest.raises(StoreError, match="does not hold the bins"):
        open_compendium(tmp_path / "a.zarr", unfinished=True)
