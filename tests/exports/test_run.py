import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pybigtools
import pyBigWig
import pytest

import epixs
from epixs.compendium.lazy import lazy_dataset
from epixs.compendium.plan import Plan
from epixs.compendium.remove import remove
from epixs.compendium.schema import EXPERIMENT_LABELS
from epixs.errors import AxisError, ConfigError, RegionError, StoreError
from epixs.exports import run, tracks
from epixs.exports.bigwig import BigWigWriter
from epixs.genome.assembly import Assembly, load_assembly
from epixs.genome.bed import make_regions
from epixs.storage.tiling import Layout
from tests.worlds import write_store

SIZES = {"chr2": 1_010, "chr10": 500, "chrM": 80}
SMALL = Assembly("mm10", SIZES)
REGIONS = [("chr10", 100, 200), ("chr2", 900, 1_010), ("chr2", 0, 50)]
BINS = 4 + 5 + 2


def values_of(rows):
    rng = np.random.default_rng(5)
    values = np.rint(rng.gamma(1, 1, (rows, BINS)) * 4) / 4  # coarse, so that some neighbours are equal
    values[0, 6] = np.nan
    values[0, :2] = 1.0
    return values


@pytest.fixture
def small(tmp_path):
    """A store of two rows over three regions in an odd order, one of which ends within a bin."""
    return write_store(
        tmp_path / "small.zarr", values_of(2), labels=[("liver", "A"), ("heart", "A")], regions=REGIONS
    )


def per_base(path):
    """Every base of a file, by two readers that agree."""
    with pyBigWig.open(str(path)) as file, pybigtools.open(str(path)) as other:
        found = {chrom: file.values(chrom, 0, size, numpy=True) for chrom, size in file.chroms().items()}
        for chrom, values in found.items():
            np.testing.assert_array_equal(
                other.values(chrom, 0, values.size, uncovered=np.nan, fillna=np.nan), values
            )
    return found


def expected(dataset, row, sizes, of=lambda values: values):
    """Every base, laid out from a store's own table of bins."""
    table = dataset.epixs.bins()
    values = of(dataset.signal[row].to_numpy().astype(np.float64)).astype(np.float32)
    found = {chrom: np.full(size, np.nan, np.float32) for chrom, size in sizes.items()}
    for chrom, start, end, value in zip(table["chrom"], table["start"], table["end"], values, strict=True):
        found[chrom][start:end] = value
    return found


def same(path, want):
    got = per_base(path)
    assert list(got) == list(want)
    for chrom, values in want.items():
        np.testing.assert_array_equal(got[chrom], values)


@pytest.mark.parametrize("raw", [False, True])
def test_files_hold_what_the_store_holds(small, tmp_path, raw):
    made = epixs.export(small, bigwig=tmp_path / "out", raw=raw, assembly=SMALL)
    scale = "raw" if raw else "arcsinh"
    assert made["file"].tolist() == [f"mouse.{b}.A.observed.{scale}.bigWig" for b in ("liver", "heart")]
    dataset = epixs.open_compendium(small)
    for row, file in enumerate(made["file"]):
        same(tmp_path / "out" / file, expected(dataset, row, SIZES, np.sinh if raw else lambda v: v))
    assert made["bases"].tolist() == [100 + 110 + 50 - 25, 100 + 110 + 50]
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*made["file"], "tracks.tsv"])


def test_items_are_whole_and_as_few_as_possible(small, tmp_path):
    made = epixs.export(small, bigwig=tmp_path / "out", biosamples=["liver"], assembly=SMALL)
    values = values_of(2)[0].astype(np.float32)
    with pyBigWig.open(str(tmp_path / "out" / made["file"][0])) as file:
        items = file.intervals("chr10")
        assert items[0] == (100, 150, 1.0)
        last = file.intervals("chr2")[-1]
        assert last[1] == 1_010
        assert last[2] == values[8]
        assert file.intervals("chrM") is None


def test_a_row_over_many_blocks_is_the_same_file(small, tmp_path, monkeypatch):
    whole = epixs.export(small, bigwig=tmp_path / "whole", assembly=SMALL)
    monkeypatch.setattr(tracks, "blocks_of", lambda places: run_blocks(places, 3))
    epixs.export(small, bigwig=tmp_path / "cut", assembly=SMALL)
    for file in whole["file"]:
        assert {
            chrom: values.tolist() for chrom, values in per_base(tmp_path / "cut" / file).items()
        }.__repr__() == {
            chrom: values.tolist() for chrom, values in per_base(tmp_path / "whole" / file).items()
        }.__repr__()
        with (
            pyBigWig.open(str(tmp_path / "cut" / file)) as a,
            pyBigWig.open(str(tmp_path / "whole" / file)) as b,
        ):
            assert [a.intervals(chrom) for chrom in SIZES] == [b.intervals(chrom) for chrom in SIZES]


def run_blocks(places, most):
    from epixs.exports.places import blocks_of

    return blocks_of(places, most)


def test_only_some_regions(small, tmp_path):
    bed = tmp_path / "some.bed"
    bed.write_text("chr2\t910\t930\nchr10\t0\t110\nchr10\t400\t425\n")
    made = epixs.export(small, bigwig=tmp_path / "out", regions=bed, assembly=SMALL)
    assert "1 of 3 regions lie in no store" in made.attrs["notes"][0]
    full = expected(epixs.open_compendium(small), 1, SIZES)
    want = {chrom: np.full(size, np.nan, np.float32) for chrom, size in SIZES.items()}
    want["chr2"][900:950] = full["chr2"][900:950]
    want["chr10"][100:125] = full["chr10"][100:125]
    same(tmp_path / "out" / made["file"][1], want)


def test_rows_are_chosen_by_labels_and_pairs(world, tmp_path):
    store = world.store("mouse")
    table = epixs.open_compendium(store).epixs.experiments
    biosample, assay = table["biosample"][0], table["assay"][3]
    by_biosample = epixs.export(store, bigwig=tmp_path / "a", biosamples=[biosample])
    assert set(by_biosample["biosample"]) == {biosample}
    both = epixs.export(store, bigwig=tmp_path / "b", biosamples=[biosample], assays=[assay])
    assert both[["biosample", "assay"]].to_numpy().tolist() == [[biosample, assay]]
    pairs = [("mouse", table["biosample"][i], table["assay"][i]) for i in (2, 5)]
    by_pair = epixs.export(store, bigwig=tmp_path / "c", pairs=pairs)
    assert by_pair["accession"].tolist() == [table["accession"][2], table["accession"][5]]


@pytest.mark.parametrize(
    ("choice", "match"),
    [
        ({"biosamples": ["livr"]}, "biosample asked for; got 'livr' .did you mean 'liver'"),
        ({"assays": ["B"]}, "assay asked for; got 'B'"),
        ({"pairs": [("mouse", "liver", "B")]}, "pair asked for; got mouse / liver / B"),
        ({"pairs": [("yeast", "liver", "A")]}, "pair asked for; got yeast / liver / A"),
        ({"biosamples": ["liver"], "pairs": [("mouse", "heart", "A")]}, "nothing to export"),
    ],
)
def test_what_is_not_there_is_refused(small, tmp_path, choice, match):
    with pytest.raises(AxisError, match=match):
        epixs.export(small, bigwig=tmp_path / "out", assembly=SMALL, **choice)
    assert not (tmp_path / "out").exists()


def test_removed_rows_are_left_out_and_named(small, tmp_path):
    remove(small, ["liver-A"], reason="wrong antibody")
    made = epixs.export(small, bigwig=tmp_path / "out", assembly=SMALL)
    assert made["biosample"].tolist() == ["heart"]
    assert "liver-A left out: removed: wrong antibody" in made.attrs["notes"][0]


def test_a_row_without_any_value_has_no_file(tmp_path):
    values = values_of(2)
    values[1] = np.nan
    store = write_store(tmp_path / "s.zarr", values, labels=[("a", "A"), ("b", "A")], regions=REGIONS)
    made = epixs.export(store, bigwig=tmp_path / "out", assembly=SMALL)
    assert made["biosample"].tolist() == ["a"]
    assert "no value there, so no file, for 1 of its tracks: b A" in made.attrs["notes"][0]
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*made["file"], "tracks.tsv"])


def test_run_again_writes_what_is_not_there_and_nothing_else(small, tmp_path):
    out = tmp_path / "out"
    first = epixs.export(small, bigwig=out, biosamples=["liver"], assembly=SMALL)
    before = (out / first["file"][0]).stat()
    both = epixs.export(small, bigwig=out, assembly=SMALL)
    assert len(both) == 2
    after = (out / first["file"][0]).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    (out / both["file"][0]).write_bytes(b"cut")
    again = epixs.export(small, bigwig=out, assembly=SMALL)
    pd.testing.assert_frame_equal(again, both, check_dtype=False)
    same(out / both["file"][0], expected(epixs.open_compendium(small), 0, SIZES))


def test_other_regions_or_another_store_write_files_anew(small, tmp_path):
    out = tmp_path / "out"
    epixs.export(small, bigwig=out, assembly=SMALL)
    bed = tmp_path / "some.bed"
    bed.write_text("chr2\t0\t50\n")
    made = epixs.export(small, bigwig=out, regions=bed, assembly=SMALL)
    assert made["bases"].tolist() == [50, 50]
    assert "2 files of an earlier export, of other regions or values, were replaced" in made.attrs["notes"][0]
    made = epixs.export(small, bigwig=out, assembly=SMALL)
    assert made["bases"].tolist() == [235, 260]


def test_a_file_of_before_goes_if_nothing_takes_its_place(tmp_path):
    values = values_of(2)
    values[1, 4:9] = np.nan  # all of chr2:900-1,010
    store = write_store(tmp_path / "s.zarr", values, labels=[("a", "A"), ("b", "A")], regions=REGIONS)
    epixs.export(store, bigwig=tmp_path / "out", assembly=SMALL)
    (tmp_path / "some.bed").write_text("chr2\t900\t1000\n")
    made = epixs.export(store, bigwig=tmp_path / "out", assembly=SMALL, regions=tmp_path / "some.bed")
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*made["file"], "tracks.tsv"])


def test_a_table_of_an_earlier_version_has_no_roles(small, tmp_path):
    made = epixs.export(small, bigwig=tmp_path / "out", assembly=SMALL)
    table = pd.read_csv(tmp_path / "out" / "tracks.tsv", sep="\t", dtype=str, keep_default_na=False)
    table.drop(columns="role").to_csv(tmp_path / "out" / "tracks.tsv", sep="\t", index=False)
    again = epixs.export(small, bigwig=tmp_path / "out", assembly=SMALL)
    pd.testing.assert_frame_equal(again, made, check_dtype=False)


def test_regions_of_one_of_two_stores(small, tmp_path):
    place = [("chr2", 2_000, 2_100)]
    other = write_store(tmp_path / "o.zarr", np.ones((1, 4)), labels=[("c", "A")], regions=place)
    sizes = Assembly("mm10", SIZES | {"chr2": 3_000})
    (tmp_path / "some.bed").write_text("chr2\t2000\t2050\n")
    both = {"bigwig": tmp_path / "out", "assembly": sizes, "regions": tmp_path / "some.bed"}
    assert epixs.export([small, other], **both)["biosample"].tolist() == ["c"]
    with pytest.raises(RegionError, match="none of the regions of .*some.bed lies in .*small.zarr"):
        epixs.export(small, **both)


@pytest.mark.parametrize("where", ["add", "close"])
def test_a_crash_leaves_no_file_that_could_pass_for_whole(small, tmp_path, monkeypatch, where):
    def crash(*_):
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as broken:
        broken.setattr(BigWigWriter, where, crash)
        with pytest.raises(KeyboardInterrupt):
            epixs.export(small, bigwig=out, assembly=SMALL)
    assert os.listdir(out) == ["tracks.tsv"]
    (out / "partial-mouse.liver.A.observed.arcsinh.bigWig").write_bytes(b"what a kill leaves")
    made = epixs.export(small, bigwig=out, assembly=SMALL)
    assert sorted(os.listdir(out)) == sorted([*made["file"], "tracks.tsv"])
    same(out / made["file"][0], expected(epixs.open_compendium(small), 0, SIZES))


def test_a_link_under_a_files_name_is_replaced_and_not_written_through(small, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "tracks.tsv").write_text("")
    os.unlink(out / "tracks.tsv")
    precious = tmp_path / "precious"
    precious.write_text("mine")
    epixs.export(small, bigwig=out, biosamples=["heart"], assembly=SMALL)
    (out / "mouse.liver.A.observed.arcsinh.bigWig").symlink_to(precious)
    (out / "partial-mouse.liver.A.observed.arcsinh.bigWig").symlink_to(precious)
    epixs.export(small, bigwig=out, assembly=SMALL)
    assert precious.read_text() == "mine"
    assert not (out / "mouse.liver.A.observed.arcsinh.bigWig").is_symlink()


def test_hostile_labels_stay_in_the_folder(tmp_path):
    labels = [("../../up", "a/b"), ("a\nb", "<script>"), ("Liver", "A"), ("liver", "A"), ("x" * 400, "A")]
    store = write_store(tmp_path / "s.zarr", values_of(5), labels=labels, regions=REGIONS)
    made = epixs.export(store, bigwig=tmp_path / "out", assembly=SMALL)
    assert len(set(made["file"].str.lower())) == 5
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*made["file"], "tracks.tsv"])
    for row, file in enumerate(made["file"]):
        same(tmp_path / "out" / file, expected(epixs.open_compendium(store), row, SIZES))
    again = epixs.export(store, bigwig=tmp_path / "out", assembly=SMALL)
    assert again["file"].tolist() == made["file"].tolist()


def test_many_rows_on_threads_and_workers_give_the_same_bytes(tmp_path):
    rows = 19
    store = write_store(
        tmp_path / "s.zarr",
        values_of(rows),
        labels=[(f"b{i}", "A") for i in range(rows)],
        regions=REGIONS,
        layout=Layout(4, 5, 10),
    )
    folders = {"alone": None, "threads": ThreadPoolExecutor(2)}
    with epixs.open_client(2) as client:
        for name, how in (folders | {"workers": client}).items():
            steps = []
            made = epixs.export(
                store, bigwig=tmp_path / name, assembly=SMALL, client=how, progress=steps.append
            )
            assert len(made) == rows
            assert steps[0].tiles_done == 0
            assert steps[-1].tiles_done == steps[-1].tiles == rows * BINS
    folders["threads"].shutdown()
    for file in made["file"]:
        one, two, three = ((tmp_path / name / file).read_bytes() for name in ("alone", "threads", "workers"))
        assert one == two == three


def test_what_a_model_imputes_is_written_without_a_store(trained, world, held_out, tmp_path):
    lazy = epixs.open_imputed(trained, world.store("mouse"), pairs=held_out)
    made = epixs.export(lazy, bigwig=tmp_path / "lazy", raw=True)
    epixs.impute(trained, world.store("mouse"), tmp_path / "imputed.zarr", pairs=held_out)
    stored = epixs.export(tmp_path / "imputed.zarr", bigwig=tmp_path / "stored", raw=True)
    assert made["file"].tolist() == stored["file"].tolist()
    assert set(made["kind"]) == {"imputed"}
    dataset = epixs.open_compendium(tmp_path / "imputed.zarr")
    sizes = load_assembly("mm10").chrom_sizes
    for row, file in enumerate(made["file"]):
        assert (tmp_path / "lazy" / file).read_bytes() == (tmp_path / "stored" / file).read_bytes()
        with pyBigWig.open(str(tmp_path / "lazy" / file)) as bigwig:
            assert list(bigwig.chroms()) == list(sizes)
            # No value beyond what the assay has shown in training.
            bound = trained.bounds[str(dataset["assay"].to_numpy()[row])][1]
            assert bigwig.header()["maxVal"] <= np.sinh(bound) * (1 + 1e-3)
            want = np.sinh(dataset.signal[row].to_numpy().astype(np.float64)).astype(np.float32)
            region = dataset.epixs.regions
            got = bigwig.values(region.chrom[0], region.start[0], region.end[0], numpy=True)[::25]
            np.testing.assert_array_equal(got, want[: got.size])


@pytest.mark.slow
def test_blocks_of_a_model_travel_to_workers(trained, world, held_out, tmp_path):
    lazy = epixs.open_imputed(trained, world.store("mouse"), pairs=held_out)
    here = epixs.export(lazy, bigwig=tmp_path / "here")
    with epixs.open_client(1) as client:
        there = epixs.export(lazy, bigwig=tmp_path / "there", client=client)
    assert here["file"].tolist() == there["file"].tolist()
    for file in here["file"]:
        with (
            pyBigWig.open(str(tmp_path / "here" / file)) as one,
            pyBigWig.open(str(tmp_path / "there" / file)) as two,
        ):
            assert one.header()["nBasesCovered"] == two.header()["nBasesCovered"]


def test_observed_and_imputed_of_one_pair_have_files_of_their_own(trained, world, held_out, tmp_path):
    lazy = epixs.open_imputed(trained, world.store("mouse"), pairs=held_out)
    made = epixs.export([world.store("mouse"), lazy], bigwig=tmp_path / "out", pairs=held_out)
    assert sorted(made["kind"]) == ["imputed"] * len(held_out) + ["observed"] * len(held_out)
    assert made["file"].is_unique


@pytest.mark.parametrize("raw", [False, True])
def test_ends_of_the_interval_are_files_of_their_own(small, tmp_path, raw):
    spread = np.random.default_rng(6).gamma(1, 1, (2, BINS)).astype(np.float32)
    spread[0, 3] = np.nan
    spread[1] = np.nan  # not known of this row
    dataset = epixs.open_compendium(small).assign(spread=(("experiment", "bin"), spread))
    made = epixs.export(dataset, bigwig=tmp_path / "out", raw=raw, interval=True, assembly=SMALL)
    assert made["line"].tolist() == ["signal", "lower", "upper", "signal"]
    scale = "raw" if raw else "arcsinh"
    assert made["file"][1] == f"mouse.liver.A.observed.lower.{scale}.bigWig"
    (note,) = made.attrs["notes"]
    assert note.endswith("no interval known, so no file, for 1 of its tracks: heart A")
    for line, sign in (("signal", 0), ("lower", -1), ("upper", 1)):
        shift = np.float32(sign * 1.2816) * spread if sign else np.float32(0)
        there = dataset.assign(signal=dataset.signal + shift)
        file = made.loc[(made["line"] == line).idxmax(), "file"]
        same(tmp_path / "out" / file, expected(there, 0, SIZES, np.sinh if raw else lambda v: v))
    again = epixs.export(dataset, bigwig=tmp_path / "out", raw=raw, assembly=SMALL)
    assert again["line"].tolist() == ["signal", "signal"]


def test_an_interval_that_no_store_has_is_refused(small, tmp_path):
    with pytest.raises(ConfigError, match="--interval; got no store with a `spread`"):
        epixs.export(small, bigwig=tmp_path / "out", interval=True, assembly=SMALL)
    assert not (tmp_path / "out").exists()


def test_a_part_of_a_compendium_is_refused(small, tmp_path):
    part = epixs.open_compendium(small).isel(bin=slice(3))
    with pytest.raises(StoreError, match="3 of 11 bins"):
        epixs.export(part, bigwig=tmp_path / "out", assembly=SMALL)
    with pytest.raises(StoreError, match="no attribute assembly, plan, species"):
        epixs.export(part.assign_attrs({}).drop_attrs(), bigwig=tmp_path / "out")


def test_values_missing_where_none_may_be_are_no_gap(world, tmp_path):
    dataset = epixs.open_compendium(world.store("mouse"))
    dataset["signal"] = dataset.signal.where(dataset.bin_index != 7)
    with pytest.raises(StoreError, match="lacks values; got 1 bins"):
        epixs.export(dataset, bigwig=tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["tracks.tsv"]


def test_values_that_no_track_can_hold_are_refused(small, tmp_path):
    dataset = epixs.open_compendium(small)
    dataset["signal"] = dataset.signal + 200
    with pytest.raises(StoreError, match="a value that no track can hold"):
        epixs.export(dataset, bigwig=tmp_path / "out", raw=True, assembly=SMALL)


def test_a_folder_with_something_else_is_refused(small, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "x").write_text("")
    (tmp_path / "file").write_text("")
    for folder, match in (
        ("precious", "is not empty"), ("file", "is a file"), ("no/where", "no folder"), ("s3://a/b", "local folder"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=match):
            epixs.export(small, bigwig=folder if "://" in folder else tmp_path / folder, assembly=SMALL)
    for both in ({}, {"bigwig": tmp_path / "a", "hub": tmp_path / "b"}):
        with pytest.raises(ConfigError, match="one of them"):
            epixs.export(small, assembly=SMALL, **both)


def test_an_assembly_of_ones_own_is_found_beside_the_store_or_in_it(panel, tmp_path):
    catalog, regions = panel
    epixs.ingest(catalog, regions, tmp_path / "deep.zarr")
    beside = epixs.export(tmp_path / "deep.zarr", bigwig=tmp_path / "out")
    os.rename(tmp_path / "small.chrom.sizes", tmp_path / "elsewhere")
    within = epixs.export(tmp_path / "deep.zarr", bigwig=tmp_path / "out2")
    assert beside["file"].tolist() == within["file"].tolist()
    assert len(within) == 3
    held = set(epixs.open_compendium(tmp_path / "deep.zarr").region_chrom.to_numpy())
    for file in within["file"]:
        some, every = per_base(tmp_path / "out2" / file), per_base(tmp_path / "out" / file)
        assert set(some) == held
        for chrom, values in some.items():
            np.testing.assert_array_equal(values, every[chrom])


def test_a_store_that_does_not_know_its_chromosomes_is_refused(tmp_path):
    signal = values_of(1)
    store = write_store(
        tmp_path / "s.zarr", signal, labels=[("liver", "A")], regions=REGIONS, assembly="mine"
    )
    with pytest.raises(RegionError, match="unknown assembly"):
        epixs.export(store, bigwig=tmp_path / "out")


def test_a_damaged_table_is_not_believed(small, tmp_path):
    epixs.export(small, bigwig=tmp_path / "out", assembly=SMALL)
    table = tmp_path / "out" / run.TABLE
    table.write_text(table.read_text().replace("\t260\t", "\tmany\t"))
    with pytest.raises(StoreError, match="damaged"):
        epixs.export(small, bigwig=tmp_path / "out", assembly=SMALL)


def test_the_range_for_display_holds_all_but_a_few_bins(tmp_path):
    values = np.linspace(0, 5, 10_000)[None]
    values[0, -3:] = 15.0
    values[0, 0] = -2.0
    store = write_store(tmp_path / "s.zarr", values, labels=[("a", "A")])
    for raw in (False, True):
        made = epixs.export(store, bigwig=tmp_path / str(raw), raw=raw)
        high = np.arcsinh(made["high"][0]) if raw else made["high"][0]
        assert 4.9 < high < 5.1
        assert made["low"][0] == 0.0


def test_ucscs_own_reader_finds_what_the_store_holds(small, tmp_path):
    bbi = pytest.importorskip("bbi", reason="pybbi is not installed")
    made = epixs.export(small, bigwig=tmp_path / "out", assembly=SMALL)
    dataset = epixs.open_compendium(small)
    for row, file in enumerate(made["file"]):
        want = expected(dataset, row, SIZES)
        with bbi.open(str(tmp_path / "out" / file)) as found:
            assert found.chromsizes == SIZES
            for chrom, values in want.items():
                np.testing.assert_array_equal(
                    found.fetch(chrom, 0, values.size, missing=np.nan), values.astype(np.float64)
                )
            known = np.concatenate(list(want.values()))
            known = known[~np.isnan(known)]
            assert found.info["summary"]["basesCovered"] == known.size
            assert found.info["summary"]["max"] == known.max()


UNTIL_KILLED = """
import sys
import epixs
from epixs.exports.bigwig import BigWigWriter
from epixs.genome.assembly import Assembly

def halt(*_):
    print("here", flush=True)
    sys.stdin.read()

setattr(BigWigWriter, sys.argv[3], halt)
epixs.export(sys.argv[1], bigwig=sys.argv[2], assembly=Assembly("mm10", {"chr2": 1_010, "chr10": 500, "chrM": 80}))
"""


@pytest.mark.parametrize("where", ["add", "close"])
def test_a_kill_leaves_no_file_under_a_final_name(small, tmp_path, where):
    out = tmp_path / "out"
    command = [sys.executable, "-c", UNTIL_KILLED, str(small), str(out), where]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "here\n"
        process.kill()
        assert process.wait() == -9
    left = os.listdir(out)
    assert any(name.startswith("partial-") for name in left)
    assert [name for name in left if not name.startswith("partial-")] == ["tracks.tsv"]
    made = epixs.export(small, bigwig=out, assembly=SMALL)
    assert sorted(os.listdir(out)) == sorted([*made["file"], "tracks.tsv"])
    for row, file in enumerate(made["file"]):
        same(out / file, expected(epixs.open_compendium(small), row, SIZES))


def test_a_draft_assembly_of_100_000_scaffolds(tmp_path):
    sizes = {f"scaffold_{number:06d}": 30 + number % 21 for number in range(100_000)}  # two bins each
    draft = Assembly("mm10", sizes)
    regions, _ = make_regions(draft, [(chrom, 0, size, chrom) for chrom, size in sizes.items()])
    assert regions.n_bins == 200_000
    values = np.arange(200_000, dtype=np.float32) % 79 / 8
    labels = dict.fromkeys([variable.name for variable in EXPERIMENT_LABELS], "x") | {"source_size": -1}
    plan = Plan("imputed", "mouse", pd.DataFrame([labels]), regions, "zero", {})
    dataset = lazy_dataset(plan, lambda tile: values[None, tile.first_bin : tile.stop_bin], bins=1 << 16)
    (file,) = epixs.export(dataset, bigwig=tmp_path / "out", assembly=draft)["file"]
    with pyBigWig.open(str(tmp_path / "out" / file)) as found:
        assert found.chroms() == sizes
        assert found.header()["nBasesCovered"] == sum(sizes.values())
        for number in (0, 1, 4_567, 50_000, 99_998, 99_999):
            chrom = f"scaffold_{number:06d}"
            first, second = values[2 * number : 2 * number + 2].tolist()
            items = [(0, 25, first), (25, sizes[chrom], second)]
            assert list(found.intervals(chrom)) == items
