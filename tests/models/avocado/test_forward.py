"""The compiled prediction of the factorization is the Keras model's, and does not depend on what it is with."""

import numpy as np
import pytest

from epixs.matrices import MATRICES
from epixs.models.avocado.forward import forward_of
from epixs.models.avocado.network import DeepTensorFactorization

BIOSAMPLES, ASSAYS = np.array([0, 2, 1, 0], np.int32), np.array([1, 1, 0, 3], np.int32)
POSITIONS = (700, 70, 4)


def made(hidden, factors=(5, 4, 3)):
    model = DeepTensorFactorization(3, 4, POSITIONS, 6, 7, factors, hidden)
    model.build()
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.3, weight.shape))
    return model


def factors_of(model, bins):
    fine, medium, coarse = (table.numpy() for table in model.genome.tables)
    rows = np.unique(bins // 10)
    both = np.concatenate([medium[rows], coarse[rows // 20]], axis=1)
    return fine[bins], both, np.searchsorted(rows, bins // 10).astype(np.int32)


@pytest.mark.parametrize("in_matrices", {False, MATRICES})
@pytest.mark.parametrize("hidden", [(13,), (16, 8), (300, 130, 9)])
def test_it_predicts_what_the_keras_model_predicts(hidden, in_matrices):
    model, bins = made(hidden), np.arange(3, 680)
    position = np.stack([bins, bins // 10, bins // 200], axis=1).astype(np.int32)
    inputs = {"position": position, "biosample": BIOSAMPLES[None], "assay": ASSAYS[None]}
    expected = model(inputs).numpy()[..., 0].T
    got = forward_of(model, BIOSAMPLES, ASSAYS, in_matrices).predict(*factors_of(model, bins), slice(None))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_bins_and_pairs_predicted_together_do_not_matter_to_the_bit():
    model, bins = made((24, 200)), np.arange(0, 600)
    forward = forward_of(model, BIOSAMPLES, ASSAYS)
    whole = forward.predict(*factors_of(model, bins), slice(None))
    for first, stop, pairs in ((0, 1, slice(0, 1)), (7, 301, slice(1, 3)), (299, 600, slice(3, 4))):
        alone = forward_of(model, BIOSAMPLES[pairs], ASSAYS[pairs])
        part = alone.predict(*factors_of(model, bins[first:stop]), slice(None))
        assert np.array_equal(part, whole[pairs, first:stop])
