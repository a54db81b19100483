"""Compute metrics, each from the statistics of one predicted and one observed track.

`corrected` metrics count each bin once, in arcsinh units unless their name ends in `_raw`.
`challenge` metrics are those of the ENCODE Imputation Challenge (Schreiber et al. 2023) as in its own scoring
code, in the tracks' own units. `docs/metrics.md` has all definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import nan, sqrt
from typing import Literal

import numpy as np
import numpy.typing as npt

from epixs.compendium.transform import STEPS_PER_UNIT
from epixs.errors import ConfigError
from epixs.evaluation.steps import N_STEPS, OFFSET, raw_units, to_steps
from epixs.evaluation.streaming import Cuts, Joint, Marginals, Places, cuts_of, joint, marginals

Mode = Literal["corrected", "challenge"]

STRATA = ("promoters", "genes", "enhancers")
"""Names of the strata, in the order used by statistics."""

UNIT = STEPS_PER_UNIT**2
"""Number of squared steps per squared arcsinh unit."""


@dataclass(frozen=True)
class PairSums:
    """Statistics of a whole observed track and a predicted one, which has the index `method` in the sums."""

    marginals: Marginals
    cuts: Cuts
    joint: Joint
    method: int

    @property
    def observed(self) -> npt.NDArray[np.int64]:
        """Counts of the observed track's steps."""
        counts: npt.NDArray[np.int64] = self.marginals.counts[0]
        return counts

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Counts of the predicted track's steps."""
        counts: npt.NDArray[np.int64] = self.marginals.counts[self.method + 1]
        return counts

    @property
    def bins(self) -> int:
        """Bins that are compared."""
        return int(self.observed.sum())

    @property
    def top(self) -> tuple[int, int]:
        """Number of bins in the top 1 % observed, and in the top 1 % predicted."""
        (lowest, _), (lowest_predicted, _) = self.cuts.thresholds[[0, self.method + 1]].tolist()
        return _at_least(self.observed, lowest), _at_least(self.predicted, lowest_predicted)


@dataclass(frozen=True)
class Metric:
    """A number computed from an observed and a predicted track.

    Parameters
    ----------
    value
        Function that computes it; NaN where it is undefined.
    is_correlation
        Whether it is independent of units and better when higher. Errors are better when lower.
    needs
        Data that it needs besides the two tracks.
    """

    value: Callable[[PairSums], float]
    is_correlation: bool = False
    needs: str = ""


def _at_least(counts: npt.NDArray[np.int64], step: int) -> int:
    return int(counts[step + OFFSET :].sum())


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator > 0 else nan


def mse(pair: PairSums) -> float:
    """Mean squared error, arcsinh units."""
    return _ratio(int(pair.joint.errors[pair.method]), pair.bins * UNIT)


def mse_raw(pair: PairSums) -> float:
    """Mean squared error in the track's own units."""
    return _ratio(pair.joint.raw_errors[pair.method], pair.bins)


def pearson(pair: PairSums) -> float:
    """Pearson correlation in arcsinh units, from whole numbers; NaN where a track is constant."""
    n, product = pair.bins, int(pair.joint.products[pair.method])
    (a, aa), (b, bb) = _moments(pair.observed), _moments(pair.predicted)
    variances = (n * aa - a * a, n * bb - b * b)
    return _ratio(n * product - a * b, sqrt(variances[0]) * sqrt(variances[1]))


def mse_affine(pair: PairSums) -> float:
    """Mean squared error of the best increasing affine function of the predicted track, arcsinh units.

    It is the minimum of mean (o - a - b p)^2 over a and b >= 0. If o and p correlate positively, that is the
    error of the regression of o on p, and otherwise the variance of o. So inverting a prediction never helps.
    """
    n = pair.bins
    (a, aa), (b, bb) = _moments(pair.observed), _moments(pair.predicted)
    covariance = max(0, n * int(pair.joint.products[pair.method]) - a * b)
    explained = covariance * (covariance / (n * bb - b * b)) if covariance else 0.0
    return _ratio(max(0.0, n * aa - a * a - explained), n * n * UNIT)


def _moments(counts: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Sum of steps and of squared steps, exact."""
    steps = np.arange(N_STEPS, dtype=np.int64) - OFFSET
    weighted = counts * steps
    return int(weighted.sum()), int((weighted * steps).sum())


def pearson_raw(pair: PairSums) -> float:
    """Pearson correlation in the track's own units."""
    norms = [
        float(counts[1:] @ (raw_units()[1:] - pair.cuts.centre[row]) ** 2)
        for counts, row in ((pair.observed, 0), (pair.predicted, pair.method + 1))
        if _varies(counts)
    ]
    return (
        _ratio(pair.joint.raw_products[pair.method], sqrt(norms[0]) * sqrt(norms[1]))
        if len(norms) == 2
        else nan
    )


def _varies(counts: npt.NDArray[np.int64]) -> bool:
    return int(np.count_nonzero(counts)) > 1


def spearman(pair: PairSums) -> float:
    """Spearman rank correlation. Tied values share their mean rank."""
    norms = [
        float(counts @ pair.cuts.ranks[row] ** 2)
        for counts, row in ((pair.observed, 0), (pair.predicted, pair.method + 1))
    ]
    return _ratio(pair.joint.rank_products[pair.method], sqrt(norms[0]) * sqrt(norms[1]))


def mse_top(pair: PairSums, side: int) -> float:
    """Mean squared error over the top 1 % observed (0) or predicted (1) bins, arcsinh units."""
    return _ratio(int(pair.joint.top_errors[pair.method, side]), pair.top[side] * UNIT)


def mse_top_raw(pair: PairSums, side: int) -> float:
    """As `mse_top`, in the track's own units."""
    return _ratio(pair.joint.raw_top_errors[pair.method, side], pair.top[side])


def match(pair: PairSums) -> float:
    """Number of bins that are in the top 1 % of both tracks."""
    return float(pair.joint.overlaps[pair.method, 0]) if pair.bins else nan


def catch(pair: PairSums, side: int) -> float:
    """Share of the top 1 % of one track that is in the top 5 % of the other."""
    return _ratio(int(pair.joint.overlaps[pair.method, 1 + side]), pair.top[side])


def auc_top(pair: PairSums, side: int) -> float:
    """Area under the ROC curve when one track's values predict the other's top 1 %; ties count half.

    It comes from the Mann-Whitney statistic: the sum of the ranks of the positive bins.
    """
    positive = pair.top[side]
    pairs = positive * (pair.bins - positive)
    return 0.5 + float(pair.joint.top_ranks[pair.method, side]) / pairs if pairs else nan


def auprc(pair: PairSums) -> float:
    """Average precision of the predicted values for bins in peaks; NaN without peaks."""
    positive = pair.joint.peak_counts[pair.method]
    return average_precision(positive, pair.predicted) if positive.size else nan


def average_precision(positive: npt.NDArray[np.int64], every: npt.NDArray[np.int64]) -> float:
    """Sum the precision at each value, weighted by the share of positive bins with that value."""
    positives, called = np.cumsum(positive[::-1]), np.cumsum(every[::-1])
    at = np.flatnonzero(positive[::-1])
    return _ratio(float((positive[::-1][at] * (positives[at] / called[at])).sum()), int(positive.sum()))


def mse_stratum(pair: PairSums, stratum: int) -> float:
    """Mean squared error over the bins of a stratum, arcsinh units."""
    if not pair.joint.stratum_bins.size:
        return nan
    errors = int(pair.joint.stratum_errors[pair.method, stratum])
    return _ratio(errors, int(pair.joint.stratum_bins[stratum]) * UNIT)


def mse_stratum_raw(pair: PairSums, stratum: int) -> float:
    """As `mse_stratum`, in the track's own units."""
    if not pair.joint.stratum_bins.size:
        return nan
    return _ratio(pair.joint.raw_stratum_errors[pair.method, stratum], int(pair.joint.stratum_bins[stratum]))


def mse_by_variance(pair: PairSums) -> float:
    """Mean squared error, each bin weighted by the assay's variance over biosamples; arcsinh units."""
    return _ratio(pair.joint.variance_errors[pair.method], pair.joint.variance[0] * UNIT)


def mse_by_variance_raw(pair: PairSums) -> float:
    """As `mse_by_variance`, in the track's own units."""
    return _ratio(pair.joint.raw_variance_errors[pair.method], pair.joint.variance[0])


_OLDER = {
    "match1": Metric(match),
    "catch1obs": Metric(lambda pair: catch(pair, 0), is_correlation=True),
    "catch1imp": Metric(lambda pair: catch(pair, 1), is_correlation=True),
    "aucobs1": Metric(lambda pair: auc_top(pair, 0), is_correlation=True),
    "aucimp1": Metric(lambda pair: auc_top(pair, 1), is_correlation=True),
}

METRICS: Mapping[str, Metric] = {
    "mse": Metric(mse),
    "pearson": Metric(pearson, is_correlation=True),
    "spearman": Metric(spearman, is_correlation=True),
    "mse1obs": Metric(lambda pair: mse_top(pair, 0)),
    "mse1imp": Metric(lambda pair: mse_top(pair, 1)),
    "mse_raw": Metric(mse_raw),
    "pearson_raw": Metric(pearson_raw, is_correlation=True),
    "mse_affine": Metric(mse_affine),
    **_OLDER,
    "mseprom": Metric(lambda pair: mse_stratum(pair, 0), needs="genes with strands"),
    "msegene": Metric(lambda pair: mse_stratum(pair, 1), needs="genes"),
    "mseenh": Metric(lambda pair: mse_stratum(pair, 2), needs="enhancers"),
    "msevar": Metric(mse_by_variance, needs="two more biosamples with the assay"),
    "auprc": Metric(auprc, is_correlation=True, needs="peaks"),
}
"""Corrected metrics by their name in tables. The command line shows the first five."""

CHALLENGE: Mapping[str, Metric] = {
    "mse": Metric(mse_raw),
    "gwcorr": Metric(pearson_raw, is_correlation=True),
    "gwspear": Metric(spearman, is_correlation=True),
    "mseprom": Metric(lambda pair: mse_stratum_raw(pair, 0), needs="genes with strands"),
    "msegene": Metric(lambda pair: mse_stratum_raw(pair, 1), needs="genes"),
    "mseenh": Metric(lambda pair: mse_stratum_raw(pair, 2), needs="enhancers"),
    "msevar": Metric(mse_by_variance_raw, needs="two more biosamples with the assay"),
    "mse1obs": Metric(lambda pair: mse_top_raw(pair, 0)),
    "mse1imp": Metric(lambda pair: mse_top_raw(pair, 1)),
    **_OLDER,
}
"""Metrics of the challenge, by its own names and definitions."""

MODES: Mapping[str, Mapping[str, Metric]] = {"corrected": METRICS, "challenge": CHALLENGE}

SHOWN = {
    "corrected": ("mse", "pearson", "spearman", "mse1obs", "mse1imp"),
    "challenge": tuple(CHALLENGE)[:9],
}
"""Metrics that the command line shows, by mode. Tables on disk have all metrics."""

CORRELATIONS = ("pearson", "spearman", "gwcorr", "gwspear")
"""Correlations, which are undefined where a track is constant."""

ACROSS_UNITS = ("spearman", "mse_affine", "gwspear")
"""Metrics that stay comparable where a track was predicted in other units than it was observed in."""

HIGHER_IS_BETTER = frozenset(
    name for metrics in MODES.values() for name, metric in metrics.items() if metric.is_correlation
) | {"match1", "skill"}


def metrics_of(mode: str) -> Mapping[str, Metric]:
    """Return the metrics of a mode.

    Raises
    ------
    ConfigError
        If there is no such mode.
    """
    if mode not in MODES:
        raise ConfigError("mode", got=repr(mode), expected=" or ".join(MODES))
    return MODES[mode]


def cuts_for(mode: str, total: Marginals) -> Cuts:
    """Compute ranks, means and thresholds of whole tracks as a mode defines them.

    The challenge takes the n-th largest value as `sorted[-n]`, where n is 1 % of the bins, rounded down.
    With fewer than 100 bins that is `sorted[-0]`, the smallest value, so that every bin is in the top 1 %.
    In `corrected` mode n is at least 1.
    """
    return cuts_of(total, fewest=0 if mode == "challenge" else 1)


def values_of(mode: str, total: Marginals, cuts: Cuts, sums: Joint) -> list[dict[str, float]]:
    """Compute all metrics of a mode from the statistics of whole tracks, one dict per predicted track."""
    pairs = [PairSums(total, cuts, sums, method) for method in range(len(sums.products))]
    return [{name: metric.value(pair) for name, metric in metrics_of(mode).items()} for pair in pairs]


def score(
    observed: npt.ArrayLike, imputed: npt.ArrayLike, *, mode: Mode = "corrected", places: Places | None = None
) -> dict[str, float]:
    """Compute all metrics of an imputed track over the bins where both tracks have a value.

    Parameters
    ----------
    observed, imputed
        Whole tracks in arcsinh units, shape `(bin,)`; rounded to 1/2048 as in a store.
    mode
        `"corrected"` or `"challenge"`.
    places
        The bins that count, strata, peaks and the assay's variance.

    Examples
    --------
    >>> found = score([0.0, 1.0, 2.0, 4.0], [0.0, 1.0, 3.0, 3.0])
    >>> found["mse"], round(found["spearman"], 3)
    (0.5, 0.949)
    """
    truth, steps = to_steps(observed), to_steps(imputed)[None]
    total = marginals(truth, steps, places)
    cuts = cuts_for(mode, total)
    return values_of(mode, total, cuts, joint(truth, steps, cuts, places))[0]
