"""Test and rank scores: paired tests, corrected p values, bootstrap intervals, and the challenge's ranking.

The unit is the experiment, as bins of one track are not independent. `docs/significance.md` has all formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from epixs.errors import ConfigError
from epixs.evaluation.metrics import CHALLENGE, HIGHER_IS_BETTER

Floats = npt.NDArray[np.float64]

DRAWS = 2_000
"""Number of bootstrap samples per interval."""

FEWEST_CLUSTERS = 3
"""Minimum number of clusters for an interval. Student's t interval of two would be too wide to be of use."""

FEWEST_DRAWN = 8
"""Number of clusters below which an interval is that of Student's t."""

LEVEL = 0.95
"""Share of intervals that should contain the true mean."""

MOST_CELLS = 4_000_000
"""Maximum number of (draw, cluster) counts held at once."""

RANKED = tuple(CHALLENGE)[:9]
"""Metrics by which the challenge ranks."""

CAP = 0.5
"""Largest normalised rank on a track. A method that lacks the track gets this rank too."""


@dataclass(frozen=True)
class PairedTest:
    """Wilcoxon signed-rank test of paired scores.

    Parameters
    ----------
    pairs
        Number of pairs with both values.
    p
        Two-sided p value; NaN without pairs, 1 where no pair differs.
    effect
        Matched-pairs rank-biserial correlation, -1 to 1. Negative means that the first is mostly lower.
    """

    pairs: int
    p: float
    effect: float


def paired_wilcoxon(first: npt.ArrayLike, second: npt.ArrayLike) -> PairedTest:
    """Test whether paired scores differ, experiment by experiment.

    Parameters
    ----------
    first, second
        Scores of the same experiments in the same order; pairs with a NaN are left out.

    Examples
    --------
    >>> paired_wilcoxon([1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 6.0, 3.5])
    PairedTest(pairs=4, p=0.25, effect=-0.8)
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape or a.ndim != 1:
        raise ConfigError(
            "paired scores", got=f"shapes {a.shape} and {b.shape}", expected="as many of each, in one column"
        )
    differences = a - b
    differences = differences[np.isfinite(differences)]
    nonzero = differences[differences != 0]
    if not differences.size:
        return PairedTest(0, nan, nan)
    if not nonzero.size:
        return PairedTest(differences.size, 1.0, 0.0)
    ranks = stats.rankdata(np.abs(nonzero))
    effect = float((ranks * np.sign(nonzero)).sum() / ranks.sum())
    return PairedTest(differences.size, float(stats.wilcoxon(nonzero).pvalue), effect)


def holm(p_values: npt.ArrayLike) -> Floats:
    """Correct p values for their number by Holm's step-down method. NaN are left out and stay NaN.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=float)
    corrected = np.full(p.shape, nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return corrected


@dataclass(frozen=True)
class Interval:
    """A mean and its bootstrap interval; NaN where they do not exist."""

    mean: float
    low: float
    high: float


def bootstrap_interval(
    values: npt.ArrayLike,
    *,
    clusters: Sequence[object] | None = None,
    groups: Sequence[object] | None = None,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Compute the bootstrap interval of a mean, drawing whole clusters with replacement.

    It is the percentile interval, widened for few clusters as Student's t is wider than the normal
    distribution (Hesterberg 2015, "expanded percentile"). Fewer than eight clusters have too few different
    draws for it: their interval is that of Student's t, from the spread of the clusters.

    Parameters
    ----------
    values
        One score, or difference of scores, per experiment; NaN are left out.
    clusters
        Cluster of each value, for instance its biosample. By default each value is its own cluster.
    groups
        Group of each value. If given, the mean is the mean of the groups' means: with assays as groups, the
        macro-average by assay. If a draw holds no value of a group, that draw's mean omits the group.
    level
        Share of intervals that should contain the true mean.
    draws
        Number of bootstrap samples.
    seed
        The same seed gives the same interval.

    Returns
    -------
    The mean and its interval, which is NaN if there are fewer than three clusters.

    Examples
    --------
    >>> found = bootstrap_interval([1.0, 2.0, 3.0, 4.0, 5.0], draws=500)
    >>> found.mean, found.low < 2.0, found.high > 4.0
    (3.0, True, True)
    """
    if not 0 < level < 1:
        raise ConfigError("level", got=level, expected="more than 0 and less than 1")
    if draws < 1:
        raise ConfigError("draws", got=draws, expected="1 or more")
    x = np.asarray(values, dtype=float)
    known = ~np.isnan(x)
    cluster, n_clusters = _codes(clusters, x, known)
    group, n_groups = _codes(groups if groups is not None else np.zeros(x.size), x, known)
    x = x[known]
    if not x.size:
        return Interval(nan, nan, nan)
    sums, counts = np.zeros((n_clusters, n_groups)), np.zeros((n_clusters, n_groups))
    np.add.at(sums, (cluster, group), x)
    np.add.at(counts, (cluster, group), 1.0)
    mean = float((sums.sum(axis=0) / counts.sum(axis=0)).mean())
    if n_clusters < FEWEST_CLUSTERS:
        return Interval(mean, nan, nan)
    t = float(stats.t.ppf((1 + level) / 2, n_clusters - 1))
    if n_clusters < FEWEST_DRAWN:
        half = t * _standard_error(sums, counts)
        return Interval(mean, mean - half, mean + half)
    means = np.concatenate(
        [_group_means(weights, sums, counts) for weights in _draws(n_clusters, draws, seed)]
    )
    tail = float(stats.norm.cdf(-sqrt(n_clusters / (n_clusters - 1)) * t))
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(mean, float(low), float(high))


CLUSTERS = ("biosample", "experiment")
"""Units that a bootstrap can draw."""


@dataclass(frozen=True)
class Resampling:
    """Settings of the bootstrap: the unit that is drawn, the number of draws, and the seed."""

    cluster: str = CLUSTERS[0]
    draws: int = DRAWS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.cluster not in CLUSTERS:
            raise ConfigError("cluster", got=repr(self.cluster), expected=" or ".join(CLUSTERS))

    def interval(self, values: pd.Series, *, by_assay: bool = False) -> Interval:
        """Compute the interval of the mean of values that are labelled by experiment."""
        labels = values.index
        drawn = list(
            zip(labels.get_level_values("species"), labels.get_level_values("biosample"), strict=True)
        )
        return bootstrap_interval(
            values.to_numpy(),
            clusters=drawn if self.cluster == "biosample" else None,
            groups=list(labels.get_level_values("assay")) if by_assay else None,
            draws=self.draws,
            seed=self.seed,
        )


def _codes(
    labels: Sequence[object] | npt.NDArray[np.float64] | None, values: Floats, known: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.intp], int]:
    """Number the labels of the known values, and count the different ones."""
    if labels is None:
        return np.arange(int(known.sum())), int(known.sum())
    if len(labels) != values.size:
        raise ConfigError("labels", got=f"{len(labels)} labels", expected=f"{values.size}, one per value")
    codes, unique = pd.factorize(pd.Series(list(labels), dtype=object)[known])
    if (codes < 0).any():
        raise ConfigError("labels", got=f"{int((codes < 0).sum())} missing", expected="one for each value")
    return codes, len(unique)


def _standard_error(sums: Floats, counts: Floats) -> float:
    """Estimate the standard error of the mean of the groups' means from the clusters' deviations from it."""
    n_clusters, n_groups = sums.shape
    total = counts.sum(axis=0)
    deviation = (sums - counts * (sums.sum(axis=0) / total)) / (total * n_groups)
    return sqrt(n_clusters / (n_clusters - 1) * float(np.square(deviation.sum(axis=1)).sum()))


def _draws(n_clusters: int, draws: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Draw how often each sample has each cluster, shape `(draw, cluster)`, in pieces to bound memory."""
    generator = np.random.default_rng(seed)
    step = max(1, MOST_CELLS // n_clusters)
    share = np.full(n_clusters, 1 / n_clusters)
    sizes = [min(step, draws - first) for first in range(0, draws, step)]
    return [generator.multinomial(n_clusters, share, size) for size in sizes]


def _group_means(weights: npt.NDArray[np.int64], sums: Floats, counts: Floats) -> Floats:
    """Compute the mean of the groups' means in each draw."""
    number = weights @ counts
    drawn = number > 0
    means = np.divide(weights @ sums, number, out=np.zeros_like(number), where=drawn)
    averages: Floats = means.sum(axis=1) / drawn.sum(axis=1)
    return averages


def challenge_ranking(scores: pd.DataFrame, metrics: Sequence[str] = RANKED) -> pd.DataFrame:
    """Rank methods as the ENCODE Imputation Challenge did.

    On each track of each bootstrap, the N methods that have the track are ranked by every metric, and then
    by the sum of ln(rank / (N + 1)) over metrics. The resulting rank r counts as min(0.5, r / (N + 1)); a
    method that lacks the track counts as 0.5. A method's score is its mean over tracks. Each bootstrap ranks
    the methods by their scores, and a method's final rank is its second best over all bootstraps.

    Parameters
    ----------
    scores
        One row per track (`biosample`, `assay`), method and `bootstrap`, with the metrics as columns, as
        `evaluate(..., mode="challenge")` gives them. Without a column `bootstrap` there is one bootstrap.
    metrics
        Columns to rank by; absent ones are left out. A missing value ranks worst.

    Returns
    -------
    Columns `method rank low mean high`, best first. The last three are the lowest, mean and highest score
    over bootstraps.

    Raises
    ------
    ConfigError
        If there is no such metric, or a method has a track twice in a bootstrap.
    """
    names = [name for name in metrics if name in scores]
    if not names or not {"biosample", "assay", "method"} <= set(scores):
        raise ConfigError(
            "scores to rank",
            got=f"columns {', '.join(map(str, scores.columns))}",
            expected=f"biosample, assay, method, and at least one of {', '.join(metrics)}",
        )
    table = scores if "bootstrap" in scores else scores.assign(bootstrap=0)
    tracks = [name for name in ("bootstrap", "species", "biosample", "assay") if name in table]
    repeated = table.duplicated([*tracks, "method"])
    if repeated.any():
        row = table[repeated].iloc[0]
        raise ConfigError(
            "scores to rank",
            got=f"{row['method']} twice for {row['biosample']} / {row['assay']}",
            expected="each method once per track and bootstrap",
        )
    methods = sorted(set(table["method"]))
    # `pivot_table` would drop a metric that a method never has.
    rows = table.assign(present=1.0).set_index([*tracks, "method"])[["present", *names]]
    wide = pd.DataFrame(rows.unstack("method"))  # noqa: PD010
    has_track = wide["present"][methods].notna().to_numpy()
    number = has_track.sum(axis=1, keepdims=True)
    total = np.zeros(has_track.shape)
    for name in names:
        sign = -1 if name in HIGHER_IS_BETTER else 1
        total += np.log(_ranks(sign * wide[name][methods].to_numpy(dtype=float), has_track) / (number + 1))
    # Rounded, so that the order in which logarithms are added does not break ties.
    shares = np.minimum(CAP, _ranks(total.round(9), has_track) / (number + 1))
    shares = pd.DataFrame(np.where(has_track, shares, CAP), index=wide.index, columns=methods)
    means = shares.groupby(level="bootstrap").mean()
    ranks = np.sort(stats.rankdata(means.to_numpy().round(9), axis=1), axis=0)
    ranking = pd.DataFrame(
        {
            "method": methods,
            "rank": ranks[min(1, len(ranks) - 1)],
            "low": means.min().to_numpy(),
            "mean": means.mean().to_numpy(),
            "high": means.max().to_numpy(),
        }
    )
    return ranking.sort_values(["rank", "mean", "method"], ignore_index=True)


def _ranks(values: Floats, has_track: npt.NDArray[np.bool_]) -> Floats:
    """Rank the methods that have a track, the lowest value first; NaN for the others."""
    worst = np.where(np.isnan(values), np.inf, values)
    ranks: Floats = stats.rankdata(np.where(has_track, worst, np.nan), axis=1, nan_policy="omit")
    return ranks
