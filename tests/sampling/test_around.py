"""Which tracks are read for a training target."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from epixs.sampling.around import leave_out


@given(st.integers(0, 2**32))
def test_tracks_are_left_out_as_by_plain_numpy(seed):
    generator = np.random.default_rng(seed)
    biosample = generator.integers(0, 4, 12).astype(np.int32)
    own = generator.integers(-1, 12, 5).astype(np.int32)
    others = generator.integers(-1, 12, (3, 4)).astype(np.int32)
    seen, kept, left = (generator.random(size) < 0.6 for size in (12, 5, 4))
    expected_own = np.where((own >= 0) & seen[own] & kept, own, -1)
    known = np.where((others >= 0) & seen[others], others, -1)
    rest = np.where((known >= 0) & left[biosample[known]], known, -1)
    expected = np.where((rest < 0).all(axis=1, keepdims=True), known, rest)
    got = leave_out(own, others, seen, kept, left, biosample)
    np.testing.assert_array_equal(got[0], expected_own)
    np.testing.assert_array_equal(got[1], expected)
