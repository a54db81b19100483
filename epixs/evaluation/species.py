"""Compare joint with single-species training by assay, to find assays that differ between the species."""

from __future__ import annotations

from collections.abc import Iterator
from math import comb, nan
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from epixs.evaluation.metrics import HIGHER_IS_BETTER
from epixs.evaluation.runs import NOBODY, Method, Scores, chosen, method_name, read_run
from epixs.evaluation.significance import CLUSTERS, DRAWS, Resampling, holm
from epixs.evaluation.table import AVERAGE, MOST_NAMED

ALPHA = 0.05
"""Corrected p value below which an assay is named."""


def species_differences(
    scores: str | Path | pd.DataFrame,
    *,
    metric: str = "mse",
    single: str | None = None,
    cluster: str = CLUSTERS[0],
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare joint with single-species training assay by assay, and name assays that seem to differ.

    Where an assay marks other things in the other species, training on that species helps less than it does
    for other assays, or harms. An assay is named (`differs`) under two conditions. Joint training makes it
    worse on average. And its experiments' relative changes lie above those of all other assays' experiments,
    by a one-sided Mann-Whitney test with p < 0.05 after Holm's correction over assays.

    Parameters
    ----------
    scores
        As `run` of `tables`.
    metric
        An error or a correlation.
    single
        Training set of one species; by default the one in the run's plan, or else the first.
    cluster, draws, seed
        As in `tables`.

    Returns
    -------
    One row per joint training set, model and assay: `experiments single joint difference low high change p
    p_corrected differs`. `difference` is joint minus single, with its interval. `change` is positive where
    joint training is worse: relative for errors, absolute for correlations.
    """
    run = read_run(scores, metric, single)
    return differences(chosen(run, ~run.zero_shot), Resampling(cluster, draws, seed))[0]


COLUMNS = [
    "training_set", "model", "assay", "assay_class", "experiments", "single", "joint", "difference", "low",
    "high", "change", "p", "p_corrected", "differs",
]  # fmt: skip


def differences(scores: Scores, resampling: Resampling) -> tuple[pd.DataFrame, list[str]]:
    """Compare joint with single-species training by assay: a table, and notes on it."""
    parts, notes = [], []
    for single, joint in _pairs(scores):
        both = pd.DataFrame({"single": scores.of(single), "joint": scores.of(joint)}).dropna()
        if both.empty:
            continue
        part = _by_assay(both, scores.metric in HIGHER_IS_BETTER, resampling)
        parts.append(part.assign(training_set=joint[0], model=joint[1])[COLUMNS])
        what = f"{method_name(joint, True)} beside {method_name(single, True)}"
        names = [str(name) for name in part.loc[part["differs"], "assay"]]
        verb = "seems" if len(names) == 1 else "seem"
        notes.append(
            f"{what}: {', '.join(names)} {verb} to differ between the species by these fits; seeds, depth "
            "and antibodies differ too (docs/significance.md)"
            if names
            else f"{what}: no assay stands out as different between the species"
        )
        poor = [name for name in names if _is_worse_than_average(scores, single, name)]
        if poor:
            notes.append(
                f"{what}: without the other species, the model is worse than average activity on "
                f"{', '.join(poor)}, so the difference says little"
            )
        sizes = dict(zip(part["assay"].astype(str), part["experiments"].astype(int), strict=True))
        few = [name for name, size in sizes.items() if len(sizes) / comb(len(both), size) >= ALPHA]
        if few:
            notes.append(
                f"{what}: {len(few)} of {len(sizes)} assays have too few experiments ever to stand out: "
                f"{', '.join(few[:MOST_NAMED])}{', ...' if len(few) > MOST_NAMED else ''}"
            )
    return (pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)), notes


def _is_worse_than_average(scores: Scores, method: Method, assay: str) -> bool:
    """Whether a model is worse than average activity over the experiments of an assay that both have."""
    average = [one for one in scores.methods if one[2] == AVERAGE]
    of_assay = scores.wide.index.get_level_values("assay") == assay
    for one in average:
        both = pd.DataFrame({"model": scores.of(method), "average": scores.of(one)})[of_assay].dropna()
        sign = -1 if scores.metric in HIGHER_IS_BETTER else 1
        if len(both):
            return bool(sign * both["model"].mean() > sign * both["average"].mean())
    return False


def _pairs(scores: Scores) -> Iterator[tuple[Method, Method]]:
    """Pair each model's training on one species with its training on each other training set."""
    models = [method for method in scores.methods if method[1] != NOBODY]
    for joint in models:
        single = (scores.single, *joint[1:])
        if joint != single and single in models and joint[0] not in scores.alone:
            yield single, joint


def _by_assay(both: pd.DataFrame, higher_is_better: bool, resampling: Resampling) -> pd.DataFrame:
    """Make one row per assay; `change` is positive where joint training is worse."""
    if higher_is_better:
        changes = both["single"] - both["joint"]
    else:
        positive = both.where(both > 0)
        changes = (positive["joint"] / positive["single"]).map(np.log)
    assays = both.index.get_level_values("assay")
    rows: list[dict[str, object]] = []
    for assay in sorted(set(assays)):
        of_assay = np.asarray(assays == assay)
        part = both[of_assay]
        interval = resampling.interval(part["joint"] - part["single"])
        inside, outside = changes[of_assay].dropna(), changes[~of_assay].dropna()
        # One-sided: an assay on which joint training helps less than on the others.
        test = (
            stats.mannwhitneyu(inside, outside, alternative="greater")
            if len(inside) and len(outside)
            else None
        )
        change = float(inside.mean()) if len(inside) else nan
        rows.append(
            {
                "assay": assay,
                "assay_class": part.index.get_level_values("assay_class")[0],
                "experiments": len(part),
                "single": float(part["single"].mean()),
                "joint": float(part["joint"].mean()),
                "difference": interval.mean,
                "low": interval.low,
                "high": interval.high,
                "change": change if higher_is_better else float(np.expm1(change)),
                "p": float(test.pvalue) if test else nan,
            }
        )
    table = pd.DataFrame(rows)
    table["p_corrected"] = holm(table["p"].to_numpy(dtype=float))
    table["differs"] = (table["p_corrected"] < ALPHA) & (table["change"] > 0)
    return table
