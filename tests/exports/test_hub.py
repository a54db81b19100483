import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

import epixs
from epixs.cli.app import app
from epixs.errors import ConfigError, RegionError
from epixs.exports.colours import COLOURS, colour_of
from epixs.exports.hub_check import UCSC_ASSEMBLIES, check_hub
from epixs.exports.twobit import two_bit_sizes, write_unknown_sequence
from epixs.genome.assembly import known_assemblies
from tests.exports.test_names import HOSTILE
from tests.worlds import write_store


def stanzas(path):
    """Stanzas of a hub's file, read as simply as can be."""
    blocks = path.read_text().strip().split("\n\n")
    return [dict(line.split(" ", 1) for line in block.splitlines()) for block in blocks]


@pytest.fixture(scope="module")
def both(trained, world, held_out, tmp_path_factory):
    """A hub of observed and imputed tracks, and the table of its tracks."""
    folder = tmp_path_factory.mktemp("both") / "hub"
    lazy = epixs.open_imputed(trained, world.store("mouse"), pairs=held_out)
    made = epixs.export([world.store("mouse"), lazy], hub=folder, email="me@lab.org")
    return folder, made


def test_observed_and_imputed_of_one_assay_are_in_one_composite(both):
    folder, made = both
    assert check_hub(folder) == []
    assert stanzas(folder / "hub.txt")[0]["email"] == "me@lab.org"
    assert stanzas(folder / "genomes.txt") == [{"genome": "mm10", "trackDb": "mm10/trackDb.txt"}]
    tracks = stanzas(folder / "mm10" / "trackDb.txt")
    composites = [track for track in tracks if "compositeTrack" in track]
    assert len(composites) == made["assay"].nunique()
    assert len(tracks) == len(composites) + len(made)
    parents = {track["parent"].split()[0] for track in tracks if "parent" in track}
    assert parents == {track["track"] for track in composites}
    for row in made.to_dict("records"):
        (track,) = [track for track in tracks if track.get("bigDataUrl") == row["file"].split("/")[1]]
        (parent,) = [one for one in composites if one["track"] == track["parent"].split()[0]]
        assert row["assay"] in parent["longLabel"]
        assert f"kind={row['kind']}" in track["subGroups"]
        colour = tuple(map(int, track["color"].split(",")))
        assert colour == colour_of(row["assay_class"], row["kind"])
        assert (
            ("IMPUTED" in track["longLabel"])
            == ("imp. " in track["shortLabel"])
            == (row["kind"] == "imputed")
        )


def test_labels_tell_long_names_apart_and_units_stay(tmp_path):
    labels = [
        (f"a rather long name of tissue_stage_{n}", "ChIP-seq_H3K4me3_signal_p-value") for n in range(9)
    ]
    store = write_store(tmp_path / "s.zarr", np.random.default_rng(0).random((9, 40)), labels=labels)
    epixs.export(store, hub=tmp_path / "hub")
    tracks = stanzas(tmp_path / "hub" / "mm10" / "trackDb.txt")[1:]
    assert len({track["shortLabel"] for track in tracks}) == 9
    assert all(track["longLabel"].endswith(")") for track in tracks)


def test_only_so_many_tracks_are_shown_at_first(tmp_path, monkeypatch):
    monkeypatch.setattr("epixs.exports.hub.MOST_SHOWN", 5)
    labels = [(f"b{b}", f"a{a}") for a in range(4) for b in range(3)]
    store = write_store(tmp_path / "s.zarr", np.random.default_rng(0).random((12, 40)), labels=labels)
    epixs.export(store, hub=tmp_path / "hub")
    tracks = stanzas(tmp_path / "hub" / "mm10" / "trackDb.txt")
    assert [track["visibility"] for track in tracks if "compositeTrack" in track] == ["full"] * 2 + [
        "hide"
    ] * 2
    assert sum(track["parent"].endswith(" on") for track in tracks if "parent" in track) == 5


def test_what_is_shown_at_first_is_of_both_kinds(both, tmp_path, trained, world, held_out, monkeypatch):
    monkeypatch.setattr("epixs.exports.hub.MOST_SHOWN", 4)
    lazy = epixs.open_imputed(trained, world.store("mouse"), everything=True)
    epixs.export([world.store("mouse"), lazy], hub=tmp_path / "hub")
    tracks = stanzas(tmp_path / "hub" / "mm10" / "trackDb.txt")
    shown = [track for track in tracks if track.get("parent", "").endswith(" on")]
    assert {track["subGroups"].split()[0] for track in shown} == {"kind=observed", "kind=imputed"}


def test_ends_of_an_interval_lie_in_the_composite_of_their_track(world, tmp_path):
    here = epixs.open_compendium(world.store("mouse"))
    dataset = here.assign(spread=here.signal * 0 + np.float32(0.5))
    made = epixs.export(dataset, hub=tmp_path / "hub", interval=True)
    assert check_hub(tmp_path / "hub") == []
    assert made["line"].value_counts().nunique() == 1
    tracks = stanzas(tmp_path / "hub" / "mm10" / "trackDb.txt")
    assert len(tracks) == made["assay"].nunique() + len(made)
    for row in made.to_dict("records"):
        (track,) = [track for track in tracks if track.get("bigDataUrl") == row["file"].split("/")[1]]
        drawn = row["kind"] if row["line"] == "signal" else row["line"]
        assert f"kind={drawn} " in track["subGroups"]
        assert (f", {row['line']} end of 80 %" in track["longLabel"]) == (row["line"] != "signal")
        assert track["color"] == ",".join(map(str, colour_of(row["assay_class"], drawn)))


def test_views_show_what_the_data_reach(both):
    folder, made = both
    for track in stanzas(folder / "mm10" / "trackDb.txt"):
        if "viewLimits" in track:
            low, high = map(float, track["viewLimits"].split(":"))
            mine = made[made["assay"].map(lambda assay, label=track["longLabel"]: label.startswith(assay))]
            assert low <= mine["low"].min()
            assert mine["high"].max() <= high <= max(mine["high"].max() * 1.11, 0.1)


def test_classes_and_kinds_have_colours_of_their_own():
    colours = {colour_of(name, kind) for name in COLOURS for kind in ("observed", "imputed")}
    assert len(colours) == 2 * len(COLOURS)
    assert colour_of("no such class", "observed") == COLOURS["other"]
    assert all(0 <= part <= 255 for colour in colours for part in colour)


def test_ucsc_knows_what_comes_with_epixs():
    assert set(known_assemblies()) <= UCSC_ASSEMBLIES


def test_an_assembly_of_ones_own_brings_its_genome(panel, tmp_path):
    catalog, regions = panel
    epixs.ingest(catalog, regions, tmp_path / "deep.zarr")
    made = epixs.export(tmp_path / "deep.zarr", hub=tmp_path / "hub")
    assert any("genome of N" in note for note in made.attrs["notes"])
    assert any("nobody@example.org" in note for note in made.attrs["notes"])
    (genome,) = stanzas(tmp_path / "hub" / "genomes.txt")
    assert genome["genome"] == "small"
    assert genome["defaultPos"] == "chr1:9001-10010"
    assert two_bit_sizes(tmp_path / "hub" / genome["twoBitPath"]) == catalog.assembly.chrom_sizes
    assert (tmp_path / "hub" / genome["groups"]).read_text().startswith("name epixs\n")
    assert check_hub(tmp_path / "hub") == []


def test_a_sequence_is_copied_if_it_fits(panel, tmp_path):
    catalog, regions = panel
    epixs.ingest(catalog, regions, tmp_path / "deep.zarr")
    write_unknown_sequence(tmp_path / "right.2bit", catalog.assembly.chrom_sizes)
    write_unknown_sequence(tmp_path / "wrong.2bit", dict.fromkeys(catalog.assembly.chrom_sizes, 7))
    with pytest.raises(RegionError, match="is not the sequence of small; got chr1 of 7 bases"):
        epixs.export(tmp_path / "deep.zarr", hub=tmp_path / "hub", two_bit=tmp_path / "wrong.2bit")
    epixs.export(tmp_path / "deep.zarr", hub=tmp_path / "hub", two_bit=tmp_path / "right.2bit")
    copied = tmp_path / "hub" / "small" / "small.2bit"
    assert copied.read_bytes() == (tmp_path / "right.2bit").read_bytes()


def test_hostile_labels_make_a_valid_hub(tmp_path):
    labels = list(
        dict.fromkeys((name, f"A {name}") for name in [*HOSTILE, "back\\", "a=b c=d", "a&b\"c'd", "# x"])
    )
    values = np.random.default_rng(0).random((len(labels), 40))
    store = write_store(
        tmp_path / "s.zarr", values, labels=labels, accessions=[f"X{i}" for i in range(len(labels))],
        species="spe\ncies <b>", unit="signal\\\ntrack evil",
    )  # fmt: skip
    made = epixs.export(store, hub=tmp_path / "hub")
    assert check_hub(tmp_path / "hub") == []
    tracks = stanzas(tmp_path / "hub" / "mm10" / "trackDb.txt")
    assert len(tracks) == len(labels) + made["assay"].nunique()
    text = (tmp_path / "hub" / "mm10" / "trackDb.txt").read_text()
    assert not set(text) & set("<>\\\0\r\t")
    assert not any(line.startswith(("evil", "track evil")) for line in text.splitlines())


def test_two_species_in_one_hub(world, tmp_path):
    stores = [world.store(species) for species in ("mouse", "human")]
    assay = epixs.open_compendium(stores[0])["assay"].to_numpy()[0]
    epixs.export(stores, hub=tmp_path / "hub", assays=[str(assay)], raw=True)
    genomes = stanzas(tmp_path / "hub" / "genomes.txt")
    assert [genome["genome"] for genome in genomes] == ["mm10", "hg38"]
    (one,) = [
        track for track in stanzas(tmp_path / "hub" / "hg38" / "trackDb.txt") if "compositeTrack" in track
    ]
    assert "arcsinh" not in one["longLabel"]


FAULTS = {
    "hub.txt is not there": ("hub.txt", None, ""),
    "no email": ("hub.txt", "email me@lab.org", ""),
    "email is not an address": ("hub.txt", "me@lab.org", "nobody"),
    "genomes.txt is not there": ("genomes.txt", None, ""),
    "no trackDb": ("genomes.txt", "trackDb mm10/trackDb.txt", ""),
    "../x is not there": ("genomes.txt", "mm10/trackDb.txt", "../x"),
    "not a name": ("mm10/trackDb.txt", "track observed_", "track 1observed_"),
    "not a name and a value": ("mm10/trackDb.txt", "priority 1", "priority"),
    "priority twice": ("mm10/trackDb.txt", "priority 1\n", "priority 1\npriority 2\n"),
    "type 'bigBed": ("mm10/trackDb.txt", "type bigWig", "type bigBed"),
    "viewLimits": ("mm10/trackDb.txt", "viewLimits 0", "viewLimits 99"),
    "parent": ("mm10/trackDb.txt", "parent epixs_", "parent nothing_"),
    "is not among its composite's": ("mm10/trackDb.txt", "subGroups kind=observed", "subGroups kind=other"),
    "which is no subgroup": ("mm10/trackDb.txt", "dimX=kind", "dimX=kin"),
    "color": ("mm10/trackDb.txt", "color 0,114", "color 300,114"),
    "bigDataUrl '../../x'": ("mm10/trackDb.txt", "bigDataUrl mouse", "bigDataUrl ../../x\nold mouse"),
    "shortLabel has more than": ("mm10/trackDb.txt", "shortLabel ", "shortLabel a long label indeed "),
    "shortLabel has markup": ("mm10/trackDb.txt", "shortLabel ", "shortLabel <b>"),
    "mousy": ("mm10/trackDb.txt", "bigDataUrl mouse", "bigDataUrl mousy"),
    "viewLimits '1.2.3:5'": ("mm10/trackDb.txt", "viewLimits 0:", "viewLimits 1.2.3:5\n# was 0:"),
    "visibility 'loud'": ("mm10/trackDb.txt", "visibility full", "visibility loud"),
    "UCSC does not know it": ("genomes.txt", "genome mm10", "genome mm10a"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_checker_finds(both, tmp_path, fault):
    folder = tmp_path / "hub"
    shutil.copytree(both[0], folder)
    name, old, new = FAULTS[fault]
    path = folder / name
    if old is None:
        path.unlink()
    else:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
    found = check_hub(folder)
    assert any(fault in text for text in found), found
    if (folder / "hub.txt").is_file():
        shown = CliRunner().invoke(app, ["verify", str(folder), "--json"])
        assert shown.exit_code == 1
        assert json.loads(shown.stdout)["faults"] == found


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("mm10/trackDb.txt", "priority 1\n", "# a remark\npriority 1\n"),
        ("mm10/trackDb.txt", "priority 1\n", "priority\t1\n"),
        ("mm10/trackDb.txt", "bigDataUrl ", "bigDataUrl https://example.org/"),
    ],
)
def test_what_a_hub_may_hold_is_no_fault(both, tmp_path, name, old, new):
    folder = tmp_path / "hub"
    shutil.copytree(both[0], folder)
    path = folder / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    assert check_hub(folder) == []


def test_a_file_that_was_cut_is_found(both, tmp_path):
    folder = tmp_path / "hub"
    shutil.copytree(both[0], folder)
    path = folder / both[1]["file"][0]
    path.write_bytes(path.read_bytes()[:-100])
    (fault,) = check_hub(folder)
    assert "when it was written" in fault


@pytest.mark.parametrize(
    "content", [b"track \xff\n", b"\0" * 9, b"x" * 70_000, b"track a\nbigDataUrl " + b"y" * 300]
)
def test_hostile_files_are_faults_and_no_crash(both, tmp_path, content):
    folder = tmp_path / "hub"
    shutil.copytree(both[0], folder)
    (folder / "mm10" / "trackDb.txt").write_bytes(content)
    assert check_hub(folder)


def test_the_checker_reads_only_the_hubs_folder(panel, tmp_path):
    catalog, regions = panel
    epixs.ingest(catalog, regions, tmp_path / "deep.zarr")
    epixs.export(tmp_path / "deep.zarr", hub=tmp_path / "hub")
    path = tmp_path / "hub" / "genomes.txt"
    assert "chromSizes small" in path.read_text()
    path.write_text(path.read_text().replace("chromSizes small", "chromSizes /etc/passwd#"))
    assert "genome small: /etc/passwd#/small.chrom.sizes is not there" in check_hub(tmp_path / "hub")
    shown = CliRunner().invoke(app, ["verify", str(tmp_path / "hub"), "--repair"])
    assert shown.exit_code == 2


def test_the_checker_finds_a_track_on_another_genome(panel, tmp_path):
    catalog, regions = panel
    epixs.ingest(catalog, regions, tmp_path / "deep.zarr")
    epixs.export(tmp_path / "deep.zarr", hub=tmp_path / "hub")
    write_unknown_sequence(tmp_path / "hub" / "small" / "small.2bit", {"chr1": 10_010, "chr2": 4_000})
    found = check_hub(tmp_path / "hub")
    assert "genome small: chromSizes and twoBitPath differ" in found
    assert sum("chromosomes that its genome does not have" in text for text in found) == 3


@pytest.mark.parametrize("email", ["nobody", "a b@c", "a@b\ntrack x"])
def test_an_email_that_is_none_is_refused_first(world, tmp_path, email):
    with pytest.raises(ConfigError, match="email"):
        epixs.export(world.store("mouse"), hub=tmp_path / "hub", email=email)
    assert not (tmp_path / "hub").exists()
