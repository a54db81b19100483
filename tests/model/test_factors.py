import keras
import numpy as np

from epixs.model.factors import GenomeFactors, LabelFactors


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


def test_config_round_trip():
    for layer in (LabelFactors(3, 4, 7, 21), GenomeFactors((4, 2, 1), (1, 2, 3), 5, 6, dropout=0.1)):
        again = type(layer).from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
