import pytest

from epixs.errors import TrackError
from epixs.genome.assembly import Assembly
from epixs.genome.regions import Piece
from epixs.tracks.opened import OpenTracks, open_checked
from tests.bigwigs import write_uncompressed

ASSEMBLY = Assembly("small", {"chr1": 10_010, "chr2": 5_000})


@pytest.fixture
def path(tmp_path):
    return str(write_uncompressed(tmp_path / "a.bw", "<", "bedGraph"))


def sums(track):
    return track.read(Piece("chr1", 0, 50, 0)).sums.tolist()


def test_a_track_stays_open_from_one_use_to_the_next(path):
    with OpenTracks(ASSEMBLY, ["chr1"]) as tracks:
        with tracks.borrow(path) as first:
            values = sums(first)
        with tracks.borrow(path) as again:
            assert again is first
            assert sums(again) == values
    with pytest.raises(ValueError, match="closed file"):
        sums(first)


def test_what_memory_does_not_allow_is_closed(path, tmp_path):
    other = str(write_uncompressed(tmp_path / "b.bw", "<", "bedGraph"))
    track = open_checked(path, ASSEMBLY, [])
    size = track.index_bytes
    track.close()
    assert size > 0
    with OpenTracks(ASSEMBLY, [], kept_bytes=size) as tracks:
        seen = []
        for name in (path, other, path, other):
            with tracks.borrow(name) as track:
                seen.append(track)
        assert seen[2] is seen[0]
        assert seen[3] is not seen[1]


def test_a_track_that_failed_is_opened_anew(path):
    with OpenTracks(ASSEMBLY, []) as tracks:
        with pytest.raises(TrackError, match="chr1 ends before the region"), tracks.borrow(path) as first:
            first.read(Piece("chr1", 10_000, 10_050, 0))
        with tracks.borrow(path) as again:
            assert again is not first


def test_tracks_are_checked(path):
    with pytest.raises(TrackError, match=r"chr1; got \d+ bp; expected 77 bp"):
        open_checked(path, Assembly("other", {"chr1": 77}), [])
    with (
        pytest.raises(
            TrackError, match="no chromosome of small among those of the regions; got chr1; expected chr9"
        ),
        OpenTracks(ASSEMBLY, ["chr9"]) as tracks,
        tracks.borrow(path),
    ):
        pass
