"""What each member of a model never sees: tracks, or a whole assay of a species."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from epixs.sampling.panel import Panel

Mask = npt.NDArray[np.bool_]

LEFT_TO_SEE = 2
FEWEST_TRACKS = 6
"""Members hold tracks out from so many on."""


def can_be_held_out(tracks: pd.DataFrame) -> Mask:
    """Which of a species' tracks leave enough of their biosample and of their assay to learn from."""
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

    Only tracks whose biosample and assay have two others that the member sees, and none that is `needed`;
    first those that no member before holds out. A member with hidden assays holds out their tracks instead.
    """
    sizes = [panel.assay.size for panel in panels]
    held = [np.zeros((members, size), np.bool_) for size in sizes]
    every = [(at, track) for at, size in enumerate(sizes) for track in range(size)]
    if len(every) < FEWEST_TRACKS:
        return held
    count = max(1, round(share * len(every)))
    for member in range(members):
        for at, assay in hidden[member] if hidden else ():
            held[at][member] = panels[at].assay == assay
        if any(mask[member].any() for mask in held):
            continue
        order = np.random.Generator(np.random.PCG64([seed, 0x4D, member])).permutation(len(every))
        often = [sum(int(held[at][m, track]) for m in range(member)) for at, track in every]
        left = count
        for number in sorted(order.tolist(), key=lambda n: often[n]):
            at, track = every[number]
            panel, mine = panels[at], held[at][member]
            mine[track] = True
            same = [getattr(panel, name) == getattr(panel, name)[track] for name in ("biosample", "assay")]
            spared = not needed or not needed[at][track]
            if left and spared and all((label & ~mine).sum() >= LEFT_TO_SEE for label in same):
                left -= 1
            else:
                mine[track] = False
    return held


def hide_assays(
    panels: Sequence[Panel], members: int, focus: npt.NDArray[np.integer]
) -> list[list[tuple[int, int]]]:
    """Choose the assay that every second member has hidden from it in each species that lacks one in `focus`.

    In turn those that another species has too, as long as two others are left; `(species, assay)` per member.
    """
    hidden: list[list[tuple[int, int]]] = [[] for _ in range(members)]
    for at, panel in enumerate(panels):
        mine = np.unique(panel.assay)
        theirs = [other.assay for number, other in enumerate(panels) if number != at]
        shared = np.intersect1d(mine, np.concatenate([np.zeros(0, np.int32), *theirs]))
        if np.isin(focus, mine).all() or mine.size <= LEFT_TO_SEE or not shared.size:
            continue
        for turn, member in enumerate(range(1, members, 2)):
            hidden[member].append((at, int(shared[turn % shared.size])))
    return hidden
