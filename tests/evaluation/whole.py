"""Metrics of whole tracks in NumPy and SciPy: slow, obvious, and independent of the statistics of chunks."""

import numpy as np
from scipy import stats


def mse(observed, imputed):
    return float(np.mean((observed - imputed) ** 2))


def roc_auc(positive, values):
    """Share of (positive, negative) pairs in the right order, ties counting half."""
    ranks = stats.rankdata(values)
    n, m = int(positive.sum()), int((~positive).sum())
    return (ranks[positive].sum() - n * (n + 1) / 2) / (n * m)


def average_precision(positive, values):
    """Precision at each distinct value from the top, weighted by the share of positives that it adds."""
    total = 0.0
    for value in np.unique(values):
        added = int((positive & (values == value)).sum())
        called = values >= value
        total += added / positive.sum() * (positive & called).sum() / called.sum()
    return total


def top(track, share=0.01):
    count = max(1, int(share * track.size))
    return track >= np.sort(track)[track.size - count]


def mse_affine(observed, imputed):
    """Of the least-squares line, or of the mean where the line falls."""
    slope, intercept = np.polyfit(imputed, observed, 1)
    return mse(observed, slope * imputed + intercept) if slope > 0 else float(np.var(observed))


def corrected(observed, imputed):
    """The metrics that need nothing but two tracks, of tracks without missing values that are not constant."""
    top_observed, top_imputed = top(observed), top(imputed)
    raw = np.sinh(observed), np.sinh(imputed)
    return {
        "mse": mse(observed, imputed),
        "pearson": stats.pearsonr(observed, imputed).statistic,
        "spearman": stats.spearmanr(observed, imputed).statistic,
        "mse1obs": mse(observed[top_observed], imputed[top_observed]),
        "mse1imp": mse(observed[top_imputed], imputed[top_imputed]),
        "mse_raw": mse(*raw),
        "pearson_raw": stats.pearsonr(*raw).statistic,
        "mse_affine": mse_affine(observed, imputed),
        "match1": (top_observed & top_imputed).sum(),
        "catch1obs": (top_observed & top(imputed, 0.05)).sum() / top_observed.sum(),
        "catch1imp": (top_imputed & top(observed, 0.05)).sum() / top_imputed.sum(),
        "aucobs1": roc_auc(top_observed, imputed) if not top_observed.all() else np.nan,
        "aucimp1": roc_auc(top_imputed, observed) if not top_imputed.all() else np.nan,
    }
