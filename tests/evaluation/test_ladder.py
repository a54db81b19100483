import numpy as np
import pytest

from epixs.errors import AxisError, ConfigError
from epixs.evaluation.columns import Column, Signal, columns
from epixs.evaluation.ladder import (
    ASSAY_REGRESSION,
    AVERAGE,
    BIOSAMPLE_MEAN,
    CARRIED,
    CONSTANT,
    LADDER,
    NEAREST_ASSAY,
    RAW_AVERAGE,
    UNFAIR,
    Target,
    UsableTracks,
    baselines_named,
)
from epixs.evaluation.steps import to_units

N = 4_000
STEP = 1 / 2048


def usable(tracks, species="mouse"):
    labels = list(tracks)
    values = np.stack([np.asarray(track, dtype=np.float32) for track in tracks.values()])
    means = {label: float(np.nanmean(row)) for label, row in zip(labels, values, strict=True)}
    rows = {label: i for i, label in enumerate(labels)}
    return UsableTracks(species, rows, Signal(values, (1, 1_000)), means)


def predict(baseline, mine, biosample, assay, *others, hidden=None, bins=None):
    """A baseline's whole track in arcsinh units; None if its user lacks what it needs."""
    target = Target(biosample, assay, mine, hidden or mine, others, bins or {})
    recipe = baseline.recipe(target)
    if recipe is None:
        return None
    return np.concatenate([to_units(recipe.values(column)) for column in columns(mine.signal, recipe.rows)])


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_average_leaves_out_the_very_experiment_it_predicts(rng):
    a, b, c = rng.random((3, N))
    mine = usable({("x", "A"): a, ("y", "A"): b, ("z", "A"): c, ("x", "B"): a})
    np.testing.assert_allclose(predict(AVERAGE, mine, "x", "A"), (b + c) / 2, atol=STEP)
    np.testing.assert_allclose(predict(AVERAGE, mine, "never measured", "A"), (a + b + c) / 3, atol=STEP)
    assert predict(AVERAGE, mine, "x", "B") is None
    assert predict(AVERAGE, mine, "x", "C") is None


def test_average_skips_missing_bins():
    mine = usable({("x", "A"): [1.0, np.nan, np.nan], ("y", "A"): [3.0, 5.0, np.nan]})
    got = predict(AVERAGE, mine, "z", "A")
    assert got[:2].tolist() == [2.0, 5.0]
    assert np.isnan(got[2])


def test_average_in_own_units():
    mine = usable({("x", "A"): np.arcsinh([0.0, 4.0]), ("y", "A"): np.arcsinh([8.0, 6.0])})
    got = predict(RAW_AVERAGE, mine, "z", "A")
    np.testing.assert_allclose(got, np.arcsinh([4.0, 5.0]), atol=2 * STEP)


def test_the_unfair_average_sees_hidden_experiments():
    hidden = usable({("x", "A"): [1.0, 2.0], ("y", "A"): [3.0, 4.0]})
    mine = usable({("x", "B"): [0.0, 0.0]})
    recipe = UNFAIR.recipe(Target("x", "A", mine, hidden))
    column = Column(0, 2, hidden.signal.read([0, 1], 0, 2))
    assert to_units(recipe.values(column)).tolist() == [3.0, 4.0]


def test_biosample_mean(rng):
    a, b, c = rng.random((3, N))
    mine = usable({("x", "A"): a, ("x", "B"): b, ("x", "C"): c, ("y", "B"): a})
    np.testing.assert_allclose(predict(BIOSAMPLE_MEAN, mine, "x", "C"), (a + b) / 2, atol=STEP)
    assert predict(BIOSAMPLE_MEAN, mine, "y", "B") is None


def species(rng, rule):
    """Two assays A, B in two biosamples, and an assay T that follows from them."""
    tracks = {}
    for name in ("p", "q"):
        a, b = rng.random((2, N))
        tracks |= {(name, "A"): a, (name, "B"): b, (name, "T"): rule(a, b) + rng.normal(0, 0.01, N)}
    return tracks


def test_nearest_assay_is_learned_in_the_other_species(rng):
    other = usable(species(rng, lambda a, b: 0.2 * a + 3 * b), "human")
    a, b = rng.random((2, N))
    mine = usable({("x", "A"): a, ("x", "B"): b})
    np.testing.assert_allclose(predict(NEAREST_ASSAY, mine, "x", "T", other), b, atol=STEP)
    assert predict(NEAREST_ASSAY, mine, "x", "T") is None


def test_correlations_are_those_of_numpy(rng):
    tracks = species(rng, lambda a, b: a + b)
    tracks["p", "A"][:9] = np.nan
    found = usable(tracks).correlations("T", ["A", "C"])
    expected = [
        np.corrcoef(tracks[name, "T"][9:], tracks[name, "A"][9:])[0, 1] if name == "p"
        else np.corrcoef(tracks[name, "T"], tracks[name, "A"])[0, 1]
        for name in ("p", "q")
    ]  # fmt: skip
    assert found == {"A": pytest.approx(expected, abs=1e-4)}


def test_regression_recovers_a_linear_rule(rng):
    other = usable(species(rng, lambda a, b: 1 + 0.5 * a - 2 * b), "human")
    a, b = rng.random((2, N))
    mine = usable({("x", "A"): a, ("x", "B"): b, ("x", "Z"): a})
    got = predict(ASSAY_REGRESSION, mine, "x", "T", other)
    np.testing.assert_allclose(got, 1 + 0.5 * a - 2 * b, atol=0.02)
    assert predict(ASSAY_REGRESSION, mine, "x", "T") is None


def test_regression_fills_an_assay_that_a_biosample_lacks(rng):
    tracks = species(rng, lambda a, b: a + b)
    tracks.pop(("q", "B"))
    a, b = rng.random((2, N))
    got = predict(ASSAY_REGRESSION, usable({("x", "A"): a, ("x", "B"): b}), "x", "T", usable(tracks))
    assert np.isfinite(got).all()


@pytest.mark.parametrize("missing", [("p", "T"), ("p", "A")])
def test_missing_bins_do_not_spoil_a_fit(rng, missing):
    tracks = species(rng, lambda a, b: 2 * a)
    tracks[missing][:100] = np.nan
    a, b = np.linspace(0, 1, N), rng.random(N)
    mine, other = usable({("x", "A"): a, ("x", "B"): b}), usable(tracks, "human")
    np.testing.assert_allclose(predict(ASSAY_REGRESSION, mine, "x", "T", other), 2 * a, atol=0.02)
    np.testing.assert_allclose(predict(NEAREST_ASSAY, mine, "x", "T", other), a, atol=STEP)


def test_a_sample_is_every_so_manieth_bin(rng, monkeypatch):
    monkeypatch.setattr("epixs.evaluation.ladder.FIT_BINS", 571)
    monkeypatch.setattr("epixs.evaluation.columns.COLUMN_BYTES", 1)
    track = rng.random(N)
    got = usable({("x", "A"): track}).sample([0])[0]
    np.testing.assert_allclose(to_units(got), track[:: N // 571], atol=STEP)


def test_constant_is_the_mean_of_the_other_means():
    mine = usable({("x", "A"): [9.0, 9.0], ("y", "A"): [1.0, 3.0], ("x", "B"): [0.0, 0.0]})
    other = usable({("h", "T"): [4.0, 6.0]}, "human")
    assert CONSTANT.recipe(Target("x", "A", mine, mine)).value == 2.0
    assert CONSTANT.recipe(Target("x", "T", mine, mine, (other,))).value == 5.0
    assert CONSTANT.recipe(Target("x", "T", mine, mine)) is None


def test_an_average_is_carried_over_by_a_mapping_of_bins():
    other = usable({("h", "T"): [1.0, 2.0, 3.0, 4.0], ("k", "T"): [3.0, 4.0, 5.0, 6.0]}, "human")
    mine = usable({("x", "A"): [0.0, 0.0, 0.0]})
    recipe = CARRIED.recipe(Target("x", "T", mine, mine, (other,), {"human": np.array([3, -1, 0])}))
    got = to_units(recipe.values(Column(0, 3, {})))
    assert got[[0, 2]].tolist() == [5.0, 2.0]
    assert np.isnan(got[1])
    assert CARRIED.recipe(Target("x", "T", mine, mine, (other,), {})) is None


@pytest.mark.parametrize("bins", [[3, -1], [4, -1, 0]])
def test_a_mapping_of_other_bins_is_refused(bins):
    other = usable({("h", "T"): [1.0, 2.0, 3.0, 4.0]}, "human")
    mine = usable({("x", "A"): [0.0, 0.0, 0.0]})
    target = Target("x", "T", mine, mine, (other,), {"human": np.array(bins)})
    with pytest.raises(AxisError, match="mapping of bins to human.*expected 3 bins, mapped to bins up to 3"):
        CARRIED.recipe(target)


def test_baselines_have_names():
    assert baselines_named(["all"]) == LADDER
    assert baselines_named(["constant", "constant"]) == (CONSTANT,)
    with pytest.raises(ConfigError, match="biosample maen.*biosample mean"):
        baselines_named(["biosample maen"])
