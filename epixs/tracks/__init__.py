"""Read bigWigs as exact sums and numbers of covered bases per bin."""

from epixs.tracks.track import Backend, BinnedSignal, Placement, Track, Uncovered

__all__ = ["Backend", "BinnedSignal", "Placement", "Track", "Uncovered"]
