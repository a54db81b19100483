"""Find tracks that are missing, constant, clipped or lack values, and name them in notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from epixs.evaluation import ladder
from epixs.evaluation.ladder import Label
from epixs.evaluation.scoring import PairScore, ScoredPair
from epixs.evaluation.table import MOST_NAMED

TIED_SHARE = 0.02
"""Share of bins in the top 1 % above which a note reports ties."""


def missing(
    observed: Mapping[Label, int], lost: set[Label], imputed: set[Label], trained: set[Label]
) -> list[str]:
    """List experiments that only one store has: not imputed though never trained on, or not readable."""
    return [" / ".join(label) for label in sorted((set(observed) - imputed - trained) | (lost & imputed))]


def odd_rows(
    labels: Sequence[str], pairs: Sequence[ScoredPair], found: Sequence[PairScore]
) -> dict[str, list[str]]:
    """Name the scored tracks where the observed or a predicted track is constant, clipped or lacks bins."""
    odd: dict[str, list[str]] = {"constant": [], "clipped": [], "NaN": []}
    most = max(scored.observed_bins for scored in found)
    for label, pair, scored in zip(labels, pairs, found, strict=True):
        constant = [name for name in scored.constant if name != ladder.CONSTANT.name]
        without = [name for name in pair.methods if name not in scored.metrics]
        some = ["some bins"] if scored.bins < most else []
        for kind, which in (("constant", constant), ("clipped", [*scored.clipped]), ("NaN", without or some)):
            if which:
                odd[kind].append(f"{label}: {', '.join(which)}")
    return odd


def oddities(labels: Sequence[str], pairs: Sequence[ScoredPair], found: Sequence[PairScore]) -> list[str]:
    """Name the tracks that tie at the top, are clipped, or lack all values of a method."""
    notes = []
    tied = [label for label, scored in zip(labels, found, strict=True) if scored.tied > TIED_SHARE]
    if tied:
        notes.append(
            f"mse1obs is over more than {TIED_SHARE:.0%} of the bins on {len(tied)} tracks, where too many "
            f"bins tie with the top 1 % (sparse tracks, mostly at 0): {', '.join(tied[:MOST_NAMED])}"
        )
    clipped = [
        f"{label} ({', '.join(f'{name}: {count:,} bins' for name, count in scored.clipped.items())})"
        for label, scored in zip(labels, found, strict=True)
        if scored.clipped
    ]
    if clipped:
        notes.append(
            "values beyond 16 arcsinh units (4.4 million in a track's own units) count as 16 on "
            f"{len(clipped)} tracks: {_few(clipped)}"
        )
    nothing = [
        f"{label} ({', '.join(name for name in pair.methods if name not in scored.metrics)})"
        for label, pair, scored in zip(labels, pairs, found, strict=True)
        if len(scored.metrics) < len(pair.methods)
    ]
    if nothing:
        notes.append(
            f"on {len(nothing)} tracks, these methods have no value at any bin and are left out: "
            f"{_few(nothing)}"
        )
    return notes


def unreadable(table: pd.DataFrame, lost: Mapping[Label, int], imputed: Mapping[Label, int]) -> list[str]:
    """Note the imputed experiments whose observed row could not be read, or was removed."""
    both = sorted(set(lost) & set(imputed))
    if not both:
        return []
    named = [f"{' / '.join(label)} ({table['status'][lost[label]]})" for label in both]
    return [
        f"{len(both)} imputed experiments have no readable observed row, and are not scored: {_few(named)}"
    ]


def other_units_in(
    imputed: pd.DataFrame, observed: pd.DataFrame, pairs: Sequence[tuple[int, int]]
) -> list[str]:
    """Note the experiments that were measured in other units than they were imputed in."""
    units = [(imputed["output_type"][i], observed["output_type"][o], i) for i, o in pairs]
    differ = [(predicted, measured, row) for predicted, measured, row in units if predicted != measured]
    if not differ:
        return []
    trained, observed_in, row = differ[0]
    name = f"{imputed['biosample'][row]} / {imputed['assay'][row]}"
    return [
        f"{len(differ)} of {len(pairs)} experiments were observed in other units than their assay was "
        f"trained on ({name}: {observed_in!r} against {trained!r}): "
        "compare them by rank (spearman); MSE mixes units"
    ]


def no_longer_there(labels: set[Label], trained: int) -> list[str]:
    """Note the training experiments that the observed compendium, or a selection of it, does not hold."""
    if not labels:
        return []
    return [
        f"WARNING: {len(labels)} of {trained} training experiments are not among the observed ones, so the "
        f"baselines are not those of training: {_few([' / '.join(label) for label in sorted(labels)])}"
    ]


def unused_peaks(labels: set[Label], scored: set[Label]) -> list[str]:
    """Note the peaks of experiments that are not scored."""
    unused = sorted(labels - scored)
    if not unused:
        return []
    return [
        f"the peaks of {len(unused)} of {len(labels)} experiments are not used, since no such experiment is "
        f"scored: {_few([' / '.join(label) for label in unused])}"
    ]


def left_out(rows: dict[Label, int], scored: set[Label], trained: set[Label]) -> list[str]:
    """Note the observed experiments that training never saw and that were not imputed."""
    lacking = sorted(set(rows) - scored - trained)
    if not lacking:
        return []
    more = ", ..." if len(lacking) > MOST_NAMED else ""
    return [
        f"{len(lacking)} observed experiments that training never saw were not imputed, and are not scored: "
        f"{', '.join(' / '.join(label) for label in lacking[:MOST_NAMED])}{more}"
    ]


def _few(named: Sequence[str]) -> str:
    return "; ".join(named[:MOST_NAMED]) + ("; ..." if len(named) > MOST_NAMED else "")
