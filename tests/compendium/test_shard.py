import numpy as np
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from epixs.compendium.shard import encode_shard, is_encodable, signal_codecs
from epixs.storage.tiling import Layout


@settings(max_examples=40)
@given(
    rows=st.integers(1, 5), bins=st.integers(1, 70), spare=st.integers(0, 3), per_tile=st.integers(1, 5),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_zarr_reads_what_was_encoded(rows, bins, spare, per_tile, seed):
    layout = Layout(rows + spare, -(-bins // per_tile), -(-bins // per_tile) * per_tile)
    values = np.random.default_rng(seed).normal(size=(rows, bins)).astype(np.float32)
    values[values > 1] = np.nan
    store = zarr.storage.MemoryStore()
    array = zarr.create_array(
        store, shape=(rows + spare, layout.tile_bins), chunks=(layout.chunk_rows, layout.chunk_bins),
        shards=(layout.chunk_rows, layout.tile_bins), dtype="f4", fill_value=np.nan, **signal_codecs(),
    )  # fmt: skip
    assert is_encodable(array)
    store._store_dict["c/0/0"] = zarr.core.buffer.cpu.Buffer.from_bytes(
        b"".join(encode_shard(values, layout))
    )
    read = array[:]
    assert np.array_equal(read[:rows, :bins], values, equal_nan=True)
    assert np.isnan(read[rows:]).all()
    assert np.isnan(read[:, bins:]).all()


def test_other_codecs_are_not_ours():
    for options in ({"compressors": None}, {"shards": None}):
        shape = {"shape": (4, 8), "chunks": (2, 2), "shards": (2, 4), "dtype": "f4"} | options
        assert not is_encodable(zarr.create_array(zarr.storage.MemoryStore(), **shape))
