"""A planned panel laid over a species that is measured well: which of its tracks to train on, and to hide."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

Label = tuple[str, str]
"""`(biosample, assay)`"""

HIDDEN_SHARE = 0.2
"""Share of the panel's own tracks that is hidden, besides those that the panel leaves unmeasured."""

LEFT = 2
"""Tracks that each biosample and each assay keeps when some are hidden."""


@dataclass(frozen=True)
class Rehearsal:
    """A panel of the reference species that has the shape of the planned one.

    Parameters
    ----------
    trained
        Tracks to train on.
    hidden
        Tracks of assays of the panel, to be imputed and compared with what was measured.
    zero_shot
        Likewise, of assays that the panel lacks.
    """

    trained: tuple[Label, ...]
    hidden: tuple[Label, ...]
    zero_shot: tuple[Label, ...]


def rehearse(
    planned: Collection[Label],
    measured: Collection[Label],
    further_assays: Collection[str],
    share: float,
    generator: np.random.Generator,
) -> Rehearsal:
    """Lay a planned panel over the tracks of a reference species.

    Parameters
    ----------
    planned
        The panel's tracks. Their biosamples are replaced by random ones of the reference, those with all of
        the assays first; assays stay.
    measured
        Tracks of the reference.
    further_assays
        Assays to impute zero-shot.
    share
        Share of the planned biosamples that take part.
    generator
        Decides which biosamples stand for which, and which tracks are hidden.
    """
    by_biosample = _by_biosample(planned)
    names = sorted(by_biosample)
    count = max(1, round(share * len(names)))
    some = [names[i] for i in generator.permutation(len(names))[:count]]
    free = _by_biosample(measured)
    trained: list[Label] = []
    used: list[str] = []
    for name in sorted(some, key=lambda name: -len(by_biosample[name])):
        if not free:
            break
        wanted = by_biosample[name]
        candidates = sorted(free)
        shared = np.array([len(free[one] & wanted) for one in candidates])
        best = np.flatnonzero(shared == shared.max())
        chosen = candidates[int(generator.choice(best))]
        trained += [(chosen, assay) for assay in sorted(free.pop(chosen) & wanted)]
        used.append(chosen)
    known, assays = set(trained), {assay for _, assay in planned}
    unmeasured = [one for one in sorted(measured) if one[0] in used and one[1] in assays and one not in known]
    hidden = _some_hidden(trained, generator)
    left = [one for one in trained if one not in hidden]
    lacking = [one for one in sorted(measured) if one[0] in used and one[1] in set(further_assays) - assays]
    kept_assays, kept_biosamples = {a for _, a in left}, {b for b, _ in left}
    imputable = [(b, a) for b, a in unmeasured if a in kept_assays and b in kept_biosamples]
    return Rehearsal(
        tuple(left),
        tuple(sorted([*hidden, *imputable])),
        tuple(one for one in lacking if one[0] in kept_biosamples),
    )


def _by_biosample(tracks: Collection[Label]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for biosample, assay in tracks:
        found.setdefault(biosample, set()).add(assay)
    return found


def _some_hidden(trained: Sequence[Label], generator: np.random.Generator) -> list[Label]:
    """Choose the tracks to hide: every biosample and every assay keeps `LEFT`."""
    wanted, hidden = round(HIDDEN_SHARE * len(trained)), list[Label]()
    left = list(trained)
    for number in generator.permutation(len(trained)):
        if len(hidden) == wanted:
            break
        biosample, assay = trained[number]
        same_biosample = sum(b == biosample for b, _ in left)
        same_assay = sum(a == assay for _, a in left)
        if min(same_biosample, same_assay) > LEFT:
            left.remove((biosample, assay))
            hidden.append((biosample, assay))
    return hidden
