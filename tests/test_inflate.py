import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epixs.inflate import InflateError, crc32, inflate, inflate_slowly


@given(st.binary(max_size=3000), st.integers(0, 9))
def test_both_ways_give_the_bytes(data, level):
    packed = zlib.compress(data, level)
    limit = max(1, len(data))
    assert inflate(packed, limit) == inflate_slowly(packed, limit) == data
    assert crc32(memoryview(data)) == zlib.crc32(data)


@pytest.mark.parametrize("way", [inflate, inflate_slowly])
def test_damage_is_found(way):
    data = np.random.default_rng(0).bytes(1000) + bytes(5000)
    packed = zlib.compress(data)
    for bad in (packed[:-1], packed[:500], b"", b"x" + packed, packed[:-4] + b"1234"):
        with pytest.raises(InflateError):
            way(bad, 6000)
    with pytest.raises(InflateError, match="more than 5999"):
        way(packed, 5999)
    assert way(packed + b"beyond", 6000) == data
