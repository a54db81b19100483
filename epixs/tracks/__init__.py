"""bigWig -> exact per-bin sums and covered bases."""

from epixs.tracks.track import Backend, BinnedSignal, Placement, Track, Uncovered

__all__ = ["Backend", "BinnedSignal", "Placement", "Track", "Uncovered"]
