import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from epixs.errors import ConfigError
from epixs.evaluation import significance
from epixs.evaluation.significance import (
    Interval,
    bootstrap_interval,
    challenge_ranking,
    holm,
    paired_wilcoxon,
)

values = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=12)


def test_the_paired_test_by_hand():
    """Differences -1, -2, -3, 0.5: ranks 2, 3, 4, 1; of 16 sign patterns 4 are as far from even."""
    found = paired_wilcoxon([1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 6.0, 3.5])
    assert (found.pairs, found.p, found.effect) == (4, 4 / 16, (1 - 9) / 10)


@settings(max_examples=40)
@given(values, st.randoms(use_true_random=False))
def test_the_paired_test_is_that_of_scipy_and_its_effect_is_that_of_counting(first, random):
    second = first[:]
    random.shuffle(second)
    found = paired_wilcoxon(first, second)
    differences = np.subtract(first, second)
    differences = differences[differences != 0]
    if not differences.size:
        assert (found.p, found.effect) == (1.0, 0.0)
        return
    assert found.p == stats.wilcoxon(differences).pvalue
    # The effect is the share of favourable less that of unfavourable Walsh averages' ranks.
    ranks = stats.rankdata(abs(differences))
    up, down = ranks[differences > 0].sum(), ranks[differences < 0].sum()
    assert found.effect == pytest.approx((up - down) / (up + down))
    assert paired_wilcoxon(second, first).effect == -found.effect


def test_pairs_that_lack_a_value_are_left_out():
    assert paired_wilcoxon([1.0, np.nan, 3.0], [2.0, 1.0, np.nan]).pairs == 1
    nothing = paired_wilcoxon([np.nan], [1.0])
    assert nothing.pairs == 0
    assert np.isnan(nothing.p)
    with pytest.raises(ConfigError, match=r"got shapes \(2,\) and \(1,\)"):
        paired_wilcoxon([1.0, 2.0], [1.0])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, np.nan]).tolist() == pytest.approx([0.03, 0.06, 0.06, np.nan], nan_ok=True)
    assert holm([]).size == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_its_steps_reject(p, alpha):
    """Step down: reject the smallest while p <= alpha / (number of those that are left)."""
    rejected = np.zeros(len(p), dtype=bool)
    for step, at in enumerate(np.argsort(p, kind="stable")):
        if p[at] * (len(p) - step) > alpha:
            break
        rejected[at] = True
    assert ((holm(p) <= alpha) == rejected).all()


def slow_interval(x, clusters, groups, draws, generator):
    """Means of draws of whole clusters, one after the other; groups weigh the same."""
    names = sorted(set(clusters))
    means = []
    for _ in range(draws):
        drawn = generator.choice(names, len(names))
        pooled = [(groups[i], x[i]) for name in drawn for i in range(len(x)) if clusters[i] == name]
        table = pd.DataFrame(pooled, columns=["group", "value"])
        means.append(table.groupby("group")["value"].mean().mean())
    return np.array(means)


def test_the_interval_is_that_of_drawing_whole_clusters(monkeypatch):
    rng = np.random.default_rng(3)
    clusters = [f"b{i % 8}" for i in range(28)]
    groups = [f"a{i % 3}" for i in range(28)]
    x = rng.normal(0, 1, 28) + [int(c[1]) for c in clusters]
    means = slow_interval(x, clusters, groups, 800, rng)
    tail = stats.norm.cdf(-np.sqrt(8 / 7) * stats.t.ppf(0.9, 7))
    found = bootstrap_interval(x, clusters=clusters, groups=groups, level=0.8, draws=4_000)
    assert found.mean == pytest.approx(pd.Series(x).groupby(groups).mean().mean())
    low, high = np.quantile(means, [tail, 1 - tail])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.12 * (high - low))
    monkeypatch.setattr(significance, "MOST_CELLS", 600)  # in pieces, the draws are others of the same kind
    pieces = bootstrap_interval(x, clusters=clusters, groups=groups, level=0.8, draws=4_000)
    assert (pieces.low, pieces.high) == pytest.approx((low, high), abs=0.12 * (high - low))


def test_intervals_are_the_same_for_the_same_seed_and_whatever_the_names():
    x = np.arange(16.0)
    clusters = list("aabbccddeeffgghh")
    one = bootstrap_interval(x, clusters=clusters)
    assert bootstrap_interval(x, clusters=clusters) == one
    assert bootstrap_interval(x, clusters=[name.upper() for name in clusters]) == one
    assert bootstrap_interval(x, clusters=clusters, seed=1) != one
    assert one.high - one.low > bootstrap_interval(x, clusters=clusters, level=0.5).high - one.mean


@pytest.mark.parametrize(("clusters", "size"), [(3, 2), (5, 4), (8, 2), (12, 1), (40, 3)])
def test_intervals_hold_the_mean_as_often_as_they_say(clusters, size):
    """Normal experiments of normal biosamples; drawing experiments alone would hold it far less often."""
    rng = np.random.default_rng(clusters)
    labels = np.repeat(np.arange(clusters), size)
    held = {"biosample": 0, "experiment": 0}
    trials = 300
    for trial in range(trials):
        x = rng.normal(0, 1, clusters)[labels] + rng.normal(0, 0.3, labels.size)
        for by in held:
            found = bootstrap_interval(
                x, clusters=list(labels) if by == "biosample" else None, draws=400, seed=trial
            )
            held[by] += found.low <= 0 <= found.high
    assert 0.90 <= held["biosample"] / trials <= 0.985
    if size > 1:
        assert held["experiment"] < held["biosample"]


def test_the_interval_of_few_clusters_is_that_of_students_test_on_their_means():
    x = np.array([1.0, 3.0, 2.0, 8.0, 4.0, 4.0])
    means = x.reshape(3, 2).mean(axis=1)
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.9)
    found = bootstrap_interval(x, clusters=list("aabbcc"), level=0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_intervals_that_do_not_exist():
    assert np.isnan(bootstrap_interval([]).mean)
    one = bootstrap_interval([2.0, 4.0, np.nan], clusters=["a", "a", "b"])
    assert one.mean == 3.0
    assert np.isnan([one.low, one.high]).all()
    assert bootstrap_interval([1.0, 1.0, 1.0]) == Interval(1.0, 1.0, 1.0)
    with pytest.raises(ConfigError, match="2 labels; expected 3"):
        bootstrap_interval([1.0, 2.0, 3.0], clusters=["a", "b"])
    with pytest.raises(ConfigError, match=r"level; got 95"):
        bootstrap_interval([1.0], level=95)


def ranked_scores():
    """Two bootstraps of two tracks, three methods, of which C lacks the second track."""
    rows = [
        (0, "x", "A", 1.0, 0.9), (0, "x", "B", 2.0, 0.8), (0, "x", "C", 3.0, 0.95),
        (0, "y", "A", 2.0, 0.5), (0, "y", "B", 1.0, 0.6),
        (1, "x", "A", 3.0, 0.1), (1, "x", "B", 2.0, 0.2), (1, "x", "C", 1.0, 0.3),
        (1, "y", "A", 1.0, 0.7), (1, "y", "B", 2.0, 0.7),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["bootstrap", "biosample", "method", "mse", "gwcorr"])
    return table.assign(assay="m")


def test_the_challenges_ranking_by_hand():
    """Sums of ln(rank / (N + 1)), as products of ranks:

    bootstrap 0: x (N = 3): A 1*2, B 2*3, C 3*1 -> ranks 1, 3, 2 -> .25, .5 (of .75), .5
                 y (N = 2): A 2*2, B 1*1        -> ranks 2, 1    -> .5 (of .67), .33; C lacks it: .5
    bootstrap 1: x: A 3*3, B 2*2, C 1*1         -> ranks 3, 2, 1 -> .5, .5, .25
                 y: A 1*1.5, B 2*1.5            -> ranks 1, 2    -> .33, .5; C .5
    means: A .375 .417, B .417 .5, C .5 .375; ranks: A 1 2, B 2 3, C 3 1; second best of two: 2, 3, 3.
    """
    found = challenge_ranking(ranked_scores())
    assert found["method"].tolist() == ["A", "C", "B"]
    assert found["rank"].tolist() == [2.0, 3.0, 3.0]
    assert found["mean"].tolist() == pytest.approx(
        [(0.375 + 5 / 12) / 2, (0.5 + 0.375) / 2, (5 / 12 + 0.5) / 2]
    )
    assert found["low"].tolist() == pytest.approx([0.375, 0.375, 5 / 12])
    assert found["high"].tolist() == pytest.approx([5 / 12, 0.5, 0.5])


def test_without_bootstraps_the_ranking_is_that_of_all_bins():
    first = ranked_scores().query("bootstrap == 0").drop(columns="bootstrap")
    found = challenge_ranking(first)
    assert found.set_index("method")["rank"].to_dict() == {"A": 1.0, "B": 2.0, "C": 3.0}


def test_a_missing_value_is_the_worst_and_a_method_counts_once():
    table = ranked_scores().query("bootstrap == 0 and biosample == 'x'")
    lacking = table.assign(mse=table["mse"].where(table["method"] != "A"))
    assert challenge_ranking(lacking, ["mse"])["method"].tolist() == ["B", "A", "C"]  # A, C: both .5
    with pytest.raises(ConfigError, match="A twice for x / m"):
        challenge_ranking(pd.concat([table, table]))
    with pytest.raises(ConfigError, match="at least one of mse"):
        challenge_ranking(table.drop(columns=["mse", "gwcorr"]))


def test_a_value_without_its_cluster_is_refused():
    with pytest.raises(ConfigError, match="1 missing"):
        bootstrap_interval([1.0, 2.0, 3.0], clusters=["a", None, "b"])
