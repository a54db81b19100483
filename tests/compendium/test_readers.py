"""Read stores with libraries other than zarr-python."""

import numpy as np
import pytest
import xarray as xr
import zarr
from obstore.store import HTTPStore
from zarr.storage import ObjectStore

from epixs.compendium.create import create_store
from epixs.compendium.write import finalise
from epixs.storage.store import open_store
from tests.compendium.test_plan import plan_of
from tests.compendium.test_store import by_f, fill
from tests.servers import file_server


@pytest.fixture
def written(tmp_path):
    plan = plan_of(20, 40_000)
    create_store(tmp_path / "a.zarr", plan)
    values = fill(tmp_path / "a.zarr", plan)
    finalise(open_store(tmp_path / "a.zarr"), plan, by_f)
    return tmp_path / "a.zarr", values


def test_tensorstore_reads_signal_and_numbers(written):
    tensorstore = pytest.importorskip("tensorstore", reason="needs tensorstore, of the group dev")
    path, values = written

    def read(name):
        source = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path / name}/"}}
        return tensorstore.open(source, open=True).result()

    assert np.array_equal(read("signal")[:, 1_000:39_000].read().result(), values[:, 1_000:39_000])
    assert read("signal").domain.labels == ("experiment", "bin")
    assert read("bin_index")[7:9].read().result().tolist() == [7, 8]
    assert read("region_end").read().result().tolist() == [1_000_000]


def test_zarrs_reads_signal_and_labels(written):
    pytest.importorskip("zarrs", reason="needs zarrs, of the group dev")
    path, values = written
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}), xr.open_zarr(path) as read:
        assert np.array_equal(read.signal, values)
        assert read.assay.to_numpy().tolist() == [f"assay{i}" for i in range(20)]
        assert read.experiment.to_numpy()[3] == "biosample3 / assay3"


def test_a_store_behind_a_web_server_is_read_with_xarray_alone(written):
    path, values = written
    with file_server(path.parent) as server:
        store = ObjectStore(HTTPStore.from_url(f"{server.url}/a.zarr", client_options={"allow_http": True}))
        with xr.open_zarr(store) as read:
            labels = read.assay.to_numpy().tolist()
            before = server.sent
            part = read.signal[3, 20_000:20_100].to_numpy()
            moved = server.sent - before
            whole = read.signal.to_numpy()
    assert labels == [f"assay{i}" for i in range(20)]
    assert np.array_equal(part, values[3, 20_000:20_100])
    assert np.array_equal(whole, values)
    shards = sum(file.stat().st_size for file in (path / "signal" / "c").rglob("*") if file.is_file())
    assert 0 < moved < shards / 2
