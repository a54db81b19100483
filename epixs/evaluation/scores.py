"""Score imputed against observed tracks, beside the baselines that the same user would have had."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from epixs.compendium.read import experiments_of, open_compendium, provenance_of, regions_of
from epixs.errors import AxisError, EpixsError, StoreError
from epixs.evaluation.baselines import (
    Label,
    SignalRows,
    Track,
    assay_regression,
    biosample_mean,
    nearest_assay,
)
from epixs.evaluation.metrics import CORRELATIONS, METRICS, both_known, score, top_bins

IMPUTED = "imputed"


AVERAGE = "average activity"


ZERO_SHOT = ("biosample mean", "nearest assay", "assay regression")


HELD_OUT = "held out"
"""Role of whole experiments that chose when training stopped: not trained on, but not untouched either."""


UNFAIR = "average activity (unfair)"
"""Mean over the species' own experiments of an assay that training never saw: no zero-shot user has it."""


CACHED_BYTES = 2_000_000_000
"""Memory per store for tracks that may be read again: all of a small store, four tracks of a whole genome."""


MOST_NAMED = 3


TIED_SHARE = 0.02
"""Share of bins in the top 1 % from which on ties are worth a note."""


WHOLE_SHARE = 0.95
"""Share of the observed bins that has to be scored for a track to count as scored as a whole."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of every experiment that both stores hold.

    Parameters
    ----------
    scores
        One row an experiment and method: `biosample assay assay_class role method` and the metrics.
        `role` is `excluded` (not trained on), `zero-shot` (its assay not trained on in this species),
        `held out` (not trained on, but it chose when training stopped) or `training`.
    notes
        What could not be computed, and why.
    """

    scores: pd.DataFrame
    notes: list[str]

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

        An error is only compared where the observed units are those of training (`same_units`). A role none
        of whose tracks has the method, as zero-shot has no average activity, is left out.
        """
        scores = self.scores
        if metric not in CORRELATIONS and "same_units" in scores:
            scores = scores[scores["same_units"]]
        table = scores.pivot_table(index=["role", "assay", "biosample"], columns="method", values=metric)
        if method not in table or IMPUTED not in table:
            return {}
        both = table[[IMPUTED, method]].dropna()
        sign = -1 if metric in CORRELATIONS else 1
        better = (sign * both[IMPUTED] < sign * both[method]).groupby(level="role")
        return {str(role): (int(part.sum()), len(part)) for role, part in better}


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
    for metric in METRICS:
        table = scores.pivot_table(index=["assay", "biosample"], columns="method", values=metric)
        table = table.reindex(columns=methods)
        shared = np.ones(len(table), dtype=bool)
        compared: set[str] = set()
        for method in sorted(methods, key=lambda name: (name != IMPUTED, -table[name].count())):
            with_it = shared & table[method].notna().to_numpy()
            if with_it.any():
                shared = with_it
                compared.add(method)
        count = "correlated" if metric in CORRELATIONS else "scored"
        for method in methods:
            tracks = int(shared.sum()) if method in compared else 0
            means[method][count] = min(tracks, means[method].get(count, tracks))
            means[method][metric] = float(table.loc[shared, method].mean()) if tracks else float("nan")
    return list(means.values())


def missing_correlations(scores: pd.DataFrame) -> list[str]:
    """A note per role on tracks that have no correlation because something is constant there, by name."""
    notes = []
    for role, part in scores.groupby("role", sort=False):
        lacking = part[part["pearson"].isna() & part["mse"].notna()]
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


def evaluate(
    imputed: str | Path,
    store: str | Path,
    *,
    others: Sequence[str | Path] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score what an imputed store and an observed one both hold.

    Parameters
    ----------
    imputed, store
        An imputed compendium and the observed one of the same species and bins.
    others
        Compendia of other species for the zero-shot baselines; by default those the model was trained
        on, where they still are.
    progress
        Called with experiments done and in all.

    Raises
    ------
    AxisError
        If the stores differ in species or bins, or share no experiment; if one of `others` is of a species
        that the model was not trained on, or of the same one.

    Examples
    --------
    >>> import epixs
    >>> files = epixs.simulate("world", size="tiny")
    >>> chosen = epixs.make_catalog("world/metadata.tsv", "catalog.tsv")
    >>> table = epixs.ingest("catalog.tsv", "world/mouse.bed", "mouse.zarr", species="mouse")
    >>> axis = epixs.joint_axis("mouse.zarr")
    >>> model = epixs.build_model(axis, hidden=(8, 8))  # nothing is fitted here
    >>> imputed = epixs.impute(model, "mouse.zarr", "imputed.zarr", everything=True)
    >>> scores = epixs.evaluate("imputed.zarr", "mouse.zarr")
    >>> scores.scores["method"].unique().tolist()
    ['imputed', 'average activity']
    """
    predicted, observed = open_compendium(imputed), open_compendium(store)
    check_fit(imputed, predicted, store, observed)
    training = provenance_of(predicted)["training"]
    species = str(observed.attrs["species"])
    names = _aliases(training, species)
    given = _paths_by_species(training, species, others)
    table = experiments_of(observed)
    table = table[table["status"] == "ok"]
    observed_rows = _rows_by_label(table, names)
    trained, replaced = _trained_labels(training[species], observed_rows, table)
    held_out = {tuple(label) for label in training[species].get("held_out", ())}
    imputed_table = experiments_of(predicted)
    common = sorted(
        (assay, biosample, row)
        for (biosample, assay), row in _rows_by_label(imputed_table, names).items()
        if (biosample, assay) in observed_rows
    )
    if not common:
        raise AxisError(
            f"{imputed} and {store} share no experiment",
            got=f"{len(imputed_table)} imputed and {len(table)} observed experiments",
            expected="at least one (biosample, assay) in both",
            next_step="train with --exclude PAIRS.tsv and impute those pairs",
        )
    read = _reader(observed)
    usable = SignalRows({label: row for label, row in observed_rows.items() if label in trained}, read)
    everything = SignalRows(observed_rows, read)
    notes = _left_out(observed_rows, {(b, a) for a, b, _ in common}, trained | replaced)
    if replaced:
        notes.append(
            f"{len(replaced)} experiments are other files than those of that name in training, and count as "
            "not "
            f"trained on: {', '.join(' / '.join(label) for label in sorted(replaced)[:MOST_NAMED])}"
        )
    neighbours = _open_others(training, species, given, notes) if _any_zero_shot(common, trained) else []
    pairs = [(row, observed_rows[b, a]) for a, b, row in common]
    other_units = {i for i, o in pairs if imputed_table["output_type"][i] != table["output_type"][o]}
    notes += _other_units(imputed_table, table, pairs)
    rows: list[dict[str, Any]] = []
    tied: list[str] = []
    for done, (assay, biosample, row) in enumerate(common):
        label = (biosample, assay)
        zero_shot = not any(a == assay for _, a in trained | replaced)
        role = "training" if label in trained else "zero-shot" if zero_shot else "excluded"
        if label in held_out and not zero_shot:
            role = HELD_OUT
        truth = read(observed_rows[label])
        methods: dict[str, Track | None] = {IMPUTED: predicted.signal[row].to_numpy()}
        methods[AVERAGE] = usable.average(assay, without=biosample)
        if zero_shot:
            methods |= {
                ZERO_SHOT[0]: biosample_mean(usable, biosample, assay),
                ZERO_SHOT[1]: nearest_assay(usable, neighbours, biosample, assay),
                ZERO_SHOT[2]: assay_regression(usable, neighbours, biosample, assay),
                UNFAIR: everything.average(assay, without=biosample),
            }
        shown = imputed_table.loc[row]
        labels = {name: str(shown[name]) for name in ("biosample", "assay", "assay_class")} | {"role": role}
        tracks = {m: track for m, track in methods.items() if track is not None and not np.isnan(track).all()}
        known = both_known(truth, *tracks.values())  # every method on the same bins
        observed_bins = int((~np.isnan(truth)).sum())
        if known.any() and top_bins(truth[known]).mean() > TIED_SHARE:
            tied.append(f"{biosample} / {assay}")
        rows += [
            labels
            | {"method": method, "bins": int(known.sum()), "observed_bins": observed_bins}
            | {"same_units": row not in other_units}
            | score(truth[known], track[known])
            for method, track in tracks.items()
        ]
        if progress:
            progress(done + 1, len(common))
    columns = [
        "role",
        "assay_class",
        "assay",
        "biosample",
        "method",
        "bins",
        "observed_bins",
        "same_units",
        *METRICS,
    ]
    scores = pd.DataFrame(rows)[columns]
    if tied:
        notes.append(
            f"mse1obs is over more than {TIED_SHARE:.0%} of the bins on {len(tied)} tracks, where too many "
            "bins tie "
            f"with the top 1 % (sparse tracks, mostly at 0): {', '.join(tied[:MOST_NAMED])}"
        )
    return Evaluation(scores, [*notes, *missing_correlations(scores), *partly_scored(scores)])


def _other_units(
    imputed: pd.DataFrame, observed: pd.DataFrame, pairs: Sequence[tuple[int, int]]
) -> list[str]:
    """A note, if experiments are scored that were measured in other units than they were imputed in."""
    units = [(imputed["output_type"][i], observed["output_type"][o], i) for i, o in pairs]
    differ = [(mine, theirs, row) for mine, theirs, row in units if mine != theirs]
    if not differ:
        return []
    mine, theirs, row = differ[0]
    name = f"{imputed['biosample'][row]} / {imputed['assay'][row]}"
    return [
        f"{len(differ)} of {len(pairs)} experiments were observed in other units than their assay was "
        f"trained on ({name}: {theirs!r} against {mine!r}): compare them by rank (spearman); MSE mixes units"
    ]


def _trained_labels(
    training: dict[str, Any], rows: dict[Label, int], table: pd.DataFrame
) -> tuple[set[Label], set[Label]]:
    """Labels that training saw; and those of which the store now has another file, which it did not see."""
    labels: list[Label] = [(b, a) for b, a in training["experiments"]]
    accessions = dict(zip(labels, training.get("accessions", ()), strict=False))
    replaced = {
        label
        for label, accession in accessions.items()
        if label in rows and table["accession"][rows[label]] != accession
    }
    return set(labels) - replaced, replaced


def _left_out(rows: dict[Label, int], scored: set[Label], trained: set[Label]) -> list[str]:
    """A note on observed experiments that training never saw and that were not imputed."""
    lacking = sorted(set(rows) - scored - trained)
    if not lacking:
        return []
    more = ", ..." if len(lacking) > MOST_NAMED else ""
    return [
        f"{len(lacking)} observed experiments that training never saw were not imputed, and are not scored: "
        f"{', '.join(' / '.join(label) for label in lacking[:MOST_NAMED])}{more}"
    ]


def _rows_by_label(table: pd.DataFrame, names: dict[str, str]) -> dict[Label, int]:
    """Rows by biosample and assay, assays named as in the model."""
    assays = [names.get(assay, assay) for assay in table["assay"].astype(str)]
    labels = zip(table["biosample"].astype(str), assays, strict=True)
    return dict(zip(labels, map(int, table.index), strict=True))


def _aliases(training: dict[str, Any], species: str) -> dict[str, str]:
    """What the model calls the assays that a species' store names otherwise."""
    names = training[species].get("aliases", {})
    return {str(name): str(joint) for name, joint in names.items()} if isinstance(names, dict) else {}


def check_fit(imputed: str | Path, predicted: Any, store: str | Path, observed: Any) -> None:
    """Check that an imputed and an observed compendium are of one species and the same bins.

    Raises
    ------
    AxisError
        Naming what differs.
    """
    for path, dataset, kind in ((imputed, predicted, "imputed"), (store, observed, "observed")):
        if dataset.attrs["kind"] != kind:
            raise AxisError(
                f"{path} is {dataset.attrs['kind']}",
                expected=f"an {kind} compendium",
                next_step="give the imputed store first, then the observed one",
            )
    for name in ("species", "assembly"):
        if predicted.attrs[name] != observed.attrs[name]:
            raise AxisError(
                f"{imputed} and {store} differ in {name}",
                got=predicted.attrs[name],
                expected=observed.attrs[name],
            )
    mine, theirs = regions_of(predicted), regions_of(observed)
    if mine != theirs:
        raise AxisError(
            f"{imputed} and {store} differ in their bins",
            got=f"{mine.n_bins:,} bins, of which {mine.first_difference(theirs)}",
            expected=f"{theirs.n_bins:,} bins over the same regions",
        )
    if str(observed.attrs["species"]) not in provenance_of(predicted).get("training", {}):
        raise StoreError(f"{imputed} does not say what it was trained on", next_step="impute it again")


def _reader(dataset: Any) -> Callable[[int], Track]:
    """A function that reads a row, and keeps as many of the last ones as `CACHED_BYTES` hold."""
    signal = dataset.signal

    kept: int = CACHED_BYTES // (signal.sizes["bin"] * signal.dtype.itemsize)

    @functools.lru_cache(maxsize=kept)
    def read(row: int) -> Track:
        return np.asarray(signal[row].to_numpy(), dtype=np.float32)

    return read


def _any_zero_shot(common: Sequence[tuple[str, str, int]], trained: set[Any]) -> bool:
    assays = {assay for _, assay in trained}
    return any(assay not in assays for assay, _, _ in common)


def _paths_by_species(training: dict[str, Any], species: str, others: Sequence[str | Path]) -> dict[str, str]:
    """Stores of other species by name, each of one that the model was trained on."""
    given = {str(open_compendium(path).attrs["species"]): str(path) for path in others}
    expected = [name for name in training if name != species]
    for name, path in given.items():
        if name not in expected:
            raise AxisError(
                f"{path} is of no other species that the model was trained on",
                got=repr(name),
                expected=" or ".join(expected) or f"none: it was trained on {species} alone",
                next_step="give the store of one of these, or leave it out",
            )
    return given


def _open_others(
    training: dict[str, Any], species: str, given: dict[str, str], notes: list[str]
) -> list[SignalRows]:
    """Open the other species' compendia; only experiments that training saw are used."""
    opened = []
    for name, entry in training.items():
        if name == species:
            continue
        path = given.get(name, entry["source"])
        try:
            dataset = open_compendium(path)
            if dataset.attrs["kind"] != "observed" or dataset.attrs["plan"] != entry["plan"]:
                raise StoreError(f"{path} is not the compendium the model was trained on")
        except EpixsError as error:
            notes.append(
                f"baselines that learn from {name} are left out: {error.message}; give it with --other"
            )
            continue
        used: set[Label] = {(b, a) for b, a in entry["experiments"]}
        table = experiments_of(dataset)
        rows = _rows_by_label(table[table["status"] == "ok"], _aliases(training, name))
        gone = used - set(rows)
        if gone:
            notes.append(
                f"{len(gone)} experiments of {name} that training saw are removed now: no baseline uses them"
            )
        rows = {label: row for label, row in rows.items() if label in used}
        opened.append(SignalRows(rows, _reader(dataset)))
    return opened
