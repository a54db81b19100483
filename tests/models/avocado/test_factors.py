import keras
import numpy as np
import pytest
import tensorflow as tf

from epixs.models.avocado.factors import FEW_ROWS, GenomeFactors, LabelFactors, look_up


def test_projected_parts_add_up_to_the_concatenation_times_one_matrix():
    keras.utils.set_random_seed(0)
    biosample = LabelFactors(3, 4, 7, fan_in=21)
    assay = LabelFactors(5, 8, 7, fan_in=21)
    genome = GenomeFactors((40, 4, 1), (2, 3, 4), 7, fan_in=21)
    position = np.array([[0, 0, 0], [39, 3, 0]], np.int32)
    b, a = np.array([[0], [2]], np.int32), np.array([[4], [1]], np.int32)
    fast = (biosample(b) + assay(a)).numpy()[:, 0] + genome(position).numpy()
    tables = [np.asarray(t) for t in genome.tables]
    for i in range(2):  # oracle: concatenate, then multiply once
        whole = np.concatenate(
            [np.asarray(biosample.table)[b[i, 0]], np.asarray(assay.table)[a[i, 0]]]
            + [tables[scale][position[i, scale]] for scale in range(3)]
        )
        kernel = np.concatenate(
            [np.asarray(biosample.kernel), np.asarray(assay.kernel), np.asarray(genome.kernel)]
        )
        np.testing.assert_allclose(fast[i], whole @ kernel, atol=1e-6)


def test_factors_start_as_in_the_reference_model():
    layer = LabelFactors(400, 32, 7, fan_in=21)
    layer.build((None, None))
    table = np.asarray(layer.table)
    assert np.abs(table).max() <= 0.05
    assert abs(table.std() - 0.05 / np.sqrt(3)) < 1e-3


def test_dropout_acts_in_training_alone():
    layer = GenomeFactors((4, 1, 1), (50, 50, 50), 3, fan_in=150, dropout=0.5)
    position = np.array([[2, 0, 0]], np.int32)
    assert np.array_equal(layer(position).numpy(), layer(position).numpy())
    assert not np.array_equal(layer(position, training=True).numpy(), layer(position).numpy())


def test_dropout_sets_a_share_to_0_and_keeps_the_mean():
    layer = GenomeFactors((4, 1, 1), (50, 50, 50), 3, fan_in=150, dropout=0.3)
    kept = np.concatenate([layer._kept((999, 7)).numpy() for _ in range(5)])
    assert set(np.unique(kept)) == {0, np.float32(256 / 179)}
    assert (kept == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert kept.mean() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("n_rows", [5, FEW_ROWS, FEW_ROWS + 1])
def test_rows_are_looked_up_and_their_gradients_summed(n_rows, dtype):
    rng = np.random.default_rng(0)
    table = tf.cast(rng.normal(size=(n_rows, 3)), dtype)
    index, upstream = rng.integers(0, n_rows, 2_000), rng.normal(size=(2_000, 3)).astype(np.float32)
    with tf.GradientTape() as tape:
        tape.watch(table)
        found = look_up(table, index)
    got = tape.gradient(found, table, tf.cast(upstream, dtype))
    assert found.dtype == got.dtype == table.dtype
    assert np.array_equal(found.numpy(), table.numpy()[index])
    expected = np.zeros((n_rows, 3))
    np.add.at(expected, index, upstream)
    np.testing.assert_allclose(got.numpy().astype(float), expected, atol=1e-4 if dtype == "float32" else 0.5)


def test_config_round_trip():
    for layer in (LabelFactors(3, 4, 7, 21), GenomeFactors((4, 2, 1), (1, 2, 3), 5, 6, dropout=0.1)):
        again = type(layer).from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
