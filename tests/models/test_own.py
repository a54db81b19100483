"""Keras models that a script of one's own has made and fitted: of our kinds, and of any architecture."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from epixs.axis.join import joint_axis
from epixs.cli.app import app
from epixs.cluster.client import open_client
from epixs.compendium.read import open_compendium, provenance_of
from epixs.errors import AxisError, TrainingError
from epixs.imputation.write import impute, open_imputed
from epixs.models.folder import new_model, open_model, save_model
from epixs.models.kinds import new_sampler
from epixs.models.settings import make_settings
from epixs.sampling.fill import RADII
from epixs.training.dataset import training_dataset
from tests.worlds import BINS, planted, write_store

LABELS = [(f"b{b}", f"a{a}") for b in range(5) for a in range(4)]
HIDDEN = ("mouse", "b1", "a2")
SETTINGS = {
    "avocado": make_settings("avocado", hidden=(8, 8), batch_size=500, held_out=0.1),
    "context": make_settings("context", token=8, heads=2, hidden=(8,), members=2, assay_factors=4, batch_size=512),
}  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    return (
        write_store(folder / "here.zarr", planted(0, 5, 4), labels=LABELS),
        write_store(
            folder / "there.zarr", planted(0, 5, 4, where=2), labels=LABELS, regions=[("chr2", 0, 25 * BINS)]
        ),
    )


@pytest.fixture(scope="module")
def axis(stores):
    return joint_axis([stores[0]], [HIDDEN])


def fit(model, sampler, steps=3):
    model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="mse", jit_compile=False)
    model.fit(training_dataset(sampler), steps_per_epoch=steps, epochs=1, shuffle=False, verbose=0)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("kind", SETTINGS)
def test_one_call_makes_a_folder_of_what_a_script_fitted(stores, axis, tmp_path, kind):
    """It imputes from the command line, from Python and straight from the model, to the same bits."""
    settings = SETTINGS[kind]
    with new_sampler(axis, settings) as sampler:
        model = fit(new_model(axis, settings), sampler)
    save_model(model, tmp_path / "m")
    model.save(tmp_path / "plain.keras")
    save_model(keras.models.load_model(tmp_path / "plain.keras"), tmp_path / "n", axis)
    (tmp_path / "pairs.tsv").write_text("species\tbiosample\tassay\n" + "\t".join(HIDDEN) + "\n")
    command = [
        "impute",
        tmp_path / "m",
        stores[0],
        "--out",
        tmp_path / "a.zarr",
        "--pairs",
        tmp_path / "pairs.tsv",
    ]
    done = CliRunner().invoke(app, list(map(str, command)))
    assert done.exit_code == 0, done.output
    impute(open_model(tmp_path / "n"), stores[0], tmp_path / "b.zarr", pairs=[HIDDEN])
    impute(model, stores[0], tmp_path / "c.zarr", pairs=[HIDDEN])
    found = [open_compendium(tmp_path / f"{name}.zarr") for name in "abc"]
    assert provenance_of(found[0])["model_kind"] == kind
    assert np.ptp(found[0].signal.to_numpy()) > 0
    for other in found[1:]:
        assert np.array_equal(found[0].signal, other.signal)
    shown = CliRunner().invoke(app, ["info", str(tmp_path / "m")])
    assert f"model ({kind})" in shown.output
    assert "by a script of one's own" in CliRunner().invoke(app, ["status", str(tmp_path / "m")]).output


@pytest.mark.slow
@pytest.mark.parametrize("kind", SETTINGS)
def test_a_fitted_model_is_exported(axis, tmp_path, kind):
    settings = SETTINGS[kind]
    with new_sampler(axis, settings) as sampler:
        model = fit(new_model(axis, settings), sampler)
        inputs = {name: tf.constant(values) for name, values in sampler.batch(0, 0).inputs.items()}
        specs = sampler.input_specs
    signature = [
        {name: keras.InputSpec(dtype=s.dtype, shape=(None, *s.shape[1:])) for name, s in specs.items()}
    ]
    model.export(tmp_path / "saved", verbose=False, input_signature=signature)
    saved = tf.saved_model.load(str(tmp_path / "saved"))  # its variables live as long as it does
    np.testing.assert_allclose(saved.serve(inputs), model(inputs, training=False), atol=1e-5)


def test_a_file_without_the_optimiser_is_a_third_of_one_with_it(axis, tmp_path):
    with new_sampler(axis, SETTINGS["avocado"]) as sampler:
        model = fit(new_model(axis, SETTINGS["avocado"]), sampler)
    model.save(tmp_path / "with.keras")
    model.save(tmp_path / "without.keras", include_optimizer=False)
    assert model.compiled
    large, small = ((tmp_path / f"{name}.keras").stat().st_size for name in ("with", "without"))
    assert small < 1.2 * sum(weight.nbytes for weight in model.get_weights()) + 60_000 < 0.5 * large
    again = keras.models.load_model(tmp_path / "without.keras")
    for one, other in zip(again.get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(one, other)


def by_labels(axis):
    """A model of few lines: factors of the assay and of the 5 kbp position, multiplied."""
    inputs = {
        "position": keras.Input((3,), dtype="int32", name="position"),
        "biosample": keras.Input((1,), dtype="int32", name="biosample"),
        "assay": keras.Input((1,), dtype="int32", name="assay"),
    }
    assay = keras.layers.Embedding(len(axis.assays), 4)(inputs["assay"])
    biosample = keras.layers.Embedding(axis.n_biosamples, 4)(inputs["biosample"])
    place = keras.layers.Embedding(axis.n_positions[2], 4)(inputs["position"][:, 2:])
    return keras.Model(inputs, keras.layers.Dense(1)(assay * biosample * place), name="mine")


@pytest.fixture(scope="module")
def mine(axis):
    with new_sampler(axis, SETTINGS["avocado"]) as sampler:
        return fit(by_labels(axis), sampler, steps=20)


def test_any_architecture_imputes(stores, axis, mine, tmp_path):
    with pytest.raises(TrainingError, match=r"what its numbers stand for.*`axis=axis` where it imputes"):
        impute(mine, stores[0], tmp_path / "a.zarr", pairs=[HIDDEN])
    table = impute(mine, stores[0], tmp_path / "a.zarr", axis=axis)
    found = open_compendium(tmp_path / "a.zarr")
    assert table[["biosample", "assay"]].to_numpy().tolist() == [list(HIDDEN[1:])]
    assert provenance_of(found)["model_kind"] == "own"
    part = axis.parts[0]
    labels = axis.biosample_index("mouse", ["b1"]), axis.assay_index(["a2"])
    inputs = {
        name: np.repeat(label[None], BINS, 0)
        for name, label in zip(("biosample", "assay"), labels, strict=True)
    }
    predicted = mine.predict(inputs | {"position": part.positions(np.arange(BINS))}, verbose=0)[:, 0, 0]
    shown = part.training[part.training["assay"] == "a2"]
    expected = np.clip(predicted, shown["signal_min"].min(), shown["signal_max"].max())
    np.testing.assert_allclose(found.signal[0], expected, atol=3e-4)
    assert np.ptp(expected) > 0.1
    lazy = open_imputed(mine, stores[0], axis=axis, everything=True)
    assert lazy.sizes["experiment"] == 20
    assert np.array_equal(lazy.sel(experiment="b1 / a2").signal, found.signal[0])
    impute(mine, stores[0], tmp_path / "a.zarr", axis=axis)  # the same model: nothing is left to do


def test_a_subclassed_model_reads_positions_and_labels(stores, axis, tmp_path):
    class Constant(keras.Model):
        def __init__(self):
            super().__init__()
            self.level = self.add_weight(name="level", shape=(len(axis.assays),), initializer="ones")

        def call(self, inputs):
            return tf.gather(self.level, inputs["assay"])[..., None]

    impute(Constant(), stores[0], tmp_path / "a.zarr", axis=axis)
    assert np.unique(open_compendium(tmp_path / "a.zarr").signal).tolist() == [1.0]


def test_an_architecture_that_reads_the_tracks_around_imputes_anywhere(stores, axis, tmp_path):
    settings = SETTINGS["context"]
    with new_sampler(axis, settings) as sampler:
        specs = {name: sampler.input_specs[name] for name in ("own", "scale")}
        inputs = {  # how many tracks there are around is not the same everywhere
            "own": keras.Input((None, None, RADII.size), dtype="float32", name="own"),
            "scale": keras.Input((2,), dtype="float32", name="scale"),
        }
        means = keras.layers.Lambda(lambda own: tf.reduce_mean(own, axis=2))(inputs["own"])
        scale = inputs["scale"][:, None]
        begins = keras.initializers.Constant(
            1 / RADII.size
        )  # at the mean of the tracks, which few steps keep
        mean = keras.layers.Dense(1, kernel_initializer=begins)(means)
        model = keras.Model(inputs, mean * scale[..., 1:] + scale[..., :1])
        data = training_dataset(sampler).map(
            lambda x, value, weight: ({n: x[n] for n in specs}, value, weight)
        )
        model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="mse", jit_compile=False)
        model.fit(data, steps_per_epoch=3, shuffle=False, verbose=0)
    assert specs["own"].shape[-1] == RADII.size
    impute(model, stores[1], tmp_path / "a.zarr", pairs=[HIDDEN], axis=axis)
    found = open_compendium(tmp_path / "a.zarr")
    assert found.region_chrom.to_numpy().tolist() == ["chr2"]
    truth = open_compendium(stores[1]).signal.sel(experiment="b1 / a2")
    assert np.corrcoef(found.signal[0], truth)[0, 1] > 0.3


def test_what_an_architecture_of_ones_own_cannot_do_is_said(stores, axis, mine, tmp_path):
    with pytest.raises(
        TrainingError, match=r"cannot hold a Functional of one's own.*impute\(model, store, out, axis"
    ):
        save_model(mine, tmp_path / "m", axis)
    with open_client(workers=1) as client, pytest.raises(TrainingError, match="in the process that has it"):
        impute(mine, stores[0], tmp_path / "a.zarr", axis=axis, client=client)
    with pytest.raises(AxisError, match="do not fit together: regions of mouse"):
        impute(mine, stores[1], tmp_path / "a.zarr", axis=axis)
    named = {"bin": keras.Input((1,), dtype="int32", name="bin"), "assay": keras.Input((1,), name="assay")}
    other = keras.Model(named, keras.layers.Dense(1)(named["assay"]))
    with pytest.raises(
        TrainingError, match=r"inputs of the model; got assay, bin; expected some of position"
    ):
        impute(other, stores[0], tmp_path / "a.zarr", axis=axis)
    assay = {"assay": keras.Input((1,), dtype="int32", name="assay")}
    wide = keras.Model(assay, keras.layers.Embedding(4, 7)(assay["assay"]))
    with pytest.raises(
        TrainingError,
        match=r"got \(\d+, 1, 7\) for \d+ positions.*expected one output of shape \(\d+, 1, 1\)",
    ):
        impute(wide, stores[0], tmp_path / "a.zarr", axis=axis)
    one = keras.layers.Embedding(4, 1)(assay["assay"])
    for number, outputs in enumerate(([one, one], {"signal": one, "spread": one})):
        with pytest.raises(TrainingError, match=r"got \(\d+, 1, 1\) and \(\d+, 1, 1\) for \d+ positions"):
            impute(keras.Model(assay, outputs), stores[0], tmp_path / f"{number}.zarr", axis=axis)
    nothing = keras.Model(assay, keras.layers.Rescaling(float("nan"))(one))
    with pytest.raises(TrainingError, match=r"predicts values that are no numbers; got [\d,]+ NaN of"):
        impute(nothing, stores[0], tmp_path / "n.zarr", axis=axis)
    with pytest.raises(TrainingError, match=r"got str; expected one from.*or a Keras model of your own"):
        impute("model", stores[0], tmp_path / "a.zarr", axis=axis)


def test_what_a_batch_holds_is_documented(axis):
    text = (
        (Path(__file__).parents[2] / "docs" / "training.md").read_text().split("**What a batch holds.**")[1]
    )
    row = r"^\| `(\w+)` \| (\w+) \| `\((.*?)\)` \|"
    for table, settings in zip(text.split("| input |")[1:], SETTINGS.values(), strict=True):
        documented = {name: (dtype, shape) for name, dtype, shape in re.findall(row, table, re.M)}
        with new_sampler(axis, settings) as sampler:
            batch, specs = sampler.batch(0, 0), sampler.input_specs
        assert list(documented) == list(specs) == list(batch.inputs)
        letters = dict(zip("PE", batch.value.shape, strict=True)) | {"R": RADII.size}
        letters |= dict(zip("GN", batch.value.shape, strict=True))
        for name, (dtype, shape) in documented.items():
            values = batch.inputs[name]
            sizes = [size.strip() for size in shape.split(",") if size.strip()]
            assert (str(values.dtype), values.ndim) == (dtype, len(sizes)), name
            for size, length in zip(sizes, values.shape, strict=True):
                known = int(size) if size.isdigit() else letters.get(size[-1], length) * int(size[:-1] or 1)
                assert length == known, (name, size)
