"""Order the chunks that an epoch reads: bins and group of experiments of each, and its pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from epixs.sampling.chunks import Source

GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Segments:
    """Ranges of bins, each within one chunk, in the order that an epoch reads them.

    All arrays are int64. `source`, `start`, `stop` (bins of the species) and `visit` (how often these bins
    came before in the epoch) have shape `(segment,)`; `group`, one row group per lane, `(segment, lane)`.
    """

    source: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]
    visit: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]


def epoch_segments(
    sources: Sequence[Source], visits: Sequence[int], width: int, seed: int, epoch: int
) -> Segments:
    """List in random order the segments of an epoch, which visits `visits` positions of each source."""
    parts = [
        _species_segments(index, source, count, min(width, source.groups.size), seed, epoch)
        for index, (source, count) in enumerate(zip(sources, visits, strict=True))
        if count
    ]
    lanes = max(part.group.shape[1] for part in parts)
    parts = [_with_lanes(part, lanes) for part in parts]
    generator = np.random.Generator(np.random.PCG64([seed, epoch, 0x5E5]))
    order = generator.permutation(sum(part.start.size for part in parts))
    names = ("source", "start", "stop", "visit", "group")
    return Segments(*(np.concatenate([getattr(part, name) for part in parts])[order] for name in names))


def _species_segments(index: int, source: Source, visits: int, lanes: int, seed: int, epoch: int) -> Segments:
    """List ranges of bins that visit each bin of a source equally often, with the group to draw from in each.

    If the visits are no multiple of the bins, the rest is one range. It begins where that of the last epoch
    ended (at random in the first epoch), and continues at the first bin after the last.
    """
    generator = np.random.Generator(np.random.PCG64([seed, index, 0x5E6]))
    n_bins, width = source.n_bins, source.chunk_bins
    passes, rest = divmod(visits, n_bins)
    begin = (int(generator.integers(0, n_bins)) + epoch * rest) % n_bins
    runs = [(0, n_bins, visit) for visit in range(passes)]
    runs += [(begin, min(n_bins, begin + rest), passes)] if rest else []
    runs += [(0, begin + rest - n_bins, passes)] if begin + rest > n_bins else []
    pieces = [
        (max(start, low), min(stop, low + width), visit)
        for start, stop, visit in runs
        for low in range(start // width * width, stop, width)
    ]
    start, stop, visit = np.array(pieces, dtype=np.int64).T
    columns = -(-n_bins // width)
    at = _spread((passes + 1) * columns, lanes, [seed, index, 0x5E7], epoch)[visit * columns + start // width]
    share = np.cumsum(np.diff(source.first)) / source.rows.size
    group = np.minimum(np.searchsorted(share, at, side="right"), share.size - 1)
    return Segments(np.full(start.size, index), start, stop, visit, group)


def _spread(count: int, lanes: int, seeds: list[int], epoch: int) -> npt.NDArray[np.float64]:
    """Draw numbers in [0, 1), shape `(count, lanes)`, spread evenly in each epoch, and each over epochs.

    From epoch to epoch, all are shifted by the golden ratio, so that every chunk column goes through all of
    its groups as evenly as possible, and no group is left out in any epoch.
    """
    generator = np.random.Generator(np.random.PCG64(seeds))
    first = [(generator.permutation(count) + generator.random()) / count for _ in range(lanes)]
    moved: npt.NDArray[np.float64] = (np.stack(first, axis=1) + epoch * GOLDEN) % 1.0
    return moved


def _with_lanes(segments: Segments, lanes: int) -> Segments:
    """Widen the table of groups; the added lanes are never read."""
    group = np.zeros((segments.start.size, lanes), np.int64)
    group[:, : segments.group.shape[1]] = segments.group
    return Segments(segments.source, segments.start, segments.stop, segments.visit, group)


def pool_starts(at: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """Return the first segment of each pool, then the number of segments.

    Pools are of about equal size, none above `most`. `at` holds the first position of each segment, then the
    number of positions.
    """
    total, longest = int(at[-1]), int(np.diff(at).max())
    pools = 1 if total <= most else -(-total // (most - longest))
    wanted = np.arange(pools + 1) * total / pools
    return np.unique(np.searchsorted(at, wanted))
