"""What a prediction must beat: average activity, and what a zero-shot user could do without a model.

All take and give arcsinh units along one species' bins. `SignalRows` reads a track only when asked, so that
memory stays at a few tracks whatever the size of the compendium.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from epixs.evaluation.metrics import pearson

Track = npt.NDArray[np.float32]


Label = tuple[str, str]
"""`(biosample, assay)`"""


FIT_BINS = 100_000


MAX_BIOSAMPLES = 16
"""Other species' biosamples that a zero-shot baseline learns from, the first by name."""


RIDGE = 1e-3


@dataclass
class SignalRows:
    """Tracks of one species that may be used, by `(biosample, assay)`.

    Parameters
    ----------
    rows
        Row of each usable experiment in its store.
    read
        Reads a row, shape `(bin,)`.
    """

    rows: dict[Label, int]
    read: Callable[[int], Track]
    _totals: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]] = field(default_factory=dict)

    def track(self, label: Label) -> Track:
        """One usable experiment."""
        return self.read(self.rows[label])

    def biosamples(self, assay: str) -> list[str]:
        """Biosamples in which an assay may be used."""
        return [b for b, a in self.rows if a == assay]

    def assays(self, biosample: str) -> list[str]:
        """Assays that may be used in a biosample."""
        return [a for b, a in self.rows if b == biosample]

    def average(self, assay: str, without: str | None = None) -> Track | None:
        """Average activity of an assay, without one biosample's own experiment; None if nothing is left."""
        if assay not in self._totals:
            biosamples = self.biosamples(assay)
            if not biosamples:
                return None
            self._totals.clear()  # one assay at a time: callers go assay by assay
            shape = self.track((biosamples[0], assay)).shape
            total, count = np.zeros(shape), np.zeros(shape, dtype=np.int64)
            for biosample in biosamples:
                track = self.track((biosample, assay))
                total += np.nan_to_num(track)
                count += ~np.isnan(track)
            self._totals[assay] = (total, count)
        total, count = self._totals[assay]
        if without is not None and (without, assay) in self.rows:
            own = self.track((without, assay))
            total, count = total - np.nan_to_num(own), count - ~np.isnan(own)
        if not count.any():
            return None
        with np.errstate(invalid="ignore"):
            return (total / np.where(count > 0, count, np.nan)).astype(np.float32)


def biosample_mean(rows: SignalRows, biosample: str, assay: str) -> Track | None:
    """Mean of the biosample's other assays at each bin."""
    others = [a for a in rows.assays(biosample) if a != assay]
    if not others:
        return None
    shape = rows.track((biosample, others[0])).shape
    total, count = np.zeros(shape), np.zeros(shape, dtype=np.int64)
    for other in others:
        track = rows.track((biosample, other))
        total += np.nan_to_num(track)
        count += ~np.isnan(track)
    with np.errstate(invalid="ignore"):
        return (total / np.where(count > 0, count, np.nan)).astype(np.float32)


def nearest_assay(rows: SignalRows, others: Sequence[SignalRows], biosample: str, assay: str) -> Track | None:
    """The biosample's track of the assay that goes with the wanted one most closely in other species.

    Closeness is the mean Pearson correlation over the other species' biosamples that have both.
    """
    best, best_correlation = None, -np.inf
    for candidate in rows.assays(biosample):
        if candidate == assay:
            continue
        found = []
        for other in others:
            shared = set(other.biosamples(assay)) & set(other.biosamples(candidate))
            for name in sorted(shared)[:MAX_BIOSAMPLES]:
                pair = np.stack([other.track((name, assay)), other.track((name, candidate))])
                known = ~np.isnan(pair).any(axis=0)
                correlation = pearson(pair[0, known], pair[1, known])
                if not np.isnan(correlation):
                    found.append(correlation)
        if found and np.mean(found) > best_correlation:
            best, best_correlation = candidate, float(np.mean(found))
    return rows.track((biosample, best)) if best is not None else None


def assay_regression(
    rows: SignalRows, others: Sequence[SignalRows], biosample: str, assay: str
) -> Track | None:
    """Ridge regression of the wanted assay on the biosample's assays, learned in other species.

    An assay that a biosample lacks is filled with its average activity in that species (marking it
    missing would identify the biosample).
    """
    features = [
        a
        for a in rows.assays(biosample)
        if a != assay and any(other.biosamples(a) for other in others if other.biosamples(assay))
    ]
    if not features:
        return None
    designs, targets = [], []
    for other in others:
        for name in sorted(other.biosamples(assay))[:MAX_BIOSAMPLES]:
            columns = [_feature(other, name, a) for a in features]
            if any(column is None for column in columns):
                continue
            target = other.track((name, assay))
            step = max(1, target.size // FIT_BINS)
            designs.append(np.stack([c[::step] for c in columns if c is not None], axis=1))
            targets.append(target[::step])
    if not designs:
        return None
    x, y = np.concatenate(designs).astype(np.float64), np.concatenate(targets).astype(np.float64)
    known = ~np.isnan(x).any(axis=1) & ~np.isnan(y)
    if known.sum() < 2 * len(features):
        return None
    x, y = x[known], y[known]
    centre: npt.NDArray[np.float64] = np.asarray(x.mean(axis=0))
    mean = float(y.mean())
    gram = (x - centre).T @ (x - centre) / len(x)
    scale = RIDGE * max(1e-12, float(np.trace(gram)) / len(features))
    weights = np.linalg.solve(gram + scale * np.eye(len(features)), (x - centre).T @ (y - mean) / len(x))
    mine = np.stack([rows.track((biosample, a)) for a in features], axis=1)
    mine = np.where(np.isnan(mine), centre, mine)
    return np.asarray((mine - centre) @ weights + mean, dtype=np.float32)


def _feature(rows: SignalRows, biosample: str, assay: str) -> Track | None:
    if (biosample, assay) in rows.rows:
        return rows.track((biosample, assay))
    return rows.average(assay)
