"""Sentences on odd experiments that a user should know before trusting results.

Each function takes a table with one row per experiment, as `experiments_of` gives it, and returns notes, or
none if nothing is odd.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from epixs.sampling.draws import PACKED_LIMIT

LOW_COVERAGE = 0.05
"""Minimum share of bases with a value. Below it, most of a row counts as not measured."""

LARGE_MEAN = 8.0
"""Mean in arcsinh units that no track exceeds in its usual units: sinh(8) is 1,490."""

SCALE_RATIO, SCALE_MARGIN = 3.0, 2.0
"""Factor and arcsinh units by which a mean has to exceed the median of its assay to be noted."""

USUAL = 3
"""Minimum number of experiments with a label for its spelling to count as right."""

MOST_NAMED = 3

MOST_NOTES = 6


def remarks_on(table: pd.DataFrame, species: str, uncovered: str) -> list[str]:
    """List all that is odd about the experiments of one store."""
    return [
        *sparse_tracks(table, uncovered),
        *mixed_units(units_of(table, species)),
        *odd_scales(table),
        *same_tracks(table),
        *two_spellings(table["biosample"], "biosamples"),
        *two_spellings(table["assay"], "assays"),
        *slips(table["assay"], "assays"),
    ]


def _labels(table: pd.DataFrame) -> list[str]:
    """Name each experiment."""
    labels = zip(table["biosample"], table["assay"], table["accession"], strict=True)
    return [f"{b} / {a} ({accession})" for b, a, accession in labels]


def _named(table: pd.DataFrame, count: int = MOST_NAMED) -> str:
    """Name the first few experiments of a table."""
    names = _labels(table)
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _counted(table: pd.DataFrame, of: pd.DataFrame) -> str:
    return f"{len(table):,} of {len(of):,} experiments" if len(of) > 1 else "the experiment"


def sparse_tracks(table: pd.DataFrame, uncovered: str) -> list[str]:
    """Note tracks that have a value on hardly any base of the regions."""
    ok = table[table["status"] == "ok"]
    sparse = ok[ok["covered_fraction"] < LOW_COVERAGE].sort_values("covered_fraction", kind="stable")
    if sparse.empty:
        return []
    lowest = float(sparse["covered_fraction"].iloc[0])
    filled = "counts as 0, as if measured" if uncovered == "zero" else "is missing (NaN)"
    way_out = ", or count the rest as missing (--uncovered nan)" if uncovered == "zero" else ""
    have = "have" if len(ok) > 1 else "has"
    return [
        f"WARNING: {_counted(sparse, ok)} {have} values on less than {LOW_COVERAGE:.0%} of the bases of "
        f"these regions (lowest: {lowest:.2g} of all bases, {_named(sparse)}): the rest {filled}. If they "
        f"were measured elsewhere only, ingest over the regions that they cover (--regions){way_out}"
    ]


def mixed_units(units: Mapping[str, Mapping[str, Sequence[str]]]) -> list[str]:
    """Note assays whose tracks come in several units; `units[assay][species]` are the output types."""
    mixed = {
        assay: by_species
        for assay, by_species in units.items()
        if len({unit for kinds in by_species.values() for unit in kinds}) > 1
    }
    if not mixed:
        return []
    assay, by_species = next(iter(mixed.items()))
    which = "; ".join(f"{' and '.join(kinds)} in {species}" for species, kinds in by_species.items())
    more = (
        f" (and {len(mixed) - 1} more: {', '.join([*mixed][1 : MOST_NAMED + 1])})" if len(mixed) > 1 else ""
    )
    return [
        f"{assay} comes in several units: {which}{more}. Their values are not comparable: errors (MSE) mix "
        "units, and imputed tracks have at best the units of their biosample's other tracks"
    ]


def units_of(table: pd.DataFrame, species: str) -> dict[str, dict[str, list[str]]]:
    """List the output types of each assay of one species, for `mixed_units`."""
    return {
        str(assay): {species: sorted(set(kinds))}
        for assay, kinds in table.groupby("assay", sort=True)["output_type"]
    }


def odd_scales(table: pd.DataFrame) -> list[str]:
    """Note tracks with values far larger than those of their assay or of any track, and constant tracks."""
    ok = table[(table["status"] == "ok") & table["signal_max"].notna()]
    means, highs, lows = (
        ok[name].to_numpy(dtype=float) for name in ("signal_mean", "signal_max", "signal_min")
    )
    assays = ok["assay"].to_numpy()
    notes = []
    for row, name in enumerate(_labels(ok)):
        others = np.abs(np.delete(means, row)[np.delete(assays, row) == assays[row]])
        usual = float(np.median(others)) if others.size else np.nan
        mean, extreme = means[row], max(highs[row], lows[row], key=abs)
        if abs(mean) > LARGE_MEAN or abs(mean) > max(SCALE_RATIO * usual, usual + SCALE_MARGIN):
            beside = f", where {usual:.2g} is usual for its assay" if others.size else ""
            notes.append(
                f"WARNING: {name} has a mean of {mean:.3g} arcsinh units ({_raw(mean)} in its own){beside}: "
                "is it in other units, or a factor too large? It would dominate training: `epixs remove` or "
                "--exclude leaves it out"
            )
        elif abs(extreme) > PACKED_LIMIT:
            notes.append(
                f"{name} reaches {extreme:.3g} arcsinh units ({_raw(extreme)} in its own): training clips "
                f"values at {np.sign(extreme) * PACKED_LIMIT:.0f}"
            )
        elif highs[row] == lows[row]:
            notes.append(f"{name} has the same value everywhere, {highs[row]:g}")
    notes.sort(key=lambda note: not note.startswith("WARNING"))
    more = [f"and {len(notes) - MOST_NOTES:,} more such remarks"] if len(notes) > MOST_NOTES else []
    return notes[:MOST_NOTES] + more


def same_tracks(table: pd.DataFrame) -> list[str]:
    """Note experiments that are one file, or have the same values, under several accessions."""
    ok = table[(table["status"] == "ok") & (table["signal_max"] > table["signal_min"])]
    values = ["signal_mean", "signal_min", "signal_max", "zero_fraction"]
    twins: list[str] = []
    for _, same in ok.groupby(values, sort=False):
        if len(same) > 1:
            twins.append(_named(same))
    if not twins:
        return []
    more = ", ..." if len(twins) > MOST_NAMED else ""
    return [
        f"WARNING: the same track under several names: {'; '.join(twins[:MOST_NAMED])}{more}. If one of "
        "them is "
        "excluded, training still sees its values"
    ]


def _raw(value: float) -> str:
    return f"{math.sinh(value):.3g}" if abs(value) < 700 else "over 1e300"


def two_spellings(names: Iterable[str], what: str) -> list[str]:
    """Note names that differ only in case, spaces or hyphens."""
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(_spelling(name), []).append(name)
    twice = [" and ".join(map(repr, same)) for same in groups.values() if len(same) > 1]
    if not twice:
        return []
    more = ", ..." if len(twice) > MOST_NAMED else ""
    return [
        f"{what} in several spellings, taken for different ones: {', '.join(twice[:MOST_NAMED])}{more}. If "
        "they are the same, give them one spelling in the catalog"
    ]


def slips(names: Iterable[str], what: str) -> list[str]:
    """Note names of a single experiment that look like misspellings of a usual name.

    They have one letter more or less, or two letters swapped. Names whose numbers differ, as H3K4me1 and
    H3K4me3, are different names.
    """
    count = Counter(names)
    usual = sorted(name for name, often in count.items() if often >= USUAL)
    shorter = {less: name for name in usual for less in _one_less(name)}
    notes = []
    for name in sorted(name for name, often in count.items() if often == 1):
        swapped = (name[:i] + name[i + 1] + name[i] + name[i + 2 :] for i in range(len(name) - 1))
        meant = [shorter.get(name), *(other for other in (*_one_less(name), *swapped) if other in usual)]
        same = [other for other in meant if other and other != name and _numbers(other) == _numbers(name)]
        if same:
            notes.append(f"{name!r} ({same[0]!r} otherwise)")
    if not notes:
        return []
    more = ", ..." if len(notes) > MOST_NAMED else ""
    some = ", ".join(notes[:MOST_NAMED])
    return [f"{what} that may be misspelled, taken for different ones: {some}{more}"]


def _one_less(name: str) -> list[str]:
    return [name[:i] + name[i + 1 :] for i in range(len(name))]


def _numbers(name: str) -> list[str]:
    return re.findall(r"\d+", name)


def _spelling(name: str) -> str:
    """Remove case, spaces, underscores, dots, and hyphens within words (`CD8-` is not `CD8+`) from a name."""
    return re.sub(r"[\s_.]+|(?<=\w)-(?=\w)", "", name.casefold())
