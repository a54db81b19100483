"""Open and check the tracks of a store's rows, and keep them open from one tile to the next.

Reading the index of a genome-wide bigWig takes as long as reading millions of its bases. A worker that reads
several tiles of a row group reads it once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from epixs.errors import TrackError
from epixs.genome.assembly import Assembly
from epixs.tracks import Backend, Track
from epixs.tracks.pybigwig import ReferenceTrack

KEPT_BYTES = 1 << 26
"""Maximum memory for the indexes of tracks that stay open, in bytes."""


def open_checked(
    source: str, assembly: Assembly, chroms: Sequence[str] = (), backend: Backend = "epixs"
) -> Track:
    """Open a track and find the assembly's chromosomes in it; see `Track.check_assembly`.

    Raises
    ------
    TrackError
        If it cannot be read as a track of the assembly.
    """
    track = Track(source) if backend == "epixs" else ReferenceTrack(source)
    try:
        track.check_assembly(assembly, chroms)
    except TrackError:
        track.close()
        raise
    return track


class OpenTracks:
    """Tracks that are opened and checked at first use, and stay open as far as memory allows.

    Parameters
    ----------
    assembly, chroms, backend
        As in `open_checked`.
    kept_bytes
        Memory for the indexes of tracks that stay open, in bytes; with 0, each is closed after use.

    Examples
    --------
    >>> with OpenTracks(assembly, ["chr1"]) as tracks:         # doctest: +SKIP
    ...     with tracks.borrow("H1.H3K4me3.bigWig") as track:
    ...         track.read(Piece("chr1", 0, 1000, first_bin=0))
    """

    def __init__(
        self,
        assembly: Assembly,
        chroms: Sequence[str] = (),
        backend: Backend = "epixs",
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._how = assembly, tuple(chroms), backend
        self._left = kept_bytes
        self._kept: dict[str, Track] = {}
        self._failed: dict[str, TrackError] = {}  # a server that does not answer is not asked for each tile

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for track in self._kept.values():
            track.close()
        self._kept.clear()

    @contextmanager
    def borrow(self, source: str) -> Iterator[Track]:
        """Lend a track for the time of a `with`; a track that fails in it is opened anew the next time.

        Raises
        ------
        TrackError
            If it cannot be read as a track of the assembly.
        """
        if source in self._failed:
            raise self._failed[source]
        track = self._kept.pop(source, None)
        if track is None:
            try:
                track = open_checked(source, *self._how)
            except TrackError as error:
                self._failed[source] = error
                raise
            self._left -= track.index_bytes
        try:
            yield track
        except BaseException:
            self._close(track)
            raise
        if self._left < 0:
            self._close(track)
        else:
            track.release()
            self._kept[source] = track

    def _close(self, track: Track) -> None:
        self._left += track.index_bytes
        track.close()
