"""Score imputed against observed tracks, beside the baselines that the same user would have had."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from epixs.compendium.read import experiments_of, open_compendium, provenance_of, regions_of
from epixs.compendium.schema import EXPECTED_PEARSON
from epixs.errors import AxisError, EpixsError, StoreError
from epixs.evaluation import ladder
from epixs.evaluation.baselines import Imputed, Mean, Recipe
from epixs.evaluation.columns import Signal
from epixs.evaluation.ladder import Baseline, Label, Target, UsableTracks, baselines_named
from epixs.evaluation.metrics import Mode, metrics_of
from epixs.evaluation.notes import (
    left_out,
    missing,
    no_longer_there,
    odd_rows,
    oddities,
    other_units_in,
    unreadable,
    unused_peaks,
)
from epixs.evaluation.scoring import ScoredPair, score_pairs
from epixs.evaluation.strata import Annotations, read_strata
from epixs.evaluation.table import (
    AVERAGE,
    HELD_OUT,
    IMPUTED,
    MOST_NAMED,
    REPLACED,
    TRACKS,
    TRAINED_ON,
    Evaluation,
    missing_correlations,
    partly_scored,
    without_peaks,
)


def evaluate(
    imputed: str | Path | xr.Dataset,
    store: str | Path | xr.Dataset,
    *,
    others: Sequence[str | Path] = (),
    mode: Mode = "corrected",
    genes: str | Path | None = None,
    enhancers: str | Path | None = None,
    blacklist: str | Path | None = None,
    peaks: str | Path | None = None,
    baselines: str | Sequence[str | Baseline] = (),
    bins: Mapping[str, npt.NDArray[np.int64]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score the experiments that an imputed and an observed store both hold.

    All tracks are compared in whole steps of 1/2048 arcsinh units, as stores hold them. Predictions of
    baselines and lazy Datasets are rounded to such steps. No track is held in memory as a whole.

    Parameters
    ----------
    imputed, store
        An imputed compendium and the observed one of the same species and bins: paths, or Datasets from
        `open_imputed` or `open_compendium`.
    others
        Compendia of other species for the zero-shot baselines; by default those that the model was trained
        on, if they can still be opened.
    mode
        `"corrected"`, or `"challenge"` for the metrics of the ENCODE Imputation Challenge as it defines
        them, in the tracks' own units.
    genes, enhancers, blacklist
        BED files of genes (with strands, for promoters), of enhancers, and of bins that do not count.
    peaks
        TSV file with columns `biosample assay path`: the BED file of each experiment's peaks, from the folder
        of the TSV file on.
    baselines
        Further baselines by name (docs/baselines.md), or `"all"`.
    bins
        By other species, the bin to which each bin of this one is mapped, -1 where there is none. Baselines
        that carry tracks over need it.
    progress
        Called with the number of ranges of bins that were read, and of all ranges.

    Raises
    ------
    AxisError
        If the stores differ in species or bins, or share no experiment; if one of `others` is of the scored
        species, or of one that the model was not trained on.
    ConfigError
        If there is no such mode or baseline.
    RegionError
        If an annotation file cannot be used.

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
    metrics, further = metrics_of(mode), baselines_named(baselines)
    predicted, observed = _opened(imputed), _opened(store, observed=True)
    check_fit(_name(imputed), predicted, _name(store), observed)
    training = provenance_of(predicted)["training"]
    species = str(observed.attrs["species"])
    names = training[species].get(
        "aliases", {}
    )  # the model's names of assays that the store names differently
    given = _paths_by_species(training, species, others)
    whole_table = experiments_of(observed)
    table = whole_table[whole_table["status"] == "ok"]
    observed_rows = _rows_by_label(table, names)
    trained, replaced = _trained_labels(training[species], observed_rows, table)
    held_out = {tuple(label) for label in training[species].get("held_out", ())}
    imputed_table = _labels_of(predicted)
    expected = predicted[EXPECTED_PEARSON.name].to_numpy() if EXPECTED_PEARSON.name in predicted else None
    imputed_rows = _rows_by_label(imputed_table, names)
    common = sorted(
        (assay, biosample, row)
        for (biosample, assay), row in imputed_rows.items()
        if (biosample, assay) in observed_rows
    )
    if not common:
        raise AxisError(
            f"{_name(imputed)} and {_name(store)} share no experiment",
            got=f"{len(imputed_table)} imputed and {len(table)} observed experiments",
            expected="at least one (biosample, assay) in both",
            next_step="train with --exclude PAIRS.tsv and impute those pairs",
        )
    lost_rows = _rows_by_label(whole_table[whole_table["status"] != "ok"], names)
    notes = left_out(observed_rows, {(b, a) for a, b, _ in common}, trained | replaced)
    notes += unreadable(whole_table, lost_rows, imputed_rows)
    notes += no_longer_there(trained - set(observed_rows), len(trained))
    if replaced:
        notes.append(
            f"{len(replaced)} experiments have other files than in training, and are {REPLACED!r}: "
            f"{', '.join(' / '.join(label) for label in sorted(replaced)[:MOST_NAMED])}"
        )
    zero_shot_assays = {a for a, _, _ in common} - {a for _, a in trained | replaced}
    wants_others = zero_shot_assays or any(baseline.is_zero_shot for baseline in further)
    neighbours = _open_others(training, species, given, notes) if wants_others else []
    annotations = Annotations(genes, enhancers, blacklist, peaks)
    strata = read_strata(annotations, regions_of(observed), mode)
    notes += strata.notes
    peaks_of = {(b, names.get(a, a)): cover for (b, a), cover in strata.peaks.items()}
    notes += unused_peaks(set(peaks_of), {(b, a) for a, b, _ in common})
    if peaks_of and "auprc" not in metrics:
        notes.append(f"peaks are not used: the metrics of mode {mode!r} need none")
    strata = replace(strata, peaks=peaks_of)
    truth = Signal.open(store)
    means = _means_by_label(table, names)
    usable = _usable_tracks(
        species, {label: row for label, row in observed_rows.items() if label in trained}, truth, means
    )
    everything = _usable_tracks(species, observed_rows, truth, means)
    pairs = []
    for assay, biosample, row in common:
        label = (biosample, assay)
        target = Target(biosample, assay, usable, everything, tuple(neighbours), bins or {})
        methods: dict[str, Recipe] = {IMPUTED: Imputed(row)}
        for baseline in _compared(assay in zero_shot_assays, further):
            recipe = baseline.recipe(target)
            if recipe is not None:
                methods[baseline.name] = recipe
        mean = usable.mean_of(Mean, biosample, assay)
        some = mean if mean is not None and len(mean.used) > 1 else None
        pairs.append(ScoredPair(label, observed_rows[label], methods, some))
    pair_scores = score_pairs(pairs, truth, Signal.open(imputed), strata, mode=mode, progress=progress)
    at = [(row, observed_rows[b, a]) for a, b, row in common]
    other_units = {i for i, o in at if imputed_table["output_type"][i] != table["output_type"][o]}
    notes += other_units_in(imputed_table, table, at)
    rows: list[dict[str, Any]] = []
    for (assay, biosample, row), scored in zip(common, pair_scores, strict=True):
        label = (biosample, assay)
        role = TRAINED_ON if label in trained else "zero-shot" if assay in zero_shot_assays else "excluded"
        if label in replaced:
            role = REPLACED
        elif label in held_out and assay not in zero_shot_assays:
            role = HELD_OUT
        experiment = imputed_table.loc[row]
        labels: dict[str, Any] = {
            name: str(experiment[name]) for name in ("biosample", "assay", "assay_class")
        } | {"role": role}
        labels |= {TRACKS: sum(b == biosample and a != assay for b, a in trained)}
        if expected is not None:
            labels |= {EXPECTED_PEARSON.name: float(expected[row])}
        average = scored.metrics.get(AVERAGE, {}).get("mse", np.nan)
        rows += [
            labels
            | {"method": method, "bins": scored.bins, "observed_bins": scored.observed_bins}
            | {"same_units": row not in other_units}
            | dict(values)
            | {"skill": 1 - values["mse"] / average if average > 0 and row not in other_units else np.nan}
            for method, values in scored.metrics.items()
        ]
    columns = [
        "role",
        "assay_class",
        "assay",
        "biosample",
        TRACKS,
        *([] if expected is None else [EXPECTED_PEARSON.name]),
        "method",
        "bins",
        "observed_bins",
        "same_units",
        *metrics,
        "skill",
    ]
    scores = pd.DataFrame(rows, columns=columns)
    needy = [name for name, metric in metrics.items() if metric.needs and scores[name].isna().all()]
    scores = scores.drop(columns=needy)
    labels_of = [f"{b} / {a}" for a, b, _ in common]
    notes += oddities(labels_of, pairs, pair_scores)
    odd = {"missing": missing(observed_rows, set(lost_rows), set(imputed_rows), trained | replaced)}
    odd |= odd_rows(labels_of, pairs, pair_scores)
    notes += [*missing_correlations(scores), *without_peaks(scores), *partly_scored(scores)]
    return Evaluation(
        scores, notes, odd, {name: str(path) for name, path in vars(annotations).items() if path}
    )


def _opened(place: str | Path | xr.Dataset, *, observed: bool = False) -> xr.Dataset:
    """Open a store, or check a Dataset of one. An observed one must say which of its rows could be read."""
    if not isinstance(place, xr.Dataset):
        return open_compendium(place)
    attributes, labels = ("kind", "species", "assembly"), ("biosample", "assay", "assay_class", "output_type")
    lacking = [name for name in attributes if name not in place.attrs]
    lacking += [
        name for name in (*labels, *(("status", "signal_mean") if observed else ())) if name not in place
    ]
    if lacking:
        raise AxisError(
            f"{_name(place)} is not a compendium",
            got=f"no {', '.join(lacking)}",
            expected="a Dataset from `open_compendium`" + ("" if observed else " or `open_imputed`"),
        )
    return place


def _labels_of(dataset: xr.Dataset) -> pd.DataFrame:
    """Return the labels of experiments, without the summaries that a lazy Dataset lacks."""
    names = ("biosample", "assay", "assay_class", "output_type")
    return pd.DataFrame({name: dataset[name].to_numpy().astype(object) for name in names})


def _name(place: str | Path | xr.Dataset) -> str:
    """Name a store or a Dataset for a message."""
    return f"the {place.attrs.get('kind', 'given')} Dataset" if isinstance(place, xr.Dataset) else str(place)


def _compared(zero_shot: bool, further: Sequence[Baseline]) -> list[Baseline]:
    """List the baselines that a track is compared with: those of its role, and further ones."""
    by_role = [ladder.AVERAGE, *((*ladder.ZERO_SHOT, ladder.UNFAIR) if zero_shot else ())]
    return list(dict.fromkeys([*by_role, *further]))


def _usable_tracks(
    species: str, rows: dict[Label, int], signal: Signal, means: Mapping[Label, float]
) -> UsableTracks:
    return UsableTracks(species, rows, signal, {label: means[label] for label in rows})


def _means_by_label(table: pd.DataFrame, names: dict[str, str]) -> dict[Label, float]:
    """Map biosample and assay to the row's mean in the store's table."""
    rows = _rows_by_label(table, names)
    return {label: float(table["signal_mean"][row]) for label, row in rows.items()}


def _trained_labels(
    training: dict[str, Any], rows: dict[Label, int], table: pd.DataFrame
) -> tuple[set[Label], set[Label]]:
    """Return the labels that training saw, and those whose file in the store has changed since."""
    labels: list[Label] = [(b, a) for b, a in training["experiments"]]
    accessions = dict(zip(labels, training.get("accessions", ()), strict=False))
    replaced = {
        label
        for label, accession in accessions.items()
        if label in rows and table["accession"][rows[label]] != accession
    }
    return set(labels) - replaced, replaced


def _rows_by_label(table: pd.DataFrame, names: dict[str, str]) -> dict[Label, int]:
    """Map biosample and assay, named as in the model, to rows."""
    assays = [names.get(assay, assay) for assay in table["assay"].astype(str)]
    labels = zip(table["biosample"].astype(str), assays, strict=True)
    return dict(zip(labels, map(int, table.index), strict=True))


def check_fit(imputed: str | Path, predicted: Any, store: str | Path, observed: Any) -> None:
    """Check that an imputed and an observed compendium are of one species and the same bins.

    Raises
    ------
    AxisError
        If they differ; the message names the difference.
    StoreError
        If the imputed store does not say what it was made from.
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
    regions, expected = regions_of(predicted), regions_of(observed)
    if regions != expected:
        raise AxisError(
            f"{imputed} and {store} differ in their bins",
            got=f"{regions.n_bins:,} bins, of which {regions.first_difference(expected)}",
            expected=f"{expected.n_bins:,} bins over the same regions",
        )
    if str(observed.attrs["species"]) not in provenance_of(predicted).get("training", {}):
        raise StoreError(f"{imputed} does not say what it was trained on", next_step="impute it again")


def _paths_by_species(training: dict[str, Any], species: str, others: Sequence[str | Path]) -> dict[str, str]:
    """Map other species, each of which the model was trained on, to their stores."""
    given = {str(open_compendium(path).attrs["species"]): str(path) for path in others}
    expected = [name for name in training if name != species]
    for name, path in given.items():
        if name not in expected:
            raise AxisError(
                f"{path} is not of another species that the model was trained on",
                got=repr(name),
                expected=" or ".join(expected) or f"none: it was trained on {species} alone",
                next_step="give the store of one of these, or leave it out",
            )
    return given


def _open_others(
    training: dict[str, Any], species: str, given: dict[str, str], notes: list[str]
) -> list[UsableTracks]:
    """Open the other species' compendia. Only experiments that training saw are used."""
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
        table, aliases = table[table["status"] == "ok"], entry.get("aliases", {})
        rows = _rows_by_label(table, aliases)
        gone = used - set(rows)
        if gone:
            notes.append(
                f"{len(gone)} experiments of {name} that training saw are removed now: no baseline uses them"
            )
        rows = {label: row for label, row in rows.items() if label in used}
        opened.append(_usable_tracks(name, rows, Signal.open(path), _means_by_label(table, aliases)))
    return opened
