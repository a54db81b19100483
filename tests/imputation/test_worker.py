"""Models travel as names, and are opened once per process."""

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from epixs.cluster.client import open_client
from epixs.compendium.read import open_compendium
from epixs.errors import StoreError, TrainingError
from epixs.imputation import worker
from epixs.imputation.worker import OpenedModel, SavedModel
from epixs.imputation.write import impute, open_imputed
from epixs.models.folder import as_trained, open_model


@pytest.fixture
def in_memory(trained):
    """A Keras model of one's own script, in no folder."""
    return open_model(trained.folder).model, trained.axis


@pytest.fixture
def opened(monkeypatch):
    """Folders from which models are opened, each time."""
    worker._opened.cache_clear()
    folders = []
    original = worker.open_model
    monkeypatch.setattr(worker, "open_model", lambda folder: folders.append(folder) or original(folder))
    yield folders
    worker._opened.cache_clear()


@pytest.mark.slow
def test_blocks_of_open_imputed_run_on_a_spawned_worker(world, trained, held_out):
    lazy = open_imputed(trained, world.store("mouse"), pairs=held_out)
    here = lazy.signal[:, 100:160].compute(scheduler="synchronous").to_numpy()
    with open_client(workers=1) as client:
        there = lazy.signal[:, 100:160].compute(scheduler=client).to_numpy()
    assert np.array_equal(here, there)


def test_nothing_live_is_pickled(trained):
    text = pickle.dumps(OpenedModel(trained))
    assert len(text) < 1_000
    assert pickle.loads(text) == SavedModel(str(trained.folder), trained.fingerprint, None, None)


def test_a_process_opens_a_model_once(trained, held_out, opened):
    saved = OpenedModel(trained).saved
    with ThreadPoolExecutor(4) as threads:
        makers = list(threads.map(lambda _: pickle.loads(pickle.dumps(saved)).predictor, range(8)))
    assert opened == [trained.folder]
    first, *others = (maker(tuple(held_out)) for maker in makers)
    assert all(other is first for other in others)
    expected = OpenedModel(trained).predictor(tuple(held_out)).predict(10, 20)
    assert np.array_equal(first.predict(10, 20), expected)


def test_a_folder_that_changed_since_is_refused(trained, opened):
    with pytest.raises(StoreError, match=r"model changed during the run.*Run the same command again"):
        _ = replace(OpenedModel(trained).saved, fingerprint="another").predictor


def test_a_model_that_is_in_no_folder_stays_here(world, in_memory, held_out, tmp_path):
    model, axis = in_memory
    model.axis = axis
    table = impute(model, world.store("mouse"), tmp_path / "a.zarr", pairs=held_out)
    assert len(table) == len(held_out)
    lazy = open_imputed(model, world.store("mouse"), pairs=held_out)
    stored = open_compendium(tmp_path / "a.zarr").signal[:, :50].to_numpy()
    np.testing.assert_allclose(lazy.signal[:, :50].to_numpy(), stored, atol=6e-4)
    refusal = r"exists only in memory cannot be sent to workers.*`epixs\.save_model"
    with pytest.raises(TrainingError, match=refusal):
        pickle.dumps(OpenedModel(as_trained(model)))
    with pytest.raises(TrainingError, match=refusal):
        impute(model, world.store("mouse"), tmp_path / "b.zarr", pairs=held_out, client=object())
    assert not (tmp_path / "b.zarr").exists()


def test_a_folder_with_another_model_does_not_pass_for_this_one(trained, tmp_path):
    shutil.copytree(trained.folder, tmp_path / "model")
    other = replace(trained, folder=tmp_path / "model", fingerprint="of other weights")
    with pytest.raises(TrainingError, match="in memory"):
        _ = OpenedModel(other).saved
