"""Choose what each member of a model never sees: tracks, or a whole assay of a species."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from epixs.sampling.panel import Panel

Mask = npt.NDArray[np.bool_]

LEFT_TO_SEE = 2
FEWEST_TRACKS = 6
"""Minimum number of tracks for members to hold any out."""


def can_be_held_out(tracks: pd.DataFrame) -> Mask:
    """Mark the tracks that can be held out: their biosample and their assay keep `LEFT_TO_SEE` others."""
    left = [tracks.groupby(name)[name].transform("size") - 1 for name in ("biosample", "assay")]
    return np.asarray((left[0] >= LEFT_TO_SEE) & (left[1] >= LEFT_TO_SEE))


def hold_out_by_member(
    panels: Sequence[Panel],
    members: int,
    share: float,
    seed: int,
    needed: Sequence[Mask] = (),
    hidden: Sequence[Sequence[tuple[int, int]]] = (),
) -> list[Mask]:
    """Choose the tracks that each member never sees, shape `(member, track)` per species.

    A track is chosen only if the member sees two others of its biosample and two of its assay, and if it is
    not `needed`. Tracks that earlier members hold out less often come first. A member with hidden assays
    holds out the tracks of these instead.
    """
    sizes = [panel.assay.size for panel in panels]
    held = [np.zeros((members, size), np.bool_) for size in sizes]
    tracks = [(at, track) for at, size in enumerate(sizes) for track in range(size)]
    if len(tracks) < FEWEST_TRACKS:
        return held
    count = max(1, round(share * len(tracks))) if share else 0
    for member in range(members):
        for at, assay in hidden[member] if hidden else ():
            held[at][member] = panels[at].assay == assay
        if any(mask[member].any() for mask in held):
            continue
        order = np.random.Generator(np.random.PCG64([seed, 0x4D, member])).permutation(len(tracks))
        often = [sum(int(held[at][m, track]) for m in range(member)) for at, track in tracks]
        left = count
        for number in sorted(order.tolist(), key=lambda n: often[n]):
            at, track = tracks[number]
            panel, unseen = panels[at], held[at][member]
            unseen[track] = True
            same = [getattr(panel, name) == getattr(panel, name)[track] for name in ("biosample", "assay")]
            spared = not needed or not needed[at][track]
            if left and spared and all((label & ~unseen).sum() >= LEFT_TO_SEE for label in same):
                left -= 1
            else:
                unseen[track] = False
    return held


def hide_assays(
    panels: Sequence[Panel], members: int, focus: npt.NDArray[np.integer]
) -> list[list[tuple[int, int]]]:
    """Choose the assay to hide from every second member, in each species that lacks an assay in `focus`.

    These members take turns through the assays that another species has too. A species with two assays or
    fewer hides none. The result lists `(species, assay)` for each member.
    """
    hidden: list[list[tuple[int, int]]] = [[] for _ in range(members)]
    for at, panel in enumerate(panels):
        own = np.unique(panel.assay)
        others = [other.assay for number, other in enumerate(panels) if number != at]
        shared = np.intersect1d(own, np.concatenate([np.zeros(0, np.int32), *others]))
        if np.isin(focus, own).all() or own.size <= LEFT_TO_SEE or not shared.size:
            continue
        for turn, member in enumerate(range(1, members, 2)):
            hidden[member].append((at, int(shared[turn % shared.size])))
    return hidden
