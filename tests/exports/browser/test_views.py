import numpy as np
import pytest
import xarray as xr

import epixs
from epixs.errors import AxisError, RegionError
from epixs.exports.browser import views
from epixs.exports.browser.browse import make_session
from epixs.exports.browser.views import MOST_WINDOWS, catalogue, genomes_of
from epixs.exports.source import LINES, Source
from epixs.genome.assembly import Assembly
from tests.exports.test_names import HOSTILE
from tests.worlds import write_store

SIZES = {"chr2": 100_010, "chr10": 500}
SMALL = Assembly("mm10", SIZES)
REGIONS = [("chr2", 90_000, 100_010), ("chr10", 100, 200), ("chr2", 0, 5_000), ("chr2", 5_025, 6_000)]


@pytest.fixture
def tracks(tmp_path):
    bins = 401 + 4 + 200 + 39
    values = np.random.default_rng(0).gamma(1, 1, (2, bins))
    values[:, 410:420] = np.nan
    store = write_store(tmp_path / "s.zarr", values, labels=[("a", "A"), ("b", "A")], regions=REGIONS)
    return make_session(store, assembly=SMALL).tracks


def by_hand(track, chrom, start, end, width, how):
    """Windows counted bin by bin."""
    dataset = epixs.open_compendium(track.source.held)
    table = dataset.epixs.bins()
    values = dataset.signal[track.row].to_numpy().astype(np.float64)
    windows = {}
    for row, value in zip(table.itertuples(), values, strict=True):
        if row.chrom == chrom and row.end > start and row.start < end and not np.isnan(value):
            windows.setdefault(row.start // width, []).append((row.start, row.end, value))
    function = {"mean": np.mean, "min": np.min, "max": np.max}[how]
    return [
        (min(b[0] for b in bins), max(b[1] for b in bins), function([b[2] for b in bins]))
        for _, bins in sorted(windows.items())
    ]


@pytest.mark.parametrize("how", ["mean", "min", "max"])
@pytest.mark.parametrize(
    ("chrom", "start", "end", "pixel", "width"),
    [
        ("chr2", 0, 100_010, 0.5, 25),
        ("chr2", 0, 100_010, 25, 25),
        ("chr2", 0, 100_010, 26, 50),
        ("chr2", 0, 100_010, 1000, 1600),
        ("chr2", 4_990, 5_040, 1, 25),
        ("chr2", 99_999, 100_010, 1, 25),
        ("chr10", 0, 500, 80, 100),
        ("chr10", 300, 500, 80, 100),
        ("chr3", 0, 500, 80, 100),
    ],
)
def test_a_view_is_what_one_counts_by_hand(tracks, monkeypatch, how, chrom, start, end, pixel, width):
    monkeypatch.setattr(views, "BLOCK_BINS", 64)
    view = tracks[1].view(chrom, start, end, pixel, how)
    want = by_hand(tracks[1], chrom, start, end, width, how)
    assert list(zip(view.start.tolist(), view.end.tolist(), strict=True)) == [row[:2] for row in want]
    np.testing.assert_allclose(view.value, [row[2] for row in want], rtol=1e-12)


def test_an_answer_is_bounded_whatever_is_asked(tracks):
    sizes = {"chr2": 2**32 - 1, "chr10": 500}
    track = views.Track(tracks[0].source, 0, Assembly("mm10", sizes))
    assert track.view("chr2", 0, 2**32 - 1, 1e-9).start.size <= MOST_WINDOWS


def test_a_model_is_not_asked_for_a_chromosome(trained, world, held_out, monkeypatch):
    lazy = epixs.open_imputed(trained, world.store("mouse"), pairs=held_out)
    (track, *_) = make_session(lazy).tracks
    assert track.is_live
    view = track.view("chr19", 10_000_000, 10_001_000, 1)
    want = lazy.signal[0].isel(bin=slice(40)).to_numpy()
    np.testing.assert_allclose(view.value, want, atol=1e-6)
    assert track.described(0)["most_bases"] is None
    monkeypatch.setattr(views, "LIVE_BINS", 100)
    assert track.described(0)["most_bases"] == 2_500
    with pytest.raises(RegionError, match="too wide a view"):
        track.view("chr19", 10_000_000, 10_010_000, 1)


def test_lines_of_an_interval_are_computed_once(tracks, monkeypatch):
    stored = epixs.open_compendium(tracks[1].source.held)
    spread = xr.DataArray(np.random.default_rng(1).gamma(1, 1, stored.signal.shape), dims=stored.signal.dims)
    (_, track) = make_session(stored.assign(spread=spread.chunk()), assembly=SMALL).tracks
    assert track.described(1)["interval"]
    assert not tracks[1].described(1)["interval"]
    asked, reader = [], Source.reader
    monkeypatch.setattr(Source, "reader", lambda *given: asked.append(given) or reader(*given))
    views_of = {line: track.view("chr2", 0, 5_000, 25, "mean", line).value for line in LINES}
    assert len(asked) == 1
    here = np.arange(405, 605)[~np.isnan(stored.signal[1].to_numpy()[405:605])]
    signal, wide = stored.signal[1].to_numpy()[here], 1.2816 * spread[1].to_numpy()[here]
    np.testing.assert_allclose(views_of["signal"], signal, rtol=1e-6)
    np.testing.assert_allclose(views_of["lower"], signal - wide, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(views_of["upper"], signal + wide, rtol=1e-5)


def test_what_is_kept_for_the_lines_is_bounded(tracks, monkeypatch):
    stored = epixs.open_compendium(tracks[1].source.held)
    (_, track) = make_session(stored.assign(spread=stored.signal), assembly=SMALL).tracks
    monkeypatch.setattr(views, "LIVE_BINS", 100)
    for start in range(0, 4_000, 1_000):
        track.view("chr2", start, start + 1_000, 25)
    assert sum(values.shape[1] for values in track._kept.values()) <= 100


def test_it_opens_with_an_experiment_that_is_measured_and_imputed(trained, world):
    lazy = epixs.open_imputed(trained, world.store("mouse"), everything=True)
    session = make_session([world.store("mouse"), lazy])
    chosen = session.tracks[session.chosen]
    both = {
        (track.label("biosample"), track.label("assay"))
        for track in session.tracks
        if track.label("kind") == "imputed"
    } & {
        (track.label("biosample"), track.label("assay"))
        for track in session.tracks
        if track.label("kind") != "imputed"
    }
    assert (chosen.label("biosample"), chosen.label("assay")) in both
    last = session.tracks[-1]
    named = make_session(
        [world.store("mouse"), lazy], biosample=last.label("biosample"), assay=last.label("assay")
    )
    assert named.tracks[named.chosen].label("biosample") == last.label("biosample")
    assert named.tracks[named.chosen].label("assay") == last.label("assay")
    with pytest.raises(AxisError, match="--biosample nobody"):
        make_session(world.store("mouse"), biosample="nobody")


def test_tracks_that_were_trained_on_are_marked(trained, world):
    session = make_session(epixs.open_imputed(trained, world.store("mouse"), everything=True))
    marked = {track.label("accession"): track.described(0)["trained_on"] for track in session.tracks}
    assert set(marked.values()) == {True, False}
    assert not any(track.described(0)["trained_on"] for track in make_session(world.store("mouse")).tracks)


def test_it_opens_where_the_locus_is(world):
    human = str(epixs.open_compendium(world.store("human")).epixs.bins().iloc[0]["chrom"])
    session = make_session([world.store("mouse"), world.store("human")], locus=human)
    assert session.tracks[session.chosen].source.species == "human"
    length = session.tracks[session.chosen].assembly.chrom_sizes[human]
    assert session.locus == f"{human}:1-{length}"


def test_the_same_experiment_of_two_stores_has_two_names(tracks):
    twice = make_session([tracks[0].source.held] * 2, assembly=SMALL)
    (group,) = catalogue(twice.tracks)
    names = [(one["biosample"], one["compendium"]) for one in group["tracks"]]
    assert names == [("a", "1: s.zarr"), ("b", "1: s.zarr"), ("a", "2: s.zarr"), ("b", "2: s.zarr")]
    assert {one["compendium"] for one in catalogue(tracks)[0]["tracks"]} == {""}


@pytest.mark.parametrize("locus", ["chr2:50,000-60,000", "chr10:1-50"])
def test_a_locus_without_a_bin_is_refused(tracks, locus):
    with pytest.raises(RegionError, match="where no store has a bin"):
        make_session(tracks[0].source.held, assembly=SMALL, locus=locus)


def test_the_catalogue_groups_by_species_and_is_inert(world, tmp_path):
    session = make_session([world.store("mouse"), world.store("human")])
    groups = catalogue(session.tracks)
    assert [(g["species"], g["assembly"], g["genome"]) for g in groups] == [
        ("mouse", "mm10", 0),
        ("human", "hg38", 1),
    ]
    assert [len(sizes) for sizes in genomes_of(session.tracks)] == [
        len(epixs.load_assembly(name).chrom_sizes) for name in ("mm10", "hg38")
    ]
    labels = [(name, "A") for name in dict.fromkeys(HOSTILE)]
    store = write_store(
        tmp_path / "s.zarr", np.ones((len(labels), 8)), labels=labels, unit="<script>alert(1)</script>"
    )
    told = str(catalogue(make_session(store).tracks))
    assert not set(told) & set("<>&\n\0")
