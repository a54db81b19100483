import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from epixs.compendium.transform import decode, encode, quantise


@given(st.floats(-1e30, 1e30))
def test_error_is_at_most_half_a_step(mean):
    stored = encode(np.array([mean]))[0]
    assert stored.dtype == np.float32
    assert abs(float(stored) - np.arcsinh(mean)) <= 0.5 / 2048 + 1e-12


def test_nan_stays_missing_and_zero_stays_zero():
    assert encode(np.array([np.nan, 0.0])).tolist()[1] == 0.0
    assert np.isnan(encode(np.array([np.nan]))[0])


def test_stored_values_are_a_fixed_point():
    values = encode(np.linspace(-5, 5_000, 997))
    assert np.array_equal(quantise(values), values)


def test_decode_inverts():
    assert np.allclose(decode(encode(np.array([0.0, 1.5, 250.0]))), [0.0, 1.5, 250.0], rtol=1e-3)
