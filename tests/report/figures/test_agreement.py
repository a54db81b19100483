import numpy as np
import pytest

from epixs.evaluation.metrics import score
from epixs.report.comparison import Comparison, Track
from epixs.report.figures.agreement import LIMIT, PER_UNIT, agreement_of, draw_agreement
from epixs.report.figures.canvas import drawing


class TwoTracks(Comparison):
    """Values given block by block, as from two stores."""

    def __init__(self, blocks):
        object.__setattr__(self, "parts", blocks)

    def blocks(self, track, bins=None):
        yield from ((0, {"observed": o, "imputed": i}) for o, i in self.parts)


TRACK = Track("x", "A", 0, 0, ())


def made(seed=0, count=6_000):
    rng = np.random.default_rng(seed)
    observed = np.round(rng.gamma(0.5, 1, count) * 2048) / 2048
    imputed = np.round((0.6 * observed + rng.random(count)) * 2048) / 2048
    observed[::7] = np.nan
    return observed.astype(np.float32), imputed.astype(np.float32)


def test_counts_and_metrics_do_not_depend_on_blocks():
    observed, imputed = made()
    whole = agreement_of(TwoTracks([(observed, imputed)]), TRACK)
    parts = [(observed[i : i + 500], imputed[i : i + 500]) for i in range(0, observed.size, 500)]
    again = agreement_of(TwoTracks(parts), TRACK)
    np.testing.assert_array_equal(whole.counts, again.counts)
    truth = score(observed, imputed)
    for one in (whole, again):
        assert one.bins == np.isfinite(observed).sum()
        assert one.mse == pytest.approx(truth["mse"], rel=1e-9)
        assert one.pearson == pytest.approx(truth["pearson"], rel=1e-9)


def test_a_bin_is_counted_in_the_cell_of_its_two_values():
    found = agreement_of(TwoTracks([(np.float32([1.0, -99.0]), np.float32([2.5, 0.0]))]), TRACK)
    assert found.counts[int((2.5 + LIMIT) * PER_UNIT), int((1 + LIMIT) * PER_UNIT)] == 1
    assert found.counts[LIMIT * PER_UNIT, 0] == 1
    assert found.counts.sum() == 2


@pytest.mark.parametrize("count", [0, 3, 20_000])
@pytest.mark.parametrize("panels", [1, 4])
def test_panels_of_any_size_can_be_drawn(count, panels):
    found = agreement_of(TwoTracks([made(count=count)]), TRACK)
    with drawing() as plt:
        figure = draw_agreement(plt, [found] * panels)
        figure.canvas.draw()
        assert sum(axis.get_title(loc="left") == "A in x" for axis in figure.axes) == panels


def test_a_constant_track_has_no_correlation():
    found = agreement_of(TwoTracks([(np.ones(9, np.float32), np.zeros(9, np.float32))]), TRACK)
    assert np.isnan(found.pearson)
    assert found.mse == 1
