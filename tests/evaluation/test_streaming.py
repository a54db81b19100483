from dataclasses import fields

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from epixs.evaluation.steps import LIMIT, MISSING, N_STEPS, OFFSET, round_steps, to_steps, to_units
from epixs.evaluation.streaming import Places, cuts_of, joint, marginals, top_threshold

steps = arrays(np.int16, (3, 40), elements=st.sampled_from([MISSING, -2, 0, 1, 5, 900]))


def states(state):
    return {field.name: getattr(state, field.name) for field in fields(state)}


@settings(max_examples=30)
@given(steps, st.integers(1, 39))
def test_statistics_of_chunks_add_up_to_those_of_the_whole(tracks, cut):
    observed, predicted = tracks[0], tracks[1:]
    whole = marginals(observed, predicted)
    parts = [marginals(observed[s], predicted[:, s]) for s in (slice(cut), slice(cut, None))]
    assert all(np.array_equal(v, states(parts[0] + parts[1])[n]) for n, v in states(whole).items())
    cuts = cuts_of(whole)
    weights = np.arange(40, dtype=np.int32)[None] % 3
    peaks, variance = np.arange(40) % 4 == 0, np.arange(40.0)
    places = Places(np.arange(40) % 7 > 0, weights, peaks, variance)
    parts = [
        joint(
            observed[s], predicted[:, s], cuts,
            Places(places.used[s], weights[:, s], peaks[s], variance[s]),
        )
        for s in (slice(cut), slice(cut, None))
    ]  # fmt: skip
    expected = states(joint(observed, predicted, cuts, places))
    for name, value in states(parts[0] + parts[1]).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-12, atol=1e-9, err_msg=name)


def test_all_methods_are_compared_on_the_same_bins():
    observed = np.array([1, 2, MISSING, 4], dtype=np.int16)
    predicted = np.array([[1, MISSING, 3, 4], [1, 2, 3, 5]], dtype=np.int16)
    found = marginals(observed, predicted)
    assert found.present.tolist() == [3, 3, 4]
    assert found.counts.sum(axis=1).tolist() == [2, 2, 2]
    assert joint(observed, predicted, cuts_of(found)).errors.tolist() == [0, 1]


def test_bins_that_are_not_used_do_not_count():
    observed, predicted = np.array([1, 2], dtype=np.int16), np.array([[1, 5]], dtype=np.int16)
    places = Places(np.array([True, False]), np.empty((0, 2), np.int32), np.empty(0, bool), np.empty(0))
    found = marginals(observed, predicted, places)
    assert found.counts.sum() == 2
    assert joint(observed, predicted, cuts_of(found), places).errors.tolist() == [0]


@settings(max_examples=30)
@given(
    arrays(np.int16, st.integers(1, 300), elements=st.integers(-20, 20)), st.sampled_from([0.01, 0.05, 0.3])
)
def test_the_threshold_is_the_nth_largest_value(track, share):
    counts = np.bincount(track.astype(int) + OFFSET, minlength=N_STEPS)
    ordered = np.sort(track)
    assert top_threshold(counts, share) == ordered[-max(1, int(share * track.size))]
    assert top_threshold(counts, share, fewest=0) == ordered[-int(share * track.size)]


@settings(max_examples=30)
@given(arrays(np.float32, 30, elements=st.floats(-40, 40, width=32)))
def test_steps_are_rounded_as_stores_round(values):
    values[3] = np.nan
    expected = np.clip(np.rint(values.astype(float) * 2048), -LIMIT, LIMIT)
    got = to_steps(values)
    assert got[3] == MISSING
    known = ~np.isnan(values)
    assert got[known].tolist() == expected[known].tolist()
    np.testing.assert_array_equal(to_steps(to_units(got)), got)
    np.testing.assert_array_equal(round_steps(values.astype(float) * 2048), got)
