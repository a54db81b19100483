import json
import os
import shutil

import keras
import numpy as np
import pytest

from epixs.compendium.plan import digest
from epixs.errors import AxisError, TrainingError
from epixs.joint import joint_axis
from epixs.trained import new_model, open_model, save_model, signal_bounds


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of a trained model's folder."""
    for name in ("model.keras", "model.json"):
        shutil.copy(trained.folder / name, tmp_path)
    return tmp_path


def same_weights(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


def test_bounds_are_what_training_has_shown(world):
    axis = joint_axis([world.store("mouse")])
    table = axis.parts[0].experiments
    assay = table["assay"].iloc[0]
    rows = table[table["assay"] == assay]
    assert signal_bounds(axis)[assay] == [rows["signal_min"].min(), rows["signal_max"].max()]
    pairs = [("mouse", b, assay) for b in rows["biosample"]]
    assert assay not in signal_bounds(axis.exclude(pairs))


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


def rewrite(folder, change):
    """Change a description and sign it again, as a hostile writer would."""
    content = json.loads((folder / "model.json").read_text())
    del content["fingerprint"]
    change(content)
    content["fingerprint"] = digest(content)
    (folder / "model.json").write_text(json.dumps(content))


def set_at(content, path, value):
    *parents, last = path
    for key in parents:
        content = content[key]
    content[last] = value


SPECIES = ("axis", "species", 0)
EXPERIMENT = (*SPECIES, "experiments", 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("axis",), 1),
        (("axis", "species"), []),
        (("axis", "species"), {}),
        (("axis", "assays"), ["x"]),
        (("axis", "assay_classes"), []),
        ((*SPECIES, "species"), "human"),
        ((*SPECIES, "species"), 7),
        ((*SPECIES, "regions"), []),
        ((*SPECIES, "regions"), [["a", "chr19", 0, 2**70]]),
        ((*SPECIES, "regions"), [["a", "chr19", 0, 2**60]]),
        ((*SPECIES, "regions"), [["a", "chr19", 50, 25]]),
        ((*SPECIES, "regions"), [["a", "chr19", 0.0, 25]]),
        ((*SPECIES, "biosamples"), ["b", "a"]),
        ((*SPECIES, "biosamples"), "ab"),
        ((*EXPERIMENT, "excluded"), 1),
        ((*EXPERIMENT, "row"), -1),
        ((*EXPERIMENT, "row"), "0"),
        ((*EXPERIMENT, "assay"), None),
        ((*EXPERIMENT, "signal_max"), float("nan")),
        ((*EXPERIMENT, "signal_max"), -1e9),
        (("bounds",), {}),
        (("bounds",), None),
        (("weights_sha256",), None),
    ],
)
def test_impossible_descriptions_are_refused(copy, path, value):
    rewrite(copy, lambda content: set_at(content, path, value))
    with pytest.raises(AxisError, match="damaged"):
        open_model(copy)


@pytest.mark.parametrize("value", [[1, 2], [2.0, 1.0], [float("nan"), 1.0], [0.0, float("inf")], [0.0], "ab"])
def test_impossible_bounds_are_refused(copy, value):
    def change(content):
        content["bounds"][next(iter(content["bounds"]))] = value

    rewrite(copy, change)
    with pytest.raises(AxisError, match="damaged"):
        open_model(copy)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, "1" * 5_000, '{"fingerprint": 1}'])
def test_descriptions_that_are_none(copy, text):
    (copy / "model.json").write_text(text)
    with pytest.raises(AxisError, match="damaged"):
        open_model(copy)


def test_an_edited_description_is_refused(copy):
    text = (copy / "model.json").read_text()
    (copy / "model.json").write_text(text.replace('"excluded": true', '"excluded": false', 1))
    with pytest.raises(AxisError, match="fingerprint .* is not that of the content"):
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
