"""Imputation that is computed where it is read: that much and no more, and the same bits wherever."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import epixs
from epixs.cli.app import app
from epixs.imputation.predict import Predictor
from epixs.models.folder import new_model, save_model
from tests.worlds import write_store

BINS = 60_000
"""1.5 Mb: several chunks of a store."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of three of four pairs."""
    values = np.random.default_rng(3).gamma(0.5, 1.0, (3, BINS))
    labels = [("liver", "A"), ("liver", "B"), ("heart", "A")]
    return write_store(tmp_path_factory.mktemp("large") / "mouse.zarr", values, labels=labels)


@pytest.fixture(scope="module")
def model(store):
    """A model that nobody trained."""
    folder = store.parent / "model"
    save_model(new_model(epixs.joint_axis(store), epixs.make_settings("avocado", hidden=(8, 8))), folder)
    return folder


def test_a_megabase_of_one_track_computes_that_and_no_more(model, store, monkeypatch):
    lazy = epixs.open_imputed(epixs.open_model(model), store, everything=True)
    assert lazy.signal.shape == (4, BINS)
    computed = []
    predict = Predictor.predict

    def counted(self, start, stop, rows=slice(None)):
        values = predict(self, start, stop, rows)
        computed.append((start, stop, len(values)))
        return values

    monkeypatch.setattr(Predictor, "predict", counted)
    part = lazy.epixs.sel("chr1:250,000-1,250,000").sel(experiment="heart / B")
    assert computed == []
    values = part.signal.to_numpy()
    assert values.shape == (40_000,)
    bins = [bin_ for start, stop, rows in computed for bin_ in range(start, stop) if rows == 1]
    assert sorted(bins) == list(range(10_000, 50_000))
    assert len(computed) <= 4  # of chunks, not of bins


@pytest.mark.slow
def test_lazy_threads_and_a_scheduler_give_the_same_bits(model, store, tmp_path):
    trained = epixs.open_model(model)
    lazy = epixs.open_imputed(trained, store, everything=True)
    lazy.drop_encoding().to_zarr(tmp_path / "lazy.zarr", consolidated=False)
    with ThreadPoolExecutor(2) as threads:
        epixs.impute(trained, store, tmp_path / "threads.zarr", everything=True, client=threads)
    with epixs.open_client(1) as client:
        where = ["--scheduler", client.scheduler.address, "--all", "--out", tmp_path / "scheduler.zarr"]
        done = CliRunner().invoke(app, ["impute", str(model), str(store), *map(str, where)])
    assert done.exit_code == 0, done.output
    one, two, three = (
        xr.open_zarr(tmp_path / f"{name}.zarr", consolidated=False).signal.to_numpy()
        for name in ("lazy", "threads", "scheduler")
    )
    assert one.shape == (4, BINS)
    assert np.ptp(one) > 0
    assert one.tobytes() == two.tobytes() == three.tobytes()
