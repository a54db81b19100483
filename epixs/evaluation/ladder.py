"""The ladder of baselines that a prediction must beat, ordered by the data that a user needs for them.

A baseline is a name and a rule that finds, for one target, the recipe of its track. `docs/baselines.md` has
the formulas. Baselines learn from other species by statistics over columns, or from a sample of bins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.compiled import compiled
from epixs.errors import AxisError, ConfigError, closest
from epixs.evaluation.baselines import Affine, Carried, Constant, Copy, Mean, RawMean, Recipe
from epixs.evaluation.columns import Signal, columns, sums_of
from epixs.evaluation.steps import MISSING, Steps

Label = tuple[str, str]
"""`(biosample, assay)`"""

FIT_BINS = 100_000
"""Number of evenly spaced bins per species that a regression is fitted to."""

MAX_BIOSAMPLES = 16
"""Maximum number of biosamples, the first by name, that a baseline learns from per other species."""

RIDGE = 1e-3

FEWEST = 1e-12


@dataclass(frozen=True, eq=False)
class UsableTracks:
    """Tracks of one species that may be used, by `(biosample, assay)`.

    Parameters
    ----------
    species
        Name of the species.
    rows
        Row of each usable experiment in its store.
    signal
        The store's signal.
    means
        Mean of each usable experiment, arcsinh units.
    """

    species: str
    rows: Mapping[Label, int]
    signal: Signal
    means: Mapping[Label, float] = field(default_factory=dict)
    _sampled: dict[int, Steps] = field(default_factory=dict)
    _correlations: dict[tuple[str, str, str], float] = field(default_factory=dict)

    @cached_property
    def _by_assay(self) -> dict[str, list[str]]:
        biosamples: dict[str, list[str]] = {}
        for biosample, assay in self.rows:
            biosamples.setdefault(assay, []).append(biosample)
        return biosamples

    def biosamples(self, assay: str) -> list[str]:
        """List the biosamples in which an assay may be used."""
        return self._by_assay.get(assay, [])

    def assays(self, biosample: str) -> list[str]:
        """List the assays that may be used in a biosample."""
        return [a for b, a in self.rows if b == biosample]

    def rows_of(self, assay: str) -> tuple[int, ...]:
        """List the rows of an assay's usable experiments."""
        return tuple(self.rows[name, assay] for name in self.biosamples(assay))

    def mean_of(self, kind: type[Mean], biosample: str, assay: str) -> Mean | None:
        """Average an assay's experiments without that of one biosample; None if nothing is left."""
        rows, own = self.rows_of(assay), self.rows.get((biosample, assay))
        return kind(rows, own) if set(rows) - {own} else None

    def sample(self, rows: Iterable[int]) -> dict[int, Steps]:
        """Read some rows at about `FIT_BINS` evenly spaced bins, as steps. Each row is read once."""
        wanted = set(rows)
        lacking = wanted - set(self._sampled)
        if lacking:
            step = max(1, self.signal.n_bins // FIT_BINS)
            pieces: dict[int, list[Steps]] = {row: [] for row in lacking}
            for column in columns(self.signal, lacking):
                for row, steps in column.observed.items():
                    pieces[row].append(steps[-column.start % step :: step].copy())
            self._sampled.update({row: np.concatenate(parts) for row, parts in pieces.items()})
        return {row: self._sampled[row] for row in wanted}

    def correlations(self, assay: str, others: Iterable[str]) -> dict[str, list[float]]:
        """Correlate (Pearson) an assay with others in each biosample that has both, where that is defined."""
        pairs: dict[tuple[str, str, str], tuple[int, int]] = {}
        for other in others:
            shared = sorted(set(self.biosamples(assay)) & set(self.biosamples(other)))[:MAX_BIOSAMPLES]
            pairs |= {
                (name, assay, other): (self.rows[name, assay], self.rows[name, other]) for name in shared
            }
        lacking = {key: rows for key, rows in pairs.items() if key not in self._correlations}
        if lacking:
            sums = {key: np.zeros(6, dtype=np.int64) for key in lacking}
            for column in columns(self.signal, {row for rows in lacking.values() for row in rows}):
                for key, (own_row, other_row) in lacking.items():
                    _co_moments(column.observed[own_row], column.observed[other_row], sums[key])
            self._correlations.update({key: _pearson(*map(int, moments)) for key, moments in sums.items()})
        listed: dict[str, list[float]] = {}
        for _, _, other in pairs:
            listed.setdefault(other, [])
        for key in pairs:
            if not np.isnan(self._correlations[key]):
                listed[key[2]].append(self._correlations[key])
        return listed


@dataclass(frozen=True, eq=False)
class Target:
    """A track to predict, and the tracks that it may be predicted from.

    Parameters
    ----------
    biosample, assay
        Its labels.
    usable
        The species' experiments that training saw.
    observed
        All observed experiments of the species, also those that training never saw.
    others
        Other species' experiments that training saw.
    bins
        By other species, the bin to which each bin of this one is mapped, -1 where there is none.
    """

    biosample: str
    assay: str
    usable: UsableTracks
    observed: UsableTracks
    others: tuple[UsableTracks, ...] = ()
    bins: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)


@dataclass(frozen=True)
class Baseline:
    """A prediction that needs no model.

    Parameters
    ----------
    name
        Its name in tables.
    needs
        Data that its user must have.
    is_zero_shot
        Whether it can be computed without any measurement of the assay in the species.
    recipe
        Function that finds the recipe of a target's track; None where the needed data are missing.
    """

    name: str
    needs: str
    is_zero_shot: bool
    recipe: Callable[[Target], Recipe | None]


def average_activity(target: Target) -> Recipe | None:
    """Average the assay's other experiments at each bin."""
    return target.usable.mean_of(Mean, target.biosample, target.assay)


def raw_average_activity(target: Target) -> Recipe | None:
    """Average as `average_activity` does, but in the tracks' own units."""
    return target.usable.mean_of(RawMean, target.biosample, target.assay)


def hidden_average(target: Target) -> Recipe | None:
    """Average as `average_activity` does, but over all observed experiments, hidden ones included."""
    return target.observed.mean_of(Mean, target.biosample, target.assay)


def biosample_mean(target: Target) -> Recipe | None:
    """Average the biosample's other assays at each bin."""
    usable, biosample = target.usable, target.biosample
    rows = tuple(usable.rows[biosample, a] for a in usable.assays(biosample) if a != target.assay)
    return Mean(rows) if rows else None


def nearest_assay(target: Target) -> Recipe | None:
    """Copy the biosample's track of the assay that correlates best with the wanted one in other species.

    That is the mean Pearson correlation over the other species' biosamples that have both assays.
    """
    usable, biosample = target.usable, target.biosample
    candidates = [a for a in usable.assays(biosample) if a != target.assay]
    correlations: dict[str, list[float]] = {candidate: [] for candidate in candidates}
    for other in target.others:
        for candidate, values in other.correlations(target.assay, candidates).items():
            correlations[candidate] += values
    means = {candidate: float(np.mean(values)) for candidate, values in correlations.items() if values}
    best = max(means, key=means.__getitem__) if means else None
    return Copy(usable.rows[biosample, best]) if best is not None else None


def assay_regression(target: Target) -> Recipe | None:
    """Predict the wanted assay from the biosample's others by ridge regression, fitted in other species.

    There, an assay that a biosample lacks is filled with its average activity in that species. (Marking it
    missing would identify the biosample.)
    """
    usable, biosample, assay = target.usable, target.biosample, target.assay
    others = [other for other in target.others if other.biosamples(assay)]
    features = [a for a in usable.assays(biosample) if a != assay and any(o.biosamples(a) for o in others)]
    if not features:
        return None
    designs: list[npt.NDArray[np.float64]] = []
    targets: list[npt.NDArray[np.float64]] = []
    for other in others:
        if all(other.biosamples(a) for a in features):
            x, y = _examples(other, assay, features)
            designs.append(x)
            targets.append(y)
    if not designs:
        return None
    x, y = np.concatenate(designs), np.concatenate(targets)
    known = ~np.isnan(x).any(axis=1) & ~np.isnan(y)
    if known.sum() < 2 * len(features):
        return None
    weights, centre, mean = ridge(x[known], y[known])
    rows = tuple(usable.rows[biosample, a] for a in features)
    intercept = mean - float(centre @ weights)
    return Affine(rows, tuple(weights.tolist()), tuple(centre.tolist()), intercept)


def ridge(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Fit a ridge regression: weights, shape `(feature,)`, the features' means, and the mean of `y`."""
    centre: npt.NDArray[np.float64] = np.asarray(x.mean(axis=0))
    mean = float(y.mean())
    gram = (x - centre).T @ (x - centre) / len(x)
    scale = RIDGE * max(FEWEST, float(np.trace(gram)) / x.shape[1])
    weights = np.linalg.solve(gram + scale * np.eye(x.shape[1]), (x - centre).T @ (y - mean) / len(x))
    return weights, centre, mean


def constant(target: Target) -> Recipe | None:
    """Average the means of the assay's other experiments, or of those in other species if there are none."""
    own = (target.biosample, target.assay)
    means = [mean for label, mean in target.usable.means.items() if label[1] == target.assay and label != own]
    if not means:
        means = [m for other in target.others for label, m in other.means.items() if label[1] == target.assay]
    means = [mean for mean in means if np.isfinite(mean)]
    return Constant(float(np.mean(means))) if means else None


def carried_average(target: Target) -> Recipe | None:
    """Take the average activity of the assay in another species, at the bin to which each bin is mapped."""
    for other in target.others:
        rows, bins = other.rows_of(target.assay), target.bins.get(other.species)
        if not rows or bins is None:
            continue
        n_bins, highest = target.usable.signal.n_bins, int(np.max(bins, initial=-1))
        if len(bins) != n_bins or highest >= other.signal.n_bins:
            raise AxisError(
                f"mapping of bins to {other.species}",
                got=f"{len(bins):,} bins, mapped to bins up to {highest:,}",
                expected=f"{n_bins:,} bins, mapped to bins up to {other.signal.n_bins - 1:,}, or -1",
            )
        return Carried(other.signal, rows, bins)
    return None


AVERAGE = Baseline(
    "average activity", "other experiments of the assay in the species", False, average_activity
)

RAW_AVERAGE = Baseline(
    "average activity, own units",
    "other experiments of the assay in the species",
    False,
    raw_average_activity,
)

BIOSAMPLE_MEAN = Baseline("biosample mean", "other assays of the biosample", True, biosample_mean)

NEAREST_ASSAY = Baseline(
    "nearest assay", "other assays of the biosample, and the assay in another species", True, nearest_assay
)

ASSAY_REGRESSION = Baseline(
    "assay regression",
    "other assays of the biosample, and the assay in another species",
    True,
    assay_regression,
)

CARRIED = Baseline(
    "carried-over average", "the assay in another species, and a mapping of bins to it", True, carried_average
)

CONSTANT = Baseline("constant", "experiments of the assay in the species, or else in others", True, constant)

UNFAIR = Baseline(
    "average activity (unfair)", "the very experiments of the assay that are hidden", False, hidden_average
)
"""Mean of the species' own experiments of an assay that training never saw. No zero-shot user has it."""

LADDER = (
    CONSTANT, BIOSAMPLE_MEAN, NEAREST_ASSAY, ASSAY_REGRESSION, CARRIED, AVERAGE, RAW_AVERAGE, UNFAIR
)  # fmt: skip
"""All baselines, ordered by the data that a user needs for them."""

ZERO_SHOT = (BIOSAMPLE_MEAN, NEAREST_ASSAY, ASSAY_REGRESSION)
"""Baselines that zero-shot tracks are compared with by default."""


def baselines_named(names: str | Iterable[str | Baseline]) -> tuple[Baseline, ...]:
    """Look up one or several baselines by name; `all` is the whole ladder. Baselines stay as they are.

    Raises
    ------
    ConfigError
        If there is no baseline of a name.
    """
    known = {baseline.name: baseline for baseline in LADDER}
    wanted = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    if wanted == ["all"]:
        return LADDER
    unknown = [name for name in wanted if isinstance(name, str) and name not in known]
    if unknown:
        raise ConfigError(
            "baseline",
            got=f"{unknown[0]!r}{closest(unknown[0], known)}",
            expected="; ".join(known) + "; or all",
        )
    return tuple(known[one] if isinstance(one, str) else one for one in wanted)


def _examples(
    other: UsableTracks, assay: str, features: list[str]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sample bins of some assays and of the wanted one, in steps, one biosample after the other."""
    names = sorted(other.biosamples(assay))[:MAX_BIOSAMPLES]
    lacking = {a for a in features if any((name, a) not in other.rows for name in names)}
    needed = {other.rows[name, a] for name in names for a in (assay, *features) if (name, a) in other.rows}
    sampled = other.sample(needed | {row for a in lacking for row in other.rows_of(a)})
    averages = {a: _mean([sampled[row] for row in other.rows_of(a)]) for a in lacking}
    tracks = {(name, a): other.rows.get((name, a)) for name in names for a in (assay, *features)}
    values = {key: averages[key[1]] if row is None else _floats(sampled[row]) for key, row in tracks.items()}
    x = np.concatenate([np.stack([values[name, a] for a in features], axis=1) for name in names])
    return x, np.concatenate([values[name, assay] for name in names])


def _mean(tracks: list[Steps]) -> npt.NDArray[np.float64]:
    sums = sums_of(tracks)
    return sums.total / np.where(sums.count > 0, sums.count, np.nan)


def _floats(steps: Steps) -> npt.NDArray[np.float64]:
    return np.where(steps == MISSING, np.nan, steps.astype(np.float64))


@compiled()
def _co_moments(first: Any, second: Any, sums: Any) -> None:
    """Add number, sums, and sums of squares and products over the bins where both have a value; exact."""
    for i in range(first.size):
        if first[i] != MISSING and second[i] != MISSING:
            a, b = np.int64(first[i]), np.int64(second[i])
            sums[0] += 1
            sums[1] += a
            sums[2] += b
            sums[3] += a * a
            sums[4] += b * b
            sums[5] += a * b


def _pearson(n: int, a: int, b: int, aa: int, bb: int, ab: int) -> float:
    norm = float(np.sqrt(float(n * aa - a * a)) * np.sqrt(float(n * bb - b * b)))
    return (n * ab - a * b) / norm if norm > 0 else float("nan")
