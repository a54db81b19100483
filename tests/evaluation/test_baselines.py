import numpy as np
import pytest

from epixs.evaluation.baselines import SignalRows, assay_regression, biosample_mean, nearest_assay

RNG = np.random.default_rng(0)
N = 4_000


def rows_of(tracks):
    labels = list(tracks)
    values = [np.asarray(track, dtype=np.float32) for track in tracks.values()]
    return SignalRows({label: i for i, label in enumerate(labels)}, lambda row: values[row])


def test_average_leaves_out_the_very_experiment_it_predicts():
    a, b, c = (RNG.random(N) for _ in range(3))
    rows = rows_of({("x", "A"): a, ("y", "A"): b, ("z", "A"): c, ("x", "B"): a})
    np.testing.assert_allclose(rows.average("A"), (a + b + c) / 3, atol=1e-6)
    np.testing.assert_allclose(rows.average("A", without="x"), (b + c) / 2, atol=1e-6)
    np.testing.assert_allclose(rows.average("A", without="never measured"), (a + b + c) / 3, atol=1e-6)
    assert rows.average("B", without="x") is None
    assert rows.average("C") is None


def test_average_skips_missing_bins():
    rows = rows_of({("x", "A"): [1.0, np.nan, np.nan], ("y", "A"): [3.0, 5.0, np.nan]})
    got = rows.average("A")
    assert got[:2].tolist() == [2.0, 5.0]
    assert np.isnan(got[2])


def test_biosample_mean():
    a, b, c = (RNG.random(N) for _ in range(3))
    rows = rows_of({("x", "A"): a, ("x", "B"): b, ("x", "C"): c, ("y", "B"): a})
    np.testing.assert_allclose(biosample_mean(rows, "x", "C"), (a + b) / 2, atol=1e-6)
    assert biosample_mean(rows, "y", "B") is None


def species(rule):
    """Two assays A, B in two biosamples, and an assay T that follows from them."""
    tracks = {}
    for name in ("p", "q"):
        a, b = RNG.random(N), RNG.random(N)
        tracks |= {(name, "A"): a, (name, "B"): b, (name, "T"): rule(a, b) + RNG.normal(0, 0.01, N)}
    return tracks


def test_nearest_assay_is_learned_in_the_other_species():
    other = rows_of(species(lambda a, b: 0.2 * a + 3 * b))
    mine = rows_of({("x", "A"): RNG.random(N), ("x", "B"): RNG.random(N)})
    assert np.array_equal(nearest_assay(mine, [other], "x", "T"), mine.track(("x", "B")))
    assert nearest_assay(mine, [], "x", "T") is None


def test_regression_recovers_a_linear_rule():
    other = rows_of(species(lambda a, b: 1 + 0.5 * a - 2 * b))
    a, b = RNG.random(N), RNG.random(N)
    mine = rows_of({("x", "A"): a, ("x", "B"): b, ("x", "Z"): a})
    np.testing.assert_allclose(assay_regression(mine, [other], "x", "T"), 1 + 0.5 * a - 2 * b, atol=0.02)
    assert assay_regression(mine, [], "x", "T") is None


def test_regression_fills_an_assay_that_a_biosample_lacks():
    tracks = species(lambda a, b: a + b)
    tracks.pop(("q", "B"))
    mine = rows_of({("x", "A"): RNG.random(N), ("x", "B"): RNG.random(N)})
    got = assay_regression(mine, [rows_of(tracks)], "x", "T")
    assert got is not None
    assert np.isfinite(got).all()


@pytest.mark.parametrize("missing", [("p", "T"), ("p", "A")])
def test_missing_bins_do_not_spoil_a_fit(missing):
    tracks = species(lambda a, b: 2 * a)
    tracks[missing][:100] = np.nan
    mine = rows_of({("x", "A"): np.linspace(0, 1, N), ("x", "B"): RNG.random(N)})
    np.testing.assert_allclose(
        assay_regression(mine, [rows_of(tracks)], "x", "T"), 2 * np.linspace(0, 1, N), atol=0.02
    )
    assert np.array_equal(nearest_assay(mine, [rows_of(tracks)], "x", "T"), mine.track(("x", "A")))
