import keras
import numpy as np
import pytest
import tensorflow as tf

from epixs.models.avocado.dense import TallDense


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(("columns", "units"), [(5, 7), (5, 1), (1, 1)])
@pytest.mark.parametrize("rows", [1, 40])
def test_it_is_the_dense_layer_of_keras(dtype, columns, units, rows):
    values = np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32)
    weights = np.random.default_rng(1).normal(size=(columns, units)), np.arange(units) / 7
    found = []
    for kind in (keras.layers.Dense, TallDense):
        layer = kind(units, activation="relu", dtype=dtype)
        layer.build((None, columns))
        layer.set_weights(weights)
        watched = tf.constant(values)
        with tf.GradientTape() as tape:
            tape.watch(watched)
            out = tf.function(layer)(watched)
            loss = tf.reduce_sum(tf.cast(out, tf.float32) ** 2)
        gradients = tape.gradient(loss, [watched, layer.kernel.value, layer.bias.value])
        assert out.dtype == layer.compute_dtype
        found.append([tf.cast(x, tf.float32).numpy() for x in (out, *gradients)])
    close = 1e-5 if dtype == "float32" else 3e-2
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=close, atol=close)
