"""Scores as a table: one row per track and method, their means, and what they are means over."""

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
"""Role of whole experiments that chose when training stopped: not trained on, but not untouched either."""


UNFAIR = ladder.UNFAIR.name
"""Mean over the species' own experiments of an assay that training never saw: no zero-shot user has it."""


MOST_NAMED = 3

TRACKS = "biosample_tracks"
"""Column with the number of training experiments of a scored experiment's biosample, itself left out."""

FEWEST_RANKED = 5
"""Tracks of which it is shown how expected and true correlation go together."""

KNOWN_METRICS = {*METRICS, *CHALLENGE, "skill"}

COUNTED = {
    "mse": "scored", "mse1obs": "scored", "mse1imp": "scored", **dict.fromkeys(CORRELATIONS, "correlated")
}  # fmt: skip
"""Metrics that say how many tracks the means of errors and of correlations are over."""


WHOLE_SHARE = 0.95
"""Share of the observed bins that has to be scored for a track to count as scored as a whole."""


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
        `held out` (not trained on, but it chose when training stopped) or `training`.
    notes
        What could not be computed, and why.
    odd_rows
        Names of the tracks that are `missing` (observed and not imputed, or imputed without a readable
        observed row), `constant`, `clipped` at 16 arcsinh units, or `NaN` (at some bins, or all).
    """

    scores: pd.DataFrame
    notes: list[str]
    odd_rows: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def odd_rows_note(self) -> str:
        """How many rows are odd, and which; nothing where none is."""
        found = []
        for kind, names in self.odd_rows.items():
            more = "; ..." if len(names) > MOST_NAMED else ""
            if names:
                found.append(f"{len(names)} {kind} ({'; '.join(names[:MOST_NAMED])}{more})")
        tracks = len(self.scores[["assay", "biosample"]].drop_duplicates())
        return f"beside {tracks} scored tracks, or among them, rows are: {'; '.join(found)}" if found else ""

    def summary(self) -> pd.DataFrame:
        """Means over experiments: per role, overall and by assay class, one row per method.

        All methods of a row's group are averaged over the same tracks: `scored` of the group's `experiments`
        for errors, `correlated` for correlations, which do not exist where a track is constant.
        """
        groups = []
        for role, part in self.scores.groupby("role", sort=False):
            for name, rows in [("overall", part), *part.groupby("assay_class", sort=True)]:
                head = {"role": role, "assay_class": name}
                head["experiments"] = int((rows["method"] == IMPUTED).sum())
                groups += [head | means for means in method_means(rows)]
        return pd.DataFrame(groups)

    def better_than(self, method: str = AVERAGE, metric: str = "mse") -> dict[str, tuple[int, int]]:
        """Per role, on how many tracks imputed is better than another method by a metric, and of how many.

        An error is only compared where the observed units are those of training (`same_units`), but for
        `mse_affine`, which is calibrated. A role none
        of whose tracks has the method, as zero-shot has no average activity, is left out.
        """
        scores = self.scores
        if metric not in {*HIGHER_IS_BETTER, *ACROSS_UNITS} and "same_units" in scores:
            scores = scores[scores["same_units"]]
        table = scores.pivot_table(index=["role", "assay", "biosample"], columns="method", values=metric)
        if method not in table or IMPUTED not in table:
            return {}
        both = table[[IMPUTED, method]].dropna()
        sign = -1 if metric in HIGHER_IS_BETTER else 1
        better = (sign * both[IMPUTED] < sign * both[method]).groupby(level="role")
        return {str(role): (int(part.sum()), len(part)) for role, part in better}

    def rank_of_expected(self, metric: str = "pearson") -> tuple[float, int] | None:
        """Spearman correlation of expected and true Pearson over imputed tracks that were not trained on.

        Returns
        -------
        The correlation, and the number of tracks; None if fewer than five tracks have both.
        """
        name = EXPECTED_PEARSON.name
        if name not in self.scores:
            return None
        mine = self.scores[(self.scores["method"] == IMPUTED) & (self.scores["role"] != "training")]
        both = mine[[name, metric]].dropna()
        if len(both) < FEWEST_RANKED:
            return None
        return float(both[name].corr(both[metric], method="spearman")), len(both)

    def beside_the_best(self, metric: str = "pearson") -> dict[str, tuple[float, str, float]]:
        """Per role the mean of a metric that is better the higher: imputed, and the best fair baseline.

        Returns
        -------
        The mean of imputed, the baseline's name, and its mean; no name where none has the metric. A role
        none of whose imputed tracks has it is left out.
        """
        summary = self.summary()
        found = {}
        for role, part in summary[summary["assay_class"] == "overall"].groupby("role", sort=False):
            means = part.set_index("method")[metric].dropna()
            if IMPUTED in means:
                fair = means.drop([IMPUTED, UNFAIR], errors="ignore")
                best = (str(fair.idxmax()), float(fair.max())) if len(fair) else ("", float("nan"))
                found[str(role)] = (float(means[IMPUTED]), *best)
        return found


def method_means(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Mean of each metric for each method, over the tracks on which all of them have it.

    A method that has a metric on none of the tracks that the methods before it share (imputed first, then by
    the number of their tracks) gets NaN, rather than leaving the others nothing to be compared on.

    Returns
    -------
    One dict per method: `method`, `scored` and `correlated` (number of tracks that means of errors and of
    correlations are taken over) and the metrics.
    """
    methods = list(dict.fromkeys(scores["method"]))
    means: dict[str, dict[str, Any]] = {method: {"method": method} for method in methods}
    for metric in metric_columns(scores):
        table = scores.pivot_table(index=["assay", "biosample"], columns="method", values=metric)
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


def metric_columns(scores: pd.DataFrame) -> list[str]:
    """Columns of a table of scores that are metrics."""
    return [name for name in scores.columns if name in KNOWN_METRICS]


def missing_correlations(scores: pd.DataFrame) -> list[str]:
    """A note per role on tracks that have no correlation because something is constant there, by name."""
    notes = []
    for role, part in scores.groupby("role", sort=False):
        correlation = next(name for name in CORRELATIONS if name in part)
        is_constant = part["method"] == ladder.CONSTANT.name  # never has one, nor keeps others from having it
        lacking = part[part[correlation].isna() & part["mse"].notna() & ~is_constant]
        tracks: dict[str, list[str]] = {}
        for row in lacking.itertuples():
            tracks.setdefault(f"{row.biosample} / {row.assay}", []).append(str(row.method))
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


def partly_scored(scores: pd.DataFrame) -> list[str]:
    """A note, if tracks are scored on few of their observed bins, for a method has no value on the others."""
    tracks = scores.drop_duplicates(["role", "assay", "biosample"])
    share = tracks["bins"] / tracks["observed_bins"].where(tracks["observed_bins"] > 0)
    few = tracks.assign(share=share)[share < WHOLE_SHARE].sort_values("share", kind="stable")
    if few.empty:
        return []
    least = few.iloc[0]
    return [
        f"WARNING: {len(few)} of {len(tracks)} tracks are scored on fewer bins than were observed, those "
        "that every "
        f"method has a value for: as few as {least['share']:.1%} ({least['biosample']} / {least['assay']}). "
        "The other "
        "bins count for no method; scores.tsv has both numbers (bins, observed_bins)"
    ]
