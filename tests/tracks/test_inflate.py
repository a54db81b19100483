import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epixs.storage.fingerprint import crc32
from epixs.tracks import inflate as module
from epixs.tracks.inflate import InflateError, inflate, inflate_run, inflate_slowly


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


def run_of(streams):
    return b"".join(streams), np.cumsum([0, *map(len, streams)])


@pytest.fixture(params=["kernel", "one by one", "standard library"])
def way(request, monkeypatch):
    if request.param != "kernel":
        monkeypatch.setattr(module, "KERNEL", False)
    elif not module.KERNEL:
        # Some builds of `deflate` hide the library's functions; then the other functions are used, not the kernel.
        pytest.skip("deflate does not export libdeflate here")
    if request.param == "standard library":
        monkeypatch.setattr(module, "deflate", None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(blocks=st.lists(st.binary(max_size=300), min_size=1, max_size=8), level=st.integers(0, 9))
def test_a_run_is_its_blocks_in_whole_words(way, blocks, level):
    raw, begins = inflate_run(*run_of([zlib.compress(block, level) for block in blocks]), 301)
    assert begins[0] == 0
    for block, begin, end in zip(blocks, begins[:-1], begins[1:], strict=True):
        assert raw[begin:end].tobytes() == block + bytes(-len(block) % 4)
    assert raw.size == begins[-1]


def test_the_damaged_block_of_a_run_is_named(way):
    good = zlib.compress(bytes(1000))
    for bad in (good[:-4] + b"1234", good[:5], zlib.compress(bytes(1001)), b"\0" * 20):
        with pytest.raises(InflateError) as error:
            inflate_run(*run_of([good, good, bad, good]), 1000)
        assert error.value.block == 2


def test_the_kernel_is_used_here():
    assert module.KERNEL
