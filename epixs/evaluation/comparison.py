"""Make the paper's two tables, which compare training sets, models and baselines experiment by experiment.

All comparisons are paired: all methods of a table are averaged over the same experiments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from epixs.errors import ConfigError, closest
from epixs.evaluation import ladder
from epixs.evaluation.metrics import HIGHER_IS_BETTER
from epixs.evaluation.runs import METHOD, NOBODY, Method, Scores, chosen, method_name, names_of, read_run
from epixs.evaluation.significance import CLUSTERS, DRAWS, FEWEST_CLUSTERS, Resampling, holm, paired_wilcoxon
from epixs.evaluation.species import differences
from epixs.evaluation.table import AVERAGE, MOST_NAMED, Evaluation

OVERALL, BY_ASSAY = "overall", "by assay"
"""Names of two means: over all experiments, and over the assays' means over their experiments."""

CLASSES = ("histone", "protein_binding", "transcription", "accessibility")
"""Assay classes in the order of the paper's table. Others follow."""

STRATA = ((0, 0), (1, 1), (2, 3), (4, 7), (8, 15), (16, None))
"""Ranges (from, to) of a biosample's number of training experiments. Each range is one group."""


@dataclass(frozen=True)
class Tables:
    """The tables of a run, one row per method and group of experiments.

    Columns are `training_set model method zero_shot_user group experiments mean low high against pairs
    difference difference_low difference_high effect p p_corrected`. `mean` is that of the metric, with its
    interval. The method is compared with `against` on `pairs` experiments: `difference` is the mean
    difference, with its interval, `effect` the matched-pairs rank-biserial correlation (negative where the
    method is mostly lower), and `p` that of Wilcoxon's signed-rank test. `p_corrected` is corrected for the
    number of tests of models in the table, or of baselines.

    Parameters
    ----------
    metric
        The metric of all means.
    imputation
        Experiments whose assay was trained on in their species (the paper's table 1).
    zero_shot
        Experiments whose assay was not trained on in their species (table 2).
    characterised
        As `imputation`, by the number of training experiments of the biosample.
    assays
        Joint minus single species, as `species_differences` gives it.
    notes
        Notes on experiments and comparisons that are left out, and why.
    """

    metric: str
    imputation: pd.DataFrame
    zero_shot: pd.DataFrame
    characterised: pd.DataFrame
    assays: pd.DataFrame
    notes: list[str]


def tables(
    run: str | Path | pd.DataFrame | Evaluation,
    *,
    metric: str | None = None,
    baseline: str | None = None,
    cluster: str = CLUSTERS[0],
    draws: int = DRAWS,
    seed: int = 0,
) -> Tables:
    """Make the paper's two tables of a run, with intervals and tests, and compare the species assay by assay.

    Parameters
    ----------
    run
        Folder of `epixs crossvalidate`, or of the report of `epixs evaluate`; or what `crossvalidate` or
        `evaluate` returned.
    metric
        Column of the scores to average: by default `mse`, or `spearman` if no experiment has the units that
        it was predicted in.
    baseline
        Training set, model or baseline that all others are compared with. By default the training set of one
        species, or the imputed tracks of one evaluation; if they have no score, the fair baseline with most
        experiments, and of several the best.
    cluster
        Whether bootstrap samples draw whole `"biosample"`s, or each `"experiment"` by itself. A table of
        fewer than three biosamples draws experiments, and a note says so.
    draws, seed
        Number of bootstrap samples, and their seed.

    Raises
    ------
    ConfigError
        If the run holds no scores, no such metric, or no such baseline.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("mouse", 0.3, 0.2), ("mouse + human", 0.2, 0.1)]
    >>> scores = pd.DataFrame(
    ...     [
    ...         {"training_set": name, "model": "avocado", "seed": "0", "fold": "1", "method": "avocado"}
    ...         | {"biosample": biosample, "assay": "H3K4me3", "assay_class": "histone", "mse": mse}
    ...         for name, *values in rows
    ...         for biosample, mse in zip(("liver", "heart"), values)
    ...     ]
    ... )
    >>> table = tables(scores).imputation
    >>> table[table["group"] == "overall"][["training_set", "mean", "against"]].to_numpy().tolist()
    [['mouse', 0.25, ''], ['mouse + human', 0.15..., 'mouse']]
    """
    resampling = Resampling(cluster, draws, seed)
    scores = read_run(run, metric)
    first, second = (chosen(scores, rows) for rows in (~scores.zero_shot, scores.zero_shot))
    if baseline is not None:
        known = names_of(scores.methods)
        if baseline not in known:
            raise ConfigError(
                "baseline", got=f"{baseline!r}{closest(baseline, known)}", expected="; ".join(known)
            )
    notes = list(scores.notes)
    (first, of_first, first_notes), (second, of_second, second_notes) = (
        _shared(one, baseline) for one in (first, second)
    )
    notes += [f"table 1: {text}" for text in first_notes] + [f"table 2: {text}" for text in second_notes]
    draw_first, draw_second = (_drawable(one, resampling) for one in (first, second))
    for name, drawn in (("table 1", draw_first), ("table 2", draw_second)):
        if drawn != resampling:
            notes.append(
                f"{name} is of fewer than {FEWEST_CLUSTERS} biosamples: its intervals draw experiments, and "
                "say nothing about other biosamples"
            )
    assays, remarks = differences(first, draw_first)
    return Tables(
        scores.metric,
        compare(first, of_first, _class_groups(first.wide), draw_first),
        compare(second, of_second, _class_groups(second.wide), draw_second),
        compare(first, of_first, _strata_groups(first), draw_first),
        assays,
        [*notes, *remarks],
    )


def _drawable(scores: Scores, resampling: Resampling) -> Resampling:
    """Draw experiments instead of biosamples if there are too few of these."""
    labels = scores.wide.index.to_frame()[["species", "biosample"]].drop_duplicates()
    return replace(resampling, cluster=CLUSTERS[1]) if 0 < len(labels) < FEWEST_CLUSTERS else resampling


def _reference(scores: Scores, baseline: str | None) -> dict[Method, Method]:
    """Find what each method is compared with: the same model on another training set, or one method."""
    methods = scores.methods
    models = [method for method in methods if method[1] != NOBODY]
    chosen = names_of(methods).get(baseline) if baseline is not None else _default(scores, models)
    if chosen is None:
        return {}
    reference = {}
    for method in methods:
        same_model = (chosen[0], *method[1:])
        of_models = chosen in models and method in models and same_model in models
        against = same_model if of_models else chosen
        if against != method:
            reference[method] = against
    return reference


def _default(scores: Scores, models: Sequence[Method]) -> Method | None:
    """Return the first model of one species or evaluation; else the best of the fullest fair baselines."""
    alone = [method for method in models if method[0] in (scores.single, NOBODY)]
    if alone:
        return alone[0]
    fair = [baseline.name for baseline in (ladder.AVERAGE, *reversed(ladder.ZERO_SHOT))]
    there = sorted((m for m in scores.methods if m[2] in fair), key=lambda m: fair.index(m[2]))
    sign = 1 if scores.metric in HIGHER_IS_BETTER else -1

    def goodness(method: Method) -> tuple[int, float]:
        return int(scores.of(method).count()), sign * float(scores.of(method).mean())

    return max(there, key=goodness, default=None)


def _shared(scores: Scores, baseline: str | None) -> tuple[Scores, dict[Method, Method], list[str]]:
    """Keep the experiments scored by all models and the methods they are compared with; note the others."""
    wide = scores.wide
    reference = _reference(scores, baseline)
    notes = []
    if baseline is not None and not reference and len(wide):
        notes.append(f"{baseline} has no score there: nothing is compared with it")
    average = [
        method
        for method in scores.methods
        if method[2] == AVERAGE and 2 * scores.of(method).count() > len(wide)
    ]
    models = [method for method in scores.methods if method[1] != NOBODY]
    required = list(dict.fromkeys([*models, *reference.values(), *average]))
    shared = wide[required].notna().all(axis=1).to_numpy()
    if not shared.any() and len(wide):
        shared = np.ones(len(wide), dtype=bool)
        notes.append("no experiment has a score of all models: means are over different experiments")
    elif not shared.all():
        named = [method_name(one, True) for one in required if scores.of(one)[~shared].isna().any()]
        notes.append(
            f"{int((~shared).sum())} of {len(wide)} experiments are left out, where there is no score of "
            f"{' or '.join(named[:MOST_NAMED])}{' or others' if len(named) > MOST_NAMED else ''}"
        )
    kept = chosen(scores, shared)
    few = [
        f"{method_name(method, True)} ({kept.of(method).count()} of {len(kept.wide)})"
        for method in kept.methods
        if kept.of(method).isna().any()
    ]
    if few:
        notes.append(f"means over fewer experiments, not to be compared with the others: {'; '.join(few)}")
    return kept, reference, notes


Groups = Mapping[str, npt.NDArray[np.bool_]]


def _class_groups(wide: pd.DataFrame) -> Groups:
    """Group all experiments, once overall and once by assay, and those of each assay class."""
    classes = np.array(wide.index.get_level_values("assay_class"), dtype=object)
    names = sorted(set(classes), key=lambda name: (CLASSES.index(name) if name in CLASSES else 9, name))
    everything = np.ones(len(wide), dtype=bool)
    return {OVERALL: everything, BY_ASSAY: everything} | {name: classes == name for name in names}


def _strata_groups(scores: Scores) -> Groups:
    """Group experiments by the number of training experiments of their biosample."""
    groups = {}
    for low, high in STRATA:
        name = f"{low}" if low == high else f"{low} or more" if high is None else f"{low} to {high}"
        rows = (scores.tracks >= low) & (scores.tracks <= (np.inf if high is None else high))
        if rows.any():
            groups[name] = rows
    return groups


def compare(
    scores: Scores, reference: Mapping[Method, Method], groups: Groups, resampling: Resampling
) -> pd.DataFrame:
    """Make one row per method and group of experiments: mean, interval, and the paired comparison.

    The group `by assay` weighs all assays the same, and its test compares the assays' means. p values are
    corrected over all tests of models, and apart from these over all tests of baselines.
    """
    zero_shot_users = {baseline.name: baseline.is_zero_shot for baseline in ladder.LADDER}
    rows = []
    for method in scores.methods:
        training_set, model, name = method
        has_it = True if model != NOBODY else zero_shot_users.get(name)
        head = {"training_set": training_set, "model": model, "method": name}
        head["zero_shot_user"] = "" if has_it is None else "yes" if has_it else "no"
        against = reference.get(method)
        for group, mask in groups.items():
            values = scores.of(method)[mask].dropna()
            if values.empty:
                continue
            interval = resampling.interval(values, by_assay=group == BY_ASSAY)
            row = head | {"group": group, "experiments": len(values), **vars(interval), "against": ""}
            if against is not None:
                row |= {"against": method_name(against, True)}
                row |= _paired(values, scores.of(against)[mask], group == BY_ASSAY, resampling)
            rows.append(row)
    columns = [
        *METHOD, "zero_shot_user", "group", "experiments", "mean", "low", "high", "against", "pairs",
        "difference", "difference_low", "difference_high", "effect", "p",
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    p = table["p"].to_numpy(dtype=float)
    corrected, is_model = np.full(len(table), np.nan), (table["model"] != NOBODY).to_numpy(dtype=bool)
    for family in (is_model, ~is_model):
        corrected[family] = holm(p[family])
    return table.assign(p_corrected=corrected)


def _paired(values: pd.Series, other: pd.Series, by_assay: bool, resampling: Resampling) -> dict[str, Any]:
    """Compare a method with another one on the experiments that both have."""
    both = pd.DataFrame({"value": values, "other": other}).dropna()
    interval = resampling.interval(both["value"] - both["other"], by_assay=by_assay)
    tested = both.groupby(level="assay").mean() if by_assay else both
    test = paired_wilcoxon(tested["value"].to_numpy(), tested["other"].to_numpy())
    return {
        "pairs": test.pairs,
        "difference": interval.mean,
        "difference_low": interval.low,
        "difference_high": interval.high,
        "effect": test.effect,
        "p": test.p,
    }
