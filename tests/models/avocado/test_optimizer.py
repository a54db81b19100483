import keras
import numpy as np
import tensorflow as tf

from epixs.models.avocado.optimizer import RowwiseAdam


def slow_adam(table, steps, rate):
    """Oracle: for each step, sum a row's gradients, then plain Adam on the rows that were hit."""
    table = table.astype(np.float64)
    m, v = np.zeros_like(table), np.zeros_like(table)
    for t, (rows, gradients) in enumerate(steps, 1):
        for row in set(rows.tolist()):
            g = gradients[rows == row].astype(np.float64).sum(axis=0)
            m[row] = 0.9 * m[row] + 0.1 * g
            v[row] = 0.999 * v[row] + 0.001 * g**2
            correction = np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            table[row] -= rate * correction * m[row] / (np.sqrt(v[row]) + 1e-7)
    return table


def test_duplicate_rows_are_summed_before_the_step():
    rng = np.random.default_rng(0)
    start = rng.normal(size=(6, 3)).astype(np.float32)
    variable = keras.Variable(start)
    optimizer = RowwiseAdam(1e-2, row_multiplier=3.0)
    optimizer.build([variable])
    steps = [(rng.integers(0, 5, 40), rng.normal(size=(40, 3)).astype(np.float32)) for _ in range(10)]
    for rows, gradients in steps:
        slices = tf.IndexedSlices(tf.constant(gradients), tf.constant(rows), tf.constant([6, 3]))
        optimizer.apply([slices], [variable])
    got = np.asarray(variable)
    np.testing.assert_allclose(got, slow_adam(start, steps, 3e-2), rtol=1e-4, atol=1e-5)
    assert np.array_equal(got[5], start[5])  # never hit, never moved


def test_dense_gradients_are_keras_adam():
    start = np.ones((2, 2), np.float32)
    mine, theirs = keras.Variable(start), keras.Variable(start)
    ours, plain = RowwiseAdam(1e-2, row_multiplier=9.0), keras.optimizers.Adam(1e-2)
    for _ in range(3):
        gradient = tf.constant([[1.0, -2.0], [0.5, 0.0]])
        ours.apply([gradient], [mine])
        plain.apply([gradient], [theirs])
    np.testing.assert_allclose(np.asarray(mine), np.asarray(theirs), atol=1e-7)


def test_config_round_trip():
    optimizer = RowwiseAdam(1e-3, row_multiplier=4.0)
    assert RowwiseAdam.from_config(optimizer.get_config()).row_multiplier == 4.0
