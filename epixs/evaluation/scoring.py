"""Score pairs of observed and predicted tracks in two passes over columns of bins.

Memory holds two columns and one table of counts per track, whatever the number of bins.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from epixs.evaluation.baselines import Mean, Recipe
from epixs.evaluation.columns import Column, Signal, column_width, columns
from epixs.evaluation.metrics import cuts_for, values_of
from epixs.evaluation.steps import N_STEPS, Steps
from epixs.evaluation.strata import Strata
from epixs.evaluation.streaming import Cuts, Joint, Marginals, Places, joint, marginals

STATE_BYTES = 500_000_000
"""Maximum memory of the counts of tracks that are scored together. More tracks are scored group by group."""

State = TypeVar("State", Marginals, Joint)


@dataclass(frozen=True, eq=False)
class ScoredPair:
    """An observed track and the ways in which it is predicted.

    Parameters
    ----------
    label
        `(biosample, assay)`
    row
        Row of the observed track.
    methods
        Recipe of each predicted track, by name.
    variance_of
        Tracks over which the assay's variance is computed; None if they are too few.
    """

    label: tuple[str, str]
    row: int
    methods: Mapping[str, Recipe]
    variance_of: Mean | None = None


@dataclass(frozen=True, eq=False)
class PairScore:
    """Scores of one pair.

    Parameters
    ----------
    metrics
        Metrics by method, without methods that have no value at any bin.
    bins, observed_bins
        Number of bins that are compared, and of bins at which the observed track has a value.
    constant, clipped
        Methods with one value at all bins, and the number of bins beyond 16 arcsinh units by method. The
        observed track is called `observed`.
    tied
        Share of the compared bins that are in the top 1 % observed, or tie with it.
    """

    metrics: Mapping[str, Mapping[str, float]]
    bins: int
    observed_bins: int
    constant: tuple[str, ...]
    clipped: Mapping[str, int]
    tied: float


def score_pairs(
    pairs: Sequence[ScoredPair],
    observed: Signal,
    imputed: Signal | None,
    strata: Strata,
    *,
    mode: str = "corrected",
    progress: Callable[[int, int], None] | None = None,
) -> list[PairScore]:
    """Score all pairs.

    Parameters
    ----------
    pairs
        Pairs to score, ordered so that tracks that are read together are neighbours.
    observed, imputed
        Signal of the two stores.
    strata
        Annotations of the bins.
    mode
        `"corrected"` or `"challenge"`.
    progress
        Called with the number of columns done and of all columns.
    """
    groups = _groups(pairs)
    steps = [-(-observed.n_bins // _width(group, observed)) for group in groups]
    done, total = 0, 2 * sum(steps)

    def advance() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(min(done, total), total)

    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        run = partial(_Group, observed=observed, imputed=imputed, strata=strata, mode=mode, threads=threads)
        return [score for group in groups for score in run(group).scores(advance)]


def _groups(pairs: Sequence[ScoredPair]) -> list[Sequence[ScoredPair]]:
    most = max((len(pair.methods) for pair in pairs), default=0)
    together = max(1, STATE_BYTES // (2 * 8 * N_STEPS * (1 + most)))
    return [pairs[first : first + together] for first in range(0, len(pairs), together)]


def _rows(pairs: Iterable[ScoredPair]) -> set[int]:
    """Collect the rows of the observed store that pairs read."""
    rows: set[int] = set()
    for pair in pairs:
        rows |= {pair.row, *(pair.variance_of.rows if pair.variance_of else ())}
        rows.update(*(recipe.rows for recipe in pair.methods.values()))
    return rows


def _imputed_rows(pairs: Iterable[ScoredPair]) -> set[int]:
    return {row for pair in pairs for recipe in pair.methods.values() for row in recipe.imputed_rows}


def _width(pairs: Sequence[ScoredPair], observed: Signal) -> int:
    return column_width(len(_rows(pairs)) + len(_imputed_rows(pairs)), observed.chunk[1])


@dataclass(frozen=True, eq=False)
class _Group:
    """Pairs that are scored together."""

    pairs: Sequence[ScoredPair]
    observed: Signal
    imputed: Signal | None
    strata: Strata
    mode: str
    threads: ThreadPoolExecutor

    def scores(self, advance: Callable[[], None]) -> list[PairScore]:
        """Make both passes. Methods without any value are dropped, and then the first pass is repeated."""
        counts = self._pass([self._marginals for _ in self.pairs], advance)
        pairs = [_with_values(pair, count.present) for pair, count in zip(self.pairs, counts, strict=True)]
        if any(len(new.methods) < len(old.methods) for new, old in zip(pairs, self.pairs, strict=True)):
            return replace(self, pairs=pairs).scores(advance)
        cuts = [cuts_for(self.mode, count) for count in counts]
        sums = self._pass([partial(self._joint, cuts=cut) for cut in cuts], advance)
        return [_score(self.mode, *scored) for scored in zip(self.pairs, counts, cuts, sums, strict=True)]

    def _pass(
        self, statistics: Sequence[Callable[[ScoredPair, Column, Places], State]], advance: Callable[[], None]
    ) -> list[State]:
        """Add up one statistic per pair over all columns. The pairs of a column run in parallel."""
        totals: list[State] = []
        rows, imputed_rows = _rows(self.pairs), _imputed_rows(self.pairs)
        for column in columns(self.observed, rows, self.imputed, imputed_rows):
            shared = self._places(column)
            states = self.threads.map(partial(_apply, column, shared), self.pairs, statistics)
            for number, state in enumerate(states):  # added as they come, so that few are held
                if number < len(totals):
                    totals[number] = totals[number] + state
                else:
                    totals.append(state)
            advance()
        return totals

    def _places(self, column: Column) -> Places:
        """Return the annotations of a column's bins that are the same for all pairs."""
        span = column.start, column.stop
        weights = [coverage.weights(*span) for coverage in self.strata.strata]
        places = Places.plain(column.n_bins)
        return replace(
            places,
            used=self.strata.blacklist.weights(*span) == 0,
            strata=np.stack(weights) if weights else places.strata,
        )

    def _marginals(self, pair: ScoredPair, column: Column, places: Places) -> Marginals:
        return marginals(column.observed[pair.row], _predicted(pair, column), places)

    def _joint(self, pair: ScoredPair, column: Column, places: Places, *, cuts: Cuts) -> Joint:
        peaks = self.strata.peaks.get(pair.label)
        if peaks is not None:
            places = replace(places, peaks=peaks.weights(column.start, column.stop) > 0)
        if pair.variance_of is not None:
            is_raw = self.mode == "challenge"
            variance = pair.variance_of.raw_variance(column) if is_raw else pair.variance_of.variance(column)
            places = replace(places, variance=variance)
        return joint(column.observed[pair.row], _predicted(pair, column), cuts, places)


def _apply(
    column: Column,
    places: Places,
    pair: ScoredPair,
    statistic: Callable[[ScoredPair, Column, Places], State],
) -> State:
    return statistic(pair, column, places)


def _predicted(pair: ScoredPair, column: Column) -> Steps:
    tracks = [recipe.values(column) for recipe in pair.methods.values()]
    return np.stack(tracks) if tracks else np.empty((0, column.n_bins), dtype=np.int16)


def _with_values(pair: ScoredPair, present: np.ndarray) -> ScoredPair:
    """Drop the methods of a pair that have no value at any bin."""
    kept = {name: recipe for (name, recipe), n in zip(pair.methods.items(), present[1:], strict=True) if n}
    return replace(pair, methods=kept)


def _score(mode: str, pair: ScoredPair, counts: Marginals, cuts: Cuts, sums: Joint) -> PairScore:
    names = ("observed", *pair.methods)
    bins = int(counts.counts[0].sum())
    beyond = counts.counts[:, 1] + counts.counts[:, -1]
    top = int(counts.counts[0][int(cuts.thresholds[0, 0]) + N_STEPS // 2 :].sum()) if bins else 0
    return PairScore(
        dict(zip(pair.methods, values_of(mode, counts, cuts, sums), strict=True)),
        bins,
        int(counts.present[0]),
        tuple(
            name
            for name, row in zip(names, counts.counts, strict=True)
            if bins and np.count_nonzero(row) == 1
        ),
        {name: int(n) for name, n in zip(names, beyond, strict=True) if n},
        top / bins if bins else 0.0,
    )
