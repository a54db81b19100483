"""Hold scores as a table, one row per track and method, and average them over the same tracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from epixs.compendium.schema import EXPECTED_PEARSON
from epixs.evaluation import ladder
from epixs.evaluation.metrics import ACROSS_UNITS, CHALLENGE, CORRELATIONS, HIGHER_IS_BETTER, METRICS

IMPUTED = "imputed"


AVERAGE = ladder.AVERAGE.name


ZERO_SHOT = tuple(baseline.name for baseline in ladder.ZERO_SHOT)


HELD_OUT = "held out"
"""Role of whole experiments that were not trained on, but that may have chosen when training stopped."""

TRAINED_ON, REPLACED = "training", "replaced"
"""Roles of experiments that were trained on: from the scored file, or from another file of the experiment."""

SEEN = (TRAINED_ON, REPLACED)


def track_columns(scores: pd.DataFrame) -> list[str]:
    """List the columns that tell tracks apart: scores of several species may be combined."""
    return [name for name in ("species", "assay", "biosample") if name in scores]


UNFAIR = ladder.UNFAIR.name
"""Name of the mean over the species' own experiments of an assay that training never saw.

No zero-shot user has these experiments.
"""


MOST_NAMED = 3

TRACKS = "biosample_tracks"
"""Column with the number of training experiments of the biosample, without the scored experiment itself."""

FEWEST_RANKED = 5
"""Minimum number of tracks for which expected and true correlations are compared by rank."""

KNOWN_METRICS = {*METRICS, *CHALLENGE, "skill"}

COUNTED = {
    "mse": "scored", "mse1obs": "scored", "mse1imp": "scored", **dict.fromkeys(CORRELATIONS, "correlated")
}  # fmt: skip
"""Metrics whose tracks are counted, and the name of the count: for means of errors, and of correlations."""


WHOLE_SHARE = 0.95
"""Minimum share of observed bins that must be scored for a track to count as scored as a whole."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of every experiment that both stores hold.

    Parameters
    ----------
    scores
        One row per experiment and method: `biosample assay assay_class role method` and the metrics.
        `biosample_tracks` is the number of the biosample's other experiments that were trained on.
        `expected_pearson`, if the imputed store has it, is what the model expected of the imputed track.
        `skill` is 1 - MSE / MSE of average activity on the same bins.
        `role` is `excluded` (not trained on), `zero-shot` (its assay not trained on in this species),
        `held out` (not trained on, but it may have chosen when training stopped), `replaced` (trained on from
        another file of the same experiment) or `training`.
    notes
        Notes on scores that could not be computed, and why.
    odd_rows
        Names of the tracks that are `missing` (observed, but neither imputed nor trained on; or imputed
        without a readable observed row), `constant`, `clipped` at 16 arcsinh units, or `NaN` (at some bins,
        or all).
    annotations
        Annotation files that the scores depend on, by what they hold.
    """

    scores: pd.DataFrame
    notes: list[str]
    odd_rows: Mapping[str, Sequence[str]] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    def odd_rows_note(self) -> str:
        """Say how many rows are odd, and which; empty if none are."""
        kinds = []
        for kind, names in self.odd_rows.items():
            more = "; ..." if len(names) > MOST_NAMED else ""
            if names:
                kinds.append(f"{len(names)} {kind} ({'; '.join(names[:MOST_NAMED])}{more})")
        tracks = len(self.scores[track_columns(self.scores)].drop_duplicates())
        return f"odd rows, beside or among {tracks} scored tracks: {'; '.join(kinds)}" if kinds else ""

    def summary(self) -> pd.DataFrame:
        """Average over experiments: per role, overall and by assay class, one row per method.

        All methods of a group are averaged over the same tracks. Of the group's `experiments`, these are
        `scored` for errors, and `correlated` for correlations, which do not exist where a track is constant.
        """
        groups = []
        for role, part in self.scores.groupby("role", sort=False):
            for name, rows in [("overall", part), *part.groupby("assay_class", sort=True)]:
                head = {"role": role, "assay_class": name}
                head["experiments"] = len(rows[track_columns(rows)].drop_duplicates())
                groups += [head | means for means in method_means(rows)]
        return pd.DataFrame(groups)

    def better_than(self, method: str = AVERAGE, metric: str = "mse") -> dict[str, tuple[int, int]]:
        """Count per role the tracks where imputed is better than another method by a metric, and all tracks.

        An error is only compared where the observed units are those of training (`same_units`), except for
        `mse_affine`, which is calibrated. A role without any track of the method is left out, such as
        zero-shot for average activity.
        """
        scores = self.scores
        if needs_units(metric) and "same_units" in scores:
            scores = scores[scores["same_units"]]
        labels = ["role", *track_columns(scores)]
        table = scores.pivot_table(index=labels, columns="method", values=metric)
        if method not in table or IMPUTED not in table:
            return {}
        both = table[[IMPUTED, method]].dropna()
        sign = -1 if metric in HIGHER_IS_BETTER else 1
        better = (sign * both[IMPUTED] < sign * both[method]).groupby(level="role")
        return {str(role): (int(part.sum()), len(part)) for role, part in better}

    def rank_of_expected(self) -> tuple[float, int] | None:
        """Correlate expected and true Pearson over imputed tracks that were not trained on, by Spearman.

        Returns
        -------
        The correlation, and the number of tracks; None if fewer than five tracks have both.
        """
        both = self.expected()
        if len(both) < FEWEST_RANKED:
            return None
        return float(both["expected"].corr(both["true"], method="spearman")), len(both)

    def expected(self) -> pd.DataFrame:
        """Table of `role`, `expected` and `true` Pearson of the imputed tracks that were not trained on.

        Empty if the store says nothing of it, or if the metrics are those of the challenge, whose Pearson
        correlation is of raw signal.
        """
        name, metric = EXPECTED_PEARSON.name, "pearson"
        if name not in self.scores or metric not in self.scores:
            return pd.DataFrame(columns=["role", "expected", "true"])
        mine = self.scores[(self.scores["method"] == IMPUTED) & ~self.scores["role"].isin(SEEN)]
        both = mine[["role", name, metric]].dropna()
        return both.set_axis(["role", "expected", "true"], axis=1)

    def beside_the_best(self, metric: str = "pearson") -> dict[str, tuple[float, str, float]]:
        """Compare, per role, the mean of imputed with that of the best fair baseline, where higher is better.

        Returns
        -------
        The mean of imputed, the baseline's name, and its mean; an empty name if no baseline has the metric.
        A role is left out if no imputed track has it.
        """
        summary = self.summary()
        means_by_role = {}
        for role, part in summary[summary["assay_class"] == "overall"].groupby("role", sort=False):
            means = part.set_index("method")[metric].dropna()
            if IMPUTED in means:
                fair = means.drop([IMPUTED, UNFAIR], errors="ignore")
                best = (str(fair.idxmax()), float(fair.max())) if len(fair) else ("", float("nan"))
                means_by_role[str(role)] = (float(means[IMPUTED]), *best)
        return means_by_role


def method_means(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Average each metric for each method, over the tracks on which all methods have it.

    Methods are added one by one: imputed first, then by the number of their tracks. A method that has the
    metric on none of the tracks shared so far gets NaN, so that the others can still be compared.

    Returns
    -------
    One dict per method: `method`, `scored` and `correlated` (number of tracks in the means of errors and of
    correlations) and the metrics.
    """
    methods = list(dict.fromkeys(scores["method"]))
    means: dict[str, dict[str, Any]] = {method: {"method": method} for method in methods}
    for metric in metric_columns(scores):
        table = scores.pivot_table(index=track_columns(scores), columns="method", values=metric)
        table = table.reindex(columns=methods)
        shared = np.ones(len(table), dtype=bool)
        compared: set[str] = set()
        for method in sorted(methods, key=lambda name: (name != IMPUTED, -table[name].count())):
            with_it = shared & table[method].notna().to_numpy()
            if with_it.any():
                shared = with_it
                compared.add(method)
        count = COUNTED.get(metric)
        for method in methods:
            tracks = int(shared.sum()) if method in compared else 0
            if count:
                means[method][count] = min(tracks, means[method].get(count, tracks))
            means[method][metric] = float(table.loc[shared, method].mean()) if tracks else float("nan")
    return list(means.values())


def needs_units(metric: str) -> bool:
    """Whether a metric means nothing if a track was observed in other units than it was predicted in."""
    return metric == "skill" or metric not in {*HIGHER_IS_BETTER, *ACROSS_UNITS}


def metric_columns(scores: pd.DataFrame) -> list[str]:
    """List the columns of a table of scores that are metrics."""
    return [name for name in scores.columns if name in KNOWN_METRICS]


def missing_correlations(scores: pd.DataFrame) -> list[str]:
    """Note per role the tracks without correlations because the observed or a predicted track is constant."""
    notes = []
    for role, part in scores.groupby("role", sort=False):
        correlation = next(name for name in CORRELATIONS if name in part)
        is_constant = part["method"] == ladder.CONSTANT.name  # never has one, and does not count
        lacking = part[part[correlation].isna() & part["mse"].notna() & ~is_constant]
        tracks: dict[str, list[str]] = {}
        for row in lacking.itertuples():
            label = f"{row.biosample} / {row.assay}"
            species = getattr(row, "species", None)
            tracks.setdefault(f"{species} / {label}" if species else label, []).append(str(row.method))
        if tracks:
            total = int((part["method"] == IMPUTED).sum())
            named = [f"{name} ({', '.join(methods)})" for name, methods in tracks.items()]
            more = ", ..." if len(named) > MOST_NAMED else ""
            notes.append(
                f"no correlation on {len(tracks)} of {total} {role} tracks, where the observed track or that "
                f"of a method is constant; left out of all methods' mean correlations: "
                f"{', '.join(named[:MOST_NAMED])}{more}"
            )
    return notes


def without_peaks(scores: pd.DataFrame) -> list[str]:
    """Note that `auprc` is known of the tracks with peaks only, if there are others."""
    mine = scores[scores["method"] == IMPUTED]
    known = int(mine["auprc"].notna().sum()) if "auprc" in mine else 0
    if not 0 < known < len(mine):
        return []
    return [f"{known} of {len(mine)} tracks have peaks: means of auprc are over these"]


def partly_scored(scores: pd.DataFrame) -> list[str]:
    """Note the tracks with few scored bins, because a method has no value on their other observed bins."""
    tracks = scores.drop_duplicates(["role", *track_columns(scores)])
    share = tracks["bins"] / tracks["observed_bins"].where(tracks["observed_bins"] > 0)
    few = tracks.assign(share=share)[share < WHOLE_SHARE].sort_values("share", kind="stable")
    if few.empty:
        return []
    least = few.iloc[0]
    return [
        f"WARNING: {len(few)} of {len(tracks)} tracks are scored on fewer bins than were observed, namely "
        "where every method has a value: "
        f"as few as {least['share']:.1%} ({least['biosample']} / {least['assay']}). "
        "scores.tsv has both numbers (bins, observed_bins)"
    ]
