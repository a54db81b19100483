import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from epixs.axis.join import joint_axis
from epixs.compendium.read import open_compendium
from epixs.errors import TrainingError
from epixs.imputation.write import impute, open_imputed
from epixs.models.avocado.network import build_model
from epixs.models.avocado.optimizer import RowwiseAdam
from epixs.models.folder import new_model, open_model, save_model, write_model
from epixs.sampling import Sampler
from epixs.training.dataset import training_dataset
from tests.descriptions import rewrite


def same_weights(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


def test_plain_keras_opens_a_trained_model(trained):
    model = keras.models.load_model(trained.folder / "model.keras")
    assert same_weights(model, trained.model)
    assert model.get_config() == trained.model.get_config()


def test_the_optimiser_is_not_saved(trained):
    weights = sum(w.nbytes for w in trained.model.get_weights())
    assert (trained.folder / "model.keras").stat().st_size < 1.2 * weights + 50_000
    assert not keras.models.load_model(trained.folder / "model.keras").compiled


def test_saving_again_replaces_the_pair(trained, copy):
    other = new_model(trained.axis, trained.settings)
    other.set_weights([w + 1 for w in trained.model.get_weights()])
    content = write_model(copy, other, trained.axis, trained.settings, {"held_out_mse": 0.5})
    again = open_model(copy)
    assert same_weights(again.model, other)
    assert again.fingerprint == content["fingerprint"] != trained.fingerprint
    assert sorted(os.listdir(copy)) == ["model.json", "model.keras"]


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_an_interrupted_save_leaves_the_old_pair_or_the_new(trained, copy, monkeypatch, writes):
    """Die at each of the two renames: before the description is in place, and before the weights are."""
    rename, left = os.replace, [writes]

    def dies(source, target):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        rename(source, target)

    other = new_model(trained.axis, trained.settings)
    other.set_weights([w + 1 for w in trained.model.get_weights()])
    monkeypatch.setattr("epixs.models.folder.os.replace", dies)
    if writes < 2:
        with pytest.raises(KeyboardInterrupt):
            write_model(copy, other, trained.axis, trained.settings, {})
    else:
        write_model(copy, other, trained.axis, trained.settings, {})
    assert same_weights(open_model(copy).model, trained.model if writes == 0 else other)


def test_an_unfinished_folder_is_refused(copy):
    (copy / "model.json").unlink()
    with pytest.raises(TrainingError, match=r"no finished model; got model\.keras"):
        open_model(copy)
    with pytest.raises(TrainingError, match="model folder .* does not exist"):
        open_model(copy / "nowhere")


def test_weights_of_another_model_are_refused(copy):
    with (copy / "model.keras").open("ab") as file:
        file.write(b"x")
    with pytest.raises(TrainingError, match=r"no weights that belong.*got model\.keras; expected.*SHA-256"):
        open_model(copy)
    (copy / "model.keras").unlink()
    with pytest.raises(TrainingError, match=r"got no model\.keras"):
        open_model(copy)


def test_a_model_larger_than_its_file_is_not_allocated(copy):
    def change(content):
        content["settings"]["model"]["hidden"] = [65_536] * 8

    rewrite(copy, change)
    with pytest.raises(TrainingError, match="cannot hold this model"):
        open_model(copy)


def test_weights_of_another_shape_are_refused(copy):
    def change(content):
        content["settings"]["model"]["hidden"] = [8, 8]

    rewrite(copy, change)
    with pytest.raises(TrainingError, match="cannot be loaded"):
        open_model(copy)


def test_a_model_fitted_by_a_script_is_saved_and_imputed_from(world, tmp_path):
    axis = joint_axis([world.store("mouse")])
    model = build_model(axis, hidden=(8, 8), genome_dropout=0.2)
    model.compile(optimizer=RowwiseAdam(1e-3), loss="mse")
    with Sampler(axis, batch_size=500) as sampler:
        model.fit(training_dataset(sampler), steps_per_epoch=4, epochs=1, shuffle=False, verbose=0)
    save_model(model, tmp_path / "m")
    save_model(model, tmp_path / "m")  # again, as a script does that is run twice
    pair = [("mouse", axis.parts[0].biosamples[0], axis.assays[0])]
    impute(open_model(tmp_path / "m"), world.store("mouse"), tmp_path / "a.zarr", pairs=pair)
    impute(model, world.store("mouse"), tmp_path / "b.zarr", pairs=pair)
    saved, straight = (open_compendium(tmp_path / name).signal for name in ("a.zarr", "b.zarr"))
    assert np.array_equal(saved, straight)
    assert np.array_equal(open_imputed(model, world.store("mouse"), pairs=pair).signal, straight)
    impute(model, world.store("mouse"), tmp_path / "b.zarr", pairs=pair)  # the same model: resumes
    model.save(tmp_path / "plain.keras")
    plain = keras.models.load_model(tmp_path / "plain.keras")
    with pytest.raises(TrainingError, match=r"does not say what its numbers stand for.*epixs\.save_model"):
        impute(plain, world.store("mouse"), tmp_path / "c.zarr")
    save_model(plain, tmp_path / "n", axis)
    assert open_model(tmp_path / "n").model.settings == open_model(tmp_path / "m").model.settings
    with pytest.raises(TrainingError, match=r"is a Keras file.*epixs\.save_model"):
        open_model(tmp_path / "plain.keras")
    with pytest.raises(TrainingError, match="got object; expected one from `epixs.build_model`"):
        impute(object(), world.store("mouse"), tmp_path / "c.zarr")


def test_a_fitted_model_is_exported_as_keras_does(world, tmp_path):
    axis = joint_axis([world.store("mouse")])
    model = build_model(axis, hidden=(8, 8))
    model.export(tmp_path / "saved", verbose=False)
    inputs = {
        "position": np.zeros((2, 3), "i4"), "biosample": np.zeros((2, 1), "i4"), "assay": np.ones((2, 1), "i4"),
    }  # fmt: skip
    saved = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(saved.serve(inputs), model(inputs), atol=1e-6)
