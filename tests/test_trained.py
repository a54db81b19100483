import os

import keras
import numpy as np
import pytest

from epixs.errors import TrainingError
from epixs.trained import new_model, open_model, save_model
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
    other = new_model(trained.axis, trained.config)
    other.set_weights([w + 1 for w in trained.model.get_weights()])
    content = save_model(copy, other, trained.axis, trained.config, {"held_out_mse": 0.5})
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

    other = new_model(trained.axis, trained.config)
    other.set_weights([w + 1 for w in trained.model.get_weights()])
    monkeypatch.setattr("epixs.trained.os.replace", dies)
    if writes < 2:
        with pytest.raises(KeyboardInterrupt):
            save_model(copy, other, trained.axis, trained.config, {})
    else:
        save_model(copy, other, trained.axis, trained.config, {})
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
        content["config"]["hidden"] = [65_536] * 8

    rewrite(copy, change)
    with pytest.raises(TrainingError, match="cannot hold this model"):
        open_model(copy)


def test_weights_of_another_shape_are_refused(copy):
    def change(content):
        content["config"]["hidden"] = [8, 8]

    rewrite(copy, change)
    with pytest.raises(TrainingError, match="cannot be loaded"):
        open_model(copy)
