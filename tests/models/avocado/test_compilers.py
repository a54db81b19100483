"""What Keras may choose for us where it sees a GPU: XLA, and mixed precision."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from epixs.axis.join import joint_axis
from epixs.models.avocado.dense import TallDense
from epixs.models.avocado.factors import GenomeFactors, LabelFactors
from epixs.models.avocado.network import DeepTensorFactorization, build_model
from epixs.models.avocado.optimizer import RowwiseAdam
from epixs.sampling import Sampler
from epixs.training.dataset import training_dataset

LABELS = np.array([[0, 1], [2, 4]], np.int32)
POSITIONS = np.array([[0, 0, 0], [39, 3, 0]], np.int32)
VALUES = np.arange(14, dtype=np.float32).reshape(2, 7)


@pytest.fixture
def gpu_in_sight(monkeypatch):
    """What Keras asks before it chooses XLA."""
    real = tf.config.list_physical_devices
    device = types.SimpleNamespace(device_type="GPU", name="GPU:0")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [*real(kind), device])


@pytest.fixture(params=["float32", "mixed_bfloat16", "mixed_float16"])
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (LabelFactors(5, 4, 7, 21), LABELS),
        (GenomeFactors((40, 4, 1), (2, 3, 4), 7, 21), POSITIONS),
        (GenomeFactors((40, 4, 1), (2, 3, 4), 7, 21, precision="bfloat16"), POSITIONS),
        (TallDense(3, activation="relu"), VALUES),
        (TallDense(1), VALUES),
    ],
)
def test_layers_that_say_so_can_be_compiled(layer, inputs):
    assert layer.supports_jit
    layer.build(inputs.shape)

    def gradients(inputs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(layer(inputs), tf.float32) ** 2)
        return [
            tf.convert_to_tensor(gradient)
            for gradient in tape.gradient(loss, [variable.value for variable in layer.trainable_variables])
        ]

    compiled = tf.function(gradients, jit_compile=True, autograph=False)(inputs)
    for got, expected in zip(compiled, gradients(inputs), strict=True):
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-2, atol=1e-4)


def test_dropout_can_be_compiled():
    layer = GenomeFactors((40, 4, 1), (20, 30, 40), 7, 21, dropout=0.5)
    layer.build((None, 3))
    compiled = tf.function(lambda at: layer(at, training=True), jit_compile=True, autograph=False)
    assert np.isfinite(compiled(POSITIONS).numpy()).all()


def test_the_optimizer_can_be_compiled():
    table = keras.Variable(np.ones((4, 2), np.float32))
    twin = keras.Variable(np.ones((4, 2), np.float32))
    rows = tf.IndexedSlices(tf.constant([[1.0, 2.0], [3.0, 4.0], [1.0, 1.0]]), tf.constant([1, 1, 3]), (4, 2))
    plain, compiled = RowwiseAdam(0.1), RowwiseAdam(0.1)
    plain.build([table])
    compiled.build([twin])
    plain.apply([rows], [table])
    tf.function(lambda: compiled.apply([rows], [twin]), jit_compile=True, autograph=False)()
    np.testing.assert_allclose(twin.numpy(), table.numpy(), rtol=1e-6)


def test_compile_does_not_choose_xla_for_a_model_that_it_cannot_compile(gpu_in_sight):
    model = DeepTensorFactorization(3, 2, (10, 1, 1))
    model.compile(optimizer=RowwiseAdam(1e-3), loss="mse")
    assert not model.supports_jit
    assert not model.jit_compile


def test_a_fit_script_trains_under_any_global_policy(world, policy, tmp_path):
    axis = joint_axis([world.store("mouse")])
    model = build_model(axis, hidden=(16, 16), genome_dropout=0.3)
    model.compile(optimizer=RowwiseAdam(1e-3, row_multiplier=10.0), loss="mse")
    with Sampler(axis, batch_size=500, seed=0) as sampler:
        history = model.fit(
            training_dataset(sampler), steps_per_epoch=30, epochs=2, shuffle=False, verbose=0
        ).history["loss"]
    assert history[1] < history[0]
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert model.settings["precision"] == ("bfloat16" if policy == "mixed_bfloat16" else "float32")
    inputs = {"position": POSITIONS[:1], "biosample": LABELS[:1, :1], "assay": LABELS[:1, :1]}
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert model(inputs).dtype == "float32"
    assert np.array_equal(again(inputs).numpy(), model(inputs).numpy())
