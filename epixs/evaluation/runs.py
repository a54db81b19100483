"""Read the scores of a run as one table of experiments by methods, whichever command wrote them.

A run is a cross-validation or one evaluation. An experiment's score is its mean over seeds and folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd

from epixs.catalog.tsv import read_tsv
from epixs.declared import read_json_file
from epixs.errors import ConfigError, closest
from epixs.evaluation import ladder
from epixs.evaluation.metrics import ACROSS_UNITS
from epixs.evaluation.table import (
    AVERAGE,
    HELD_OUT,
    IMPUTED,
    KNOWN_METRICS,
    MOST_NAMED,
    REPLACED,
    SEEN,
    TRACKS,
    TRAINED_ON,
    Evaluation,
    needs_units,
)

NOBODY = "-"
"""Placeholder for a missing training set, model, seed or fold: in rows of baselines or of one evaluation."""

EXPERIMENT = ["species", "biosample", "assay", "assay_class"]
"""Labels of an experiment."""

METHOD = ["training_set", "model", "method"]
"""Labels of a method that predicts an experiment."""

LABELS = [*METHOD, "seed", "fold", *EXPERIMENT]

ZERO_SHOT = "zero-shot"
"""Role of the experiments in the second table."""

SCORES_FILE, PLAN_FILE = "scores.tsv", "crossvalidation.json"
"""Files of a run; an evaluation has no plan."""

PLAN = "plan"
"""Name of the attribute of the table of `crossvalidate` that holds its plan."""

MAX_PLAN_BYTES = 1 << 28


class SavedTrainingSet(TypedDict):
    """A training set in the saved plan of a run. Only its compendia of other species are read."""

    others: list[str]


class SavedConfig(TypedDict):
    """The configuration in the saved plan of a run. Only its training sets, by name, are read."""

    training_sets: dict[str, SavedTrainingSet]


class SavedFit(TypedDict):
    """A fit in the saved plan of a run. Only its name is read."""

    training_set: str
    model: str
    seed: int
    fold: str


class SavedPlan(TypedDict):
    """The saved plan of a run. Only its configuration and its fits are read."""

    config: SavedConfig
    fits: list[SavedFit]


RANK = ACROSS_UNITS[0]
"""Metric of experiments in other units than they were predicted in."""

Method = tuple[str, str, str]
"""Training set, model and name of a method."""


@dataclass(frozen=True)
class Scores:
    """Scores of one metric as a table of experiments by methods.

    Parameters
    ----------
    wide
        One row per experiment, one column per method; the mean over seeds and folds.
    metric
        Its name.
    zero_shot
        Whether the assay of each experiment was not trained on in its species.
    tracks
        Training experiments of each experiment's biosample; NaN where unknown.
    single
        Training set of one species that the others are compared with.
    alone
        All training sets of one species, as far as known.
    notes
        Notes on rows that were left out.
    """

    wide: pd.DataFrame
    metric: str
    zero_shot: npt.NDArray[np.bool_]
    tracks: npt.NDArray[np.float64]
    single: str
    alone: frozenset[str]
    notes: list[str]

    @property
    def methods(self) -> list[Method]:
        """Methods that have scores, in the order of a table."""
        columns: list[Any] = list(self.wide.columns)
        return columns

    def of(self, method: Method) -> pd.Series[float]:
        """Return a method's score of each experiment; NaN where there is none."""
        return pd.Series(self.wide[method])


def read_run(
    run: str | Path | pd.DataFrame | Evaluation, metric: str | None = None, single: str | None = None
) -> Scores:
    """Read the scores of a run as one table of experiments by methods.

    Without a metric, it is `mse`, or `spearman` if no experiment has the units that it was predicted in.

    Raises
    ------
    ConfigError
        If the run has no scores, or none of this metric.
    """
    if isinstance(run, Evaluation):
        run = run.scores
    if isinstance(run, pd.DataFrame):
        table, plan = run, run.attrs.get(PLAN)
    else:
        table, plan = _read_folder(Path(run))
    is_open = metric is None
    notes, metric = [], metric or "mse"
    table = _canonical(table, metric)
    untrained = table[~table["role"].isin(SEEN)]
    if is_open and RANK in table and len(untrained) and not untrained["same_units"].any():
        table, metric = _canonical(table, RANK), RANK
        notes.append(
            "all experiments were observed in other units than they were predicted in: compared by rank, "
            f"{RANK}"
        )
    if single is not None and single not in set(table["training_set"]):
        known = list(dict.fromkeys(table["training_set"]))
        raise ConfigError("single", got=f"{single!r}{closest(single, known)}", expected="; ".join(known))
    notes += _incomplete(table, plan)
    for role, why in ((TRAINED_ON, ""), (REPLACED, ", from another file,")):
        some = len(table.loc[table["role"] == role, EXPERIMENT].drop_duplicates())
        if some:
            notes.append(f"{some} experiments that were trained on{why} are in no table")
    kept = table[~table["role"].isin(SEEN)]
    if needs_units(metric):
        strange = kept.loc[~kept["same_units"], EXPERIMENT].drop_duplicates()
        if len(strange):
            notes.append(
                f"{len(strange)} experiments were observed in other units than they were predicted in, and "
                f"are in no table of {metric}: compare them by "
                f"{' or '.join([name for name in ACROSS_UNITS if name in table][:2])}"
            )
        kept = kept[kept["same_units"]]
    kept = _of_one_role(kept, notes)
    if kept.empty:
        raise ConfigError(
            "no score is left", got="; ".join(notes), expected="experiments that were not trained on"
        )
    if kept[metric].isna().all():
        raise ConfigError(
            f"no experiment has a {metric}",
            got="; ".join([*notes, f"no value in {len(kept)} rows"]),
            expected="another metric, or evaluate with what this one needs (docs/metrics.md)",
        )
    chosen_by = len(kept.loc[kept["role"] == HELD_OUT, EXPERIMENT].drop_duplicates())
    if chosen_by:
        notes.append(
            f"{chosen_by} experiments are held out: they were not trained on, but may have chosen when "
            "training stopped, so their scores may be a little too good"
        )
    grouped = kept.groupby([*EXPERIMENT, *METHOD], sort=False)[metric]
    means = grouped.mean().where(grouped.count() == grouped.size())
    wide = _without_copies(pd.DataFrame(means.unstack(METHOD)))  # noqa: PD010 (keeps what is NaN)
    wide = wide.reindex(columns=_ordered(wide.columns, kept))
    empty: list[Any] = list(wide.columns[wide.isna().all().to_numpy()])
    if empty:
        names = ", ".join(method_name(method, True) for method in empty)
        notes.append(f"no {metric} on any experiment, and in no table: {names}")
    at = kept.drop_duplicates(EXPERIMENT).set_index(EXPERIMENT).reindex(wide.index)
    return Scores(
        wide,
        metric,
        (at["role"] == ZERO_SHOT).to_numpy(),
        at[TRACKS].to_numpy(dtype=float),
        single or _single_species(table, plan),
        _of_one_species(plan),
        notes,
    )


def _read_folder(place: Path) -> tuple[pd.DataFrame, SavedPlan | None]:
    """Read the table of scores in a folder, and the plan if it is of a cross-validation."""
    path = place / SCORES_FILE if place.is_dir() else place
    table = read_tsv(
        path,
        ("biosample", "assay", "method"),
        what="table of scores",
        error=ConfigError,
        next_step="give the folder of `epixs crossvalidate`, or one of `epixs evaluate --report`",
    )
    plan = path.with_name(PLAN_FILE)
    if not plan.is_file():
        return table, None
    return table, read_json_file(
        SavedPlan, plan, MAX_PLAN_BYTES, ConfigError, "run the cross-validation again"
    )


def _canonical(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return scores with all labels as text and the metric as numbers, whichever command wrote them."""
    table = scores.rename(columns={"class": "assay_class"} if "assay_class" not in scores else {})
    lacking = [name for name in ("biosample", "assay", "assay_class", "method") if name not in table]
    if lacking:
        raise ConfigError(
            "no table of scores",
            got=f"no column {', '.join(lacking)}",
            expected="the table of `epixs crossvalidate` or `epixs evaluate`",
        )
    if metric not in table or metric not in KNOWN_METRICS:
        known = [name for name in table if name in KNOWN_METRICS]
        raise ConfigError("metric", got=f"{metric!r}{closest(metric, known)}", expected=", ".join(known))
    if table.empty:
        raise ConfigError("the table of scores has no rows", next_step="evaluate something first")
    if "model" not in table:
        is_imputed = table["method"] == IMPUTED
        table = table.assign(model=np.where(is_imputed, IMPUTED, NOBODY))
    for name in LABELS:
        table = table.assign(**{name: table[name].astype(str) if name in table else NOBODY})
    role = table["role"].astype(str) if "role" in table else _roles(table)
    same = table["same_units"].astype(str).str.lower() != "false" if "same_units" in table else True
    table = table.assign(
        **{metric: _numbers(table, metric), "role": role, "same_units": same},
        **{TRACKS: _numbers(table, TRACKS) if TRACKS in table else np.nan},
    )
    repeated = table.duplicated(LABELS)
    if repeated.any():
        row = table[repeated].iloc[0]
        raise ConfigError(
            "the table of scores has a row twice",
            got=f"{row['biosample']} / {row['assay']} by {row['method']}",
            expected="one row per training set, model, seed, fold, method and experiment",
        )
    return table


def _numbers(table: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    """Convert a column to numbers; `NA` and empty fields become NaN."""
    column = table[name]
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=float)
    text = column.astype(str).str.strip()
    numbers = pd.to_numeric(text.where(~text.isin(["NA", "", "nan", "NaN"])), errors="coerce")
    wrong = numbers.isna() & ~text.isin(["NA", "", "nan", "NaN"])
    if wrong.any():
        raise ConfigError(f"column {name} of the scores", got=repr(text[wrong].iloc[0]), expected="numbers")
    return numbers.to_numpy(dtype=float)


def _roles(table: pd.DataFrame) -> pd.Series:
    """Infer zero-shot roles: without training experiments of its assay, a row has no average activity."""
    average = table[table["method"] == AVERAGE]
    if average.empty:
        return pd.Series("", index=table.index)
    with_average = set(average[[*EXPERIMENT, "fold"]].itertuples(index=False, name=None))
    rows = table[[*EXPERIMENT, "fold"]].itertuples(index=False, name=None)
    return pd.Series(["" if row in with_average else ZERO_SHOT for row in rows], index=table.index)


def _single_species(table: pd.DataFrame, plan: SavedPlan | None) -> str:
    """Return the training set of one species: the plan's first without others, or the table's first."""
    known = list(dict.fromkeys(table.loc[table["model"] != NOBODY, "training_set"]))
    if not plan:
        return known[0] if known else ""
    sets = plan["config"]["training_sets"]
    return next((name for name in known if name in sets and not sets[name]["others"]), "")


def _of_one_species(plan: SavedPlan | None) -> frozenset[str]:
    """Return the training sets without other species in a plan."""
    sets = plan["config"]["training_sets"] if plan else {}
    return frozenset(name for name, one in sets.items() if not one["others"])


def _of_one_role(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Leave out experiments that are zero-shot to some models and not to others; they are noted."""
    is_zero_shot = table.assign(zero_shot=table["role"] == ZERO_SHOT).groupby(EXPERIMENT)["zero_shot"]
    mixed = is_zero_shot.transform("nunique") > 1
    if mixed.any():
        some = len(table.loc[mixed, EXPERIMENT].drop_duplicates())
        notes.append(
            f"{some} experiments are in no table: their assay was trained on by some models or folds only"
        )
    return table[~mixed]


def _incomplete(table: pd.DataFrame, plan: SavedPlan | None) -> list[str]:
    """Note the fits without scores: those of the plan, or without one each method with each seed and fold."""
    models = table[table["model"] != NOBODY]
    there = set(_distinct(models, ["training_set", "model", "seed", "fold"]))
    if plan:
        wanted = [(f["training_set"], f["model"], str(f["seed"]), f["fold"]) for f in plan["fits"]]
    else:
        fits = _distinct(models, ["seed", "fold"])
        wanted = [(*one, *fit) for one in _distinct(models, ["training_set", "model"]) for fit in fits]
    lacking = [fit for fit in wanted if fit not in there]
    if not lacking:
        return []
    named = [f"{name}, {model}, seed {seed}, fold {fold}" for name, model, seed, fold in lacking]
    return [
        f"WARNING: {len(lacking)} of {len(wanted)} fits have no scores: "
        f"{'; '.join(named[:MOST_NAMED])}{'; ...' if len(named) > MOST_NAMED else ''}"
    ]


def _without_copies(wide: pd.DataFrame) -> pd.DataFrame:
    """Keep one copy of each baseline whose scores do not depend on the training set."""
    methods: list[Any] = list(wide.columns)
    for name in dict.fromkeys(name for _, model, name in methods if model == NOBODY):
        columns = [column for column in methods if column[1:] == (NOBODY, name)]
        values = wide[columns]
        if np.allclose(values.max(axis=1), values.min(axis=1), equal_nan=True):
            once = values.bfill(axis=1).iloc[:, 0]
            wide = wide.drop(columns=columns)
            wide[NOBODY, NOBODY, name] = once
    return wide


def _ordered(columns: Sequence[Any] | pd.Index, table: pd.DataFrame) -> pd.MultiIndex:
    """Sort methods: baselines in the order of the ladder, then models in the order of the table."""
    rungs = {baseline.name: number for number, baseline in enumerate(ladder.LADDER)}
    first = {method: number for number, method in enumerate(_distinct(table, METHOD))}

    def place(method: Any) -> tuple[bool, int, int]:
        return method[1] != NOBODY, rungs.get(method[2], len(rungs)), first.get(method, -1)

    return pd.MultiIndex.from_tuples(sorted(columns, key=place), names=METHOD)


def _distinct(table: pd.DataFrame, columns: list[str]) -> list[Any]:
    """List the distinct rows of some columns, in the order of the table."""
    return list(dict.fromkeys(table[columns].itertuples(index=False, name=None)))


def chosen(scores: Scores, rows: npt.NDArray[np.bool_]) -> Scores:
    """Select the scores of some experiments, and the methods that have any of them."""
    wide = scores.wide[rows]
    wide = wide.loc[:, wide.notna().any()]
    return replace(scores, wide=wide, zero_shot=scores.zero_shot[rows], tracks=scores.tracks[rows])


def method_name(method: Method, several_models: bool = False) -> str:
    """Name a method for a table: its training set, with the model if there are several, or the baseline."""
    training_set, model, name = method
    if model == NOBODY:
        return name if training_set == NOBODY else f"{name} ({training_set})"
    if training_set == NOBODY:
        return model
    return f"{training_set}, {model}" if several_models else training_set


def names_of(methods: Sequence[Method]) -> dict[str, Method]:
    """Map every name of every method to that method. If several share a name, the first gets it."""
    by_name: dict[str, Method] = {}
    for method in methods:
        for name in (method_name(method), method_name(method, True), method[2]):
            by_name.setdefault(name, method)
    return by_name
