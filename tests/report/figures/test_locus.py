import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epixs.exports.browser.genes import Gene
from epixs.report.comparison import Place, Track
from epixs.report.figures.canvas import drawing
from epixs.report.figures.locus import Row, Strip, View, Windows, _distinct, _lanes, _rows, draw_locus, steps


def test_nothing_is_drawn_between_regions_nor_where_values_are_missing():
    edges = np.array([[0.0, 1], [1, 2], [7, 8], [8, 9], [9, 10]])
    along, heights = steps(edges, [3, 4, 5, np.nan, 6])
    drawn = [
        (a, b, h) for a, b, h in zip(along, along[1:], heights, strict=False) if not np.isnan(h)
    ]  # fmt: skip
    assert drawn == [(0, 1, 3), (1, 2, 4), (7, 8, 5), (9, 10, 6)]


def place(starts):
    start = np.asarray(starts, dtype=np.int64)
    return Place("chr1", np.arange(start.size), start, start + 25)


def test_windows_are_means_of_what_is_known_and_span_no_gap():
    windows = Windows.of(place([0, 25, 50, 75, 100, 1_000, 1_025]), most=4)
    assert windows.bins == 2
    assert windows.edges.tolist() == [[0, 50], [50, 100], [100, 125], [1_000, 1_050]]
    means = windows.mean([1, 3, np.nan, 5, 7, np.nan, np.nan])
    np.testing.assert_equal(means, [2, 5, 7, np.nan])


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 3)), min_size=1, max_size=8),
    st.integers(1, 12),
    st.integers(0, 9),
)
def test_windows_hold_every_bin_once(stretches, most, seed):
    starts, at = [], 0
    for length, gap in stretches:
        starts += [25 * (at + i) for i in range(length)]
        at += length + gap
    values = np.random.default_rng(seed).random(len(starts))
    windows = Windows.of(place(starts), most)
    slow = []
    for low, high in windows.edges:  # an oracle that looks at each bin
        inside = [v for v, start in zip(values, starts, strict=True) if low <= start < high]
        assert len(inside) == (high - low) / 25
        slow.append(np.mean(inside))
    np.testing.assert_allclose(windows.mean(values), slow)


def view(genes=None, strips=None):
    where = place(range(0, 1_000, 25))
    windows = Windows.of(where)
    strips = strips or [Strip("A in x", "arcsinh of p", [Row("observed", "#000000", np.arange(40.0))])]
    return View(where, "mm10", windows.edges, 1, strips, genes)


def test_genes_that_overlap_lie_in_rows_of_their_own_and_isoforms_are_one():
    genes = [
        Gene("chr1", 0, 300, "Aaa", "+"), Gene("chr1", 0, 500, "Aaa", "+"), Gene("chr1", 400, 900, "Bbb", "-"),
        Gene("chr1", 600, 700, "", "."), Gene("chr1", 650, 800, "", "."),
    ]  # fmt: skip
    assert [(g.name, g.start, g.end) for g in _distinct(genes)] == [
        ("Aaa", 0, 500),
        ("Bbb", 400, 900),
        ("", 600, 800),
    ]
    lanes = _lanes(view(genes))
    assert [[gene.name for gene in lane] for lane in lanes] == [["Aaa", ""], ["Bbb"]]


@pytest.mark.parametrize("values", [np.full(40, np.nan), np.zeros(40), np.full(40, -1.0)])
def test_tracks_without_signal_can_be_drawn(values):
    rows = [Row("observed", "#000000", values), Row("imputed", "#ff0000", values, (values - 1, values + 1))]
    with drawing() as plt:
        figure = draw_locus(plt, view([], [Strip("A in x", "u", rows)]))
        assert len(figure.axes) == 3
        assert "no gene here" in [text.get_text() for text in figure.axes[-1].texts]


def test_rows_of_an_experiment_share_a_scale():
    rows = [Row("observed", "#000000", np.full(40, 4.0)), Row("imputed", "#ff0000", np.full(40, 1.0))]
    with drawing() as plt:
        first, second = draw_locus(plt, view(strips=[Strip("A in x", "u", rows)])).axes
        assert first.get_ylim() == second.get_ylim()
        assert first.get_ylim()[1] >= 4


def test_an_interval_that_nobody_knows_is_not_said_to_be_drawn():
    track, values = Track("x", "A", 0, None, (), "", False), {"imputed": np.ones(4)}
    names = [
        _rows(track, values | {"spread": np.float64(spread)})[0].name
        for spread in ([np.nan] * 4, [np.nan, 1, 1, 1])
    ]
    assert names == ["imputed", "imputed\nand 80 % interval"]
