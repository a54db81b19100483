import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from epixs.axis.join import joint_axis
from epixs.models.avocado.network import build_model
from epixs.models.avocado.optimizer import RowwiseAdam
from epixs.models.avocado.zero_shot import plan_zero_shot
from epixs.sampling import Sampler
from epixs.training.dataset import held_out_dataset, training_dataset


@pytest.fixture(scope="module")
def axis(world):
    return joint_axis([world.store("mouse"), world.store("human")])


def slow_forward(model, position, biosample, assay):
    """Oracle: concatenate the five factors of each entry and run the dense layers in numpy."""
    tables = [np.asarray(t) for t in model.genome.tables]
    out = np.zeros(biosample.shape)
    kernel = np.concatenate(
        [np.asarray(part.kernel) for part in (model.biosample, model.assay, model.genome)]
    )
    for p in range(biosample.shape[0]):
        for e in range(biosample.shape[1]):
            values = np.concatenate(
                [
                    np.asarray(model.biosample.table)[biosample[p, e]],
                    np.asarray(model.assay.table)[assay[p, e]],
                ]
                + [tables[scale][position[p, scale]] for scale in range(3)]
            )
            values = np.maximum(values @ kernel + np.asarray(model.bias), 0)
            for layer in model.hidden:
                values = np.maximum(values @ np.asarray(layer.kernel) + np.asarray(layer.bias), 0)
            out[p, e] = (values @ np.asarray(model.readout.kernel) + np.asarray(model.readout.bias))[0]
    return out


def test_prediction_agrees_with_the_plain_concatenation(axis):
    keras.utils.set_random_seed(0)
    model = build_model(axis, hidden=(12, 9), assay_factors=6, biosample_factors=5, genome_factors=(2, 3, 4))
    batch = Sampler(axis, batch_size=24, experiments_per_position=3).batch(0, 0)
    inputs = {"position": batch.position, "biosample": batch.biosample, "assay": batch.assay}
    expected = slow_forward(model, batch.position, batch.biosample, batch.assay)
    np.testing.assert_allclose(model(inputs).numpy()[..., 0], expected, atol=1e-5)
    # one row of experiments serves all positions
    inputs = {"position": batch.position, "biosample": batch.biosample[:1], "assay": batch.assay[:1]}
    wide = np.repeat(batch.biosample[:1], 8, axis=0), np.repeat(batch.assay[:1], 8, axis=0)
    np.testing.assert_allclose(
        model(inputs).numpy()[..., 0], slow_forward(model, batch.position, *wide), atol=1e-5
    )


def test_assays_that_a_species_lacks_leave_genome_factors_alone(axis):
    lacking = plan_zero_shot(axis).detached
    assert "ChIP-seq_H3K9me3_signal_p-value" in lacking
    model = build_model(axis, hidden=(8, 8))
    number = int(axis.assay_index(lacking)[0])
    other = next(i for i in range(len(axis.assays)) if axis.assays[i] not in lacking)
    inputs = {
        "position": np.array([[3, 0, 0], [50, 5, 0]], np.int32),
        "biosample": np.array([[4], [4]], np.int32),
        "assay": np.array([[number], [other]], np.int32),
    }
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(inputs, training=True) ** 2)
    table, kernel = tape.gradient(loss, [model.genome.tables[0].value, model.genome.kernel.value])
    gradient = tf.convert_to_tensor(table).numpy()
    assert (gradient[3] == 0).all()
    assert np.abs(gradient[50]).sum() > 0
    assert np.abs(kernel.numpy()).sum() > 0
    # the prediction itself is the same, and the choice is the user's
    plain = build_model(axis, hidden=(8, 8), zero_shot=False)
    plain.set_weights(model.get_weights())
    assert np.array_equal(plain(inputs).numpy(), model(inputs).numpy())
    assert plain.settings["detached_assays"] == []
    # all that another species has is of such assays: there they shape its factors
    model._is_exempt[4] = True
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(inputs, training=True) ** 2)
    table = tf.convert_to_tensor(tape.gradient(loss, model.genome.tables[0].value)).numpy()
    assert np.abs(table[3]).sum() > 0


def test_an_untrained_model_starts_at_the_mean_signal(axis):
    batch = Sampler(axis, batch_size=5_010, experiments_per_position=3, held_out=0.0).batch(0, 0)
    assert axis.mean_signal() == pytest.approx(float(batch.value.mean()), rel=0.05)
    model = build_model(axis, hidden=(16, 16))
    inputs = {"position": batch.position, "biosample": batch.biosample, "assay": batch.assay}
    assert float(model(inputs).numpy().mean()) == pytest.approx(axis.mean_signal(), abs=0.1)


def test_parameters_are_counted_as_planned(axis):
    from epixs.models.settings import make_settings
    from epixs.training.cost import estimate_cost

    config = make_settings("avocado", hidden=(12, 9), batch_size=100)
    model = build_model(axis, hidden=config.model.hidden)
    assert estimate_cost(axis, config).parameters == model.count_params()


def test_one_fit_call_joins_model_and_dataset_and_lowers_the_error(axis):
    keras.utils.set_random_seed(0)
    sampler = Sampler(axis, batch_size=500, experiments_per_position=2, held_out=0.1)
    model = build_model(axis, hidden=(16, 16))
    model.compile(optimizer=RowwiseAdam(3e-3, row_multiplier=10.0), loss="mse")
    history = model.fit(
        training_dataset(sampler),
        steps_per_epoch=sampler.steps_per_epoch,
        epochs=4,
        validation_data=held_out_dataset(sampler, count=2_000),
        shuffle=False,
        verbose=0,
    ).history
    assert history["val_loss"][-1] < 0.7 * history["val_loss"][0]


@pytest.mark.parametrize(
    "imports",
    [
        "from epixs import DeepTensorFactorization; import keras",
        pytest.param("import keras; from epixs import RowwiseAdam, build_model", marks=pytest.mark.slow),
        pytest.param(
            "import tensorflow, keras; from epixs import DeepTensorFactorization", marks=pytest.mark.slow
        ),
    ],
)
def test_plain_keras_opens_the_file_in_a_fresh_process(axis, tmp_path, imports):
    model = build_model(axis, hidden=(8, 8))
    model.compile(optimizer=RowwiseAdam(), loss="mse")
    model.save(tmp_path / "m.keras")
    inputs = {"position": np.array([[5, 0, 0]]), "biosample": np.array([[1]]), "assay": np.array([[2]])}
    np.save(tmp_path / "expected.npy", model(inputs).numpy())
    code = (
        f"{imports}\nimport numpy as np, sys\n"
        "m = keras.models.load_model(sys.argv[1])\n"
        "x = {'position': np.array([[5, 0, 0]]), 'biosample': np.array([[1]]), 'assay': np.array([[2]])}\n"
        "assert np.array_equal(m(x).numpy(), np.load(sys.argv[2]))\n"
        "assert type(m.optimizer).__name__ == 'RowwiseAdam'\n"
    )
    arguments = [sys.executable, "-c", code, tmp_path / "m.keras", tmp_path / "expected.npy"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_epixs_imports_no_tensorflow():
    code = "import sys, epixs; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
