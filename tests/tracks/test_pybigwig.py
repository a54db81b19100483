import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epixs.errors import TrackError
from epixs.genome.regions import Piece
from epixs.tracks import Track
from epixs.tracks.pybigwig import ReferenceTrack

STEPS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 90), st.floats(-8, 1e4, width=32)), max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(steps=STEPS, start=st.integers(0, 100), span=st.integers(1, 200))
def test_both_readers_agree(write_bigwig, steps, start, span):
    intervals, at = [("chr2", 0, 10, 1.0)], 0
    for gap, width, value in steps:
        intervals.append(("chr1", at + gap, at + gap + width, value))
        at += gap + width
    path = write_bigwig("a.bw", sorted(intervals))
    piece = Piece("chr1", 25 * start, min(10_010, 25 * (start + span)), 0)
    with Track(path) as ours, ReferenceTrack(path) as reference:
        assert ours.chrom_sizes == reference.chrom_sizes
        assert ours.state() == reference.state()
        got, expected = ours.read(piece), reference.read(piece)
    np.testing.assert_allclose(got.sums, expected.sums, rtol=1e-6, atol=1e-6)
    assert np.array_equal(got.covered, expected.covered)


def test_mistakes(tmp_path, write_bigwig):
    (tmp_path / "a.bw").write_text("no bigWig")
    for path in (tmp_path / "a.bw", tmp_path / "none.bw", "https://example.org/a.bw"):
        with pytest.raises(TrackError, match="pyBigWig|pybigwig"):
            ReferenceTrack(path)
    path = write_bigwig("b.bw", [("chr1", 0, 50, float("inf"))])
    with ReferenceTrack(path) as track, pytest.raises(TrackError, match="infinite"):
        track.read(Piece("chr1", 0, 100, 0))
