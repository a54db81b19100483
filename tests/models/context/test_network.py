import keras
import numpy as np
import pytest

from epixs.models.context.network import ContextNetwork
from epixs.sampling.fill import RADII, SUMMARIES
from epixs.sampling.kriging import BAND_RADII


def some_inputs(targets=4, bins=6, seed=0):
    generator = np.random.default_rng(seed)
    return {
        "own": generator.normal(size=(targets, bins, 3, RADII.size)).astype(np.float32),
        "own_assay": np.tile(np.array([0, 1, -1], np.int32), (targets, 1)),
        "others": generator.normal(size=(targets, bins, 2, SUMMARIES * RADII.size)).astype(np.float32),
        "others_assay": np.tile(np.array([2, 3], np.int32), (targets, 1)),
        "base": generator.normal(size=(targets, bins, len(BAND_RADII))).astype(np.float32),
        "target": np.full(targets, 2, np.int32),
        "scale": np.tile(np.array([0.5, 2.0], np.float32), (targets, 1)),
        "share": np.ones(targets, np.float32),
        "named": np.ones(targets, np.float32),
        "linear": np.zeros((targets, 3), np.float32),
        "member": np.full(targets, -1, np.int32),
    }


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    made = ContextNetwork(4, token=8, heads=2, hidden=(8, 4), members=2, assay_factors=3, statistics=7)
    made.build()
    return made


def test_the_order_of_tracks_does_not_matter(model):
    inputs = some_inputs()
    turned = inputs | {name: inputs[name][:, :, [1, 2, 0]] for name in ("own",)}
    turned["own_assay"] = inputs["own_assay"][:, [1, 2, 0]]
    np.testing.assert_allclose(model(inputs), model(turned), atol=1e-5)


def test_an_assay_that_is_not_named_may_be_any(model):
    def of(target, named):
        inputs = some_inputs() | {"named": np.full(4, named, np.float32)}
        inputs["target"] = np.full(4, target, np.int32)
        inputs["others_assay"] = np.tile(np.array([target, 1], np.int32), (4, 1))
        return model(inputs).numpy()

    np.testing.assert_allclose(of(2, 0), of(3, 0), atol=1e-6)
    assert not np.allclose(of(2, 1), of(3, 1), atol=1e-3)
    assert not np.allclose(of(2, 1), of(2, 0), atol=1e-3)


def test_a_track_that_is_not_there_has_no_say(model):
    inputs = some_inputs()
    changed = inputs | {"own": inputs["own"].copy()}
    changed["own"][:, :, 2] = 100
    np.testing.assert_allclose(model(inputs), model(changed), atol=1e-5)
    changed["own"][:, :, 1] = 100
    assert not np.allclose(model(inputs), model(changed), atol=1e-5)


def test_the_prediction_is_the_members_mean_and_each_can_be_asked(model):
    inputs = some_inputs()
    each = [model(inputs | {"member": np.full(4, member, np.int32)}).numpy() for member in range(2)]
    assert not np.allclose(*each)
    np.testing.assert_allclose(model(inputs), np.mean(each, axis=0), atol=1e-5)
    mixed = model(inputs | {"member": np.array([0, 1, 0, 1], np.int32)}).numpy()
    np.testing.assert_allclose(mixed[1::2], each[1][1::2], atol=1e-6)


def test_in_training_each_member_has_its_share_of_the_targets(model):
    inputs = some_inputs()
    dealt = inputs | {"member": np.array([0, 0, 1, 1], np.int32)}
    np.testing.assert_allclose(model(inputs, training=True), model(dealt), atol=1e-5)


def test_the_expected_scale_is_put_back(model):
    inputs = some_inputs()
    plain = model(inputs | {"scale": np.tile(np.array([0, 1], np.float32), (4, 1))})
    np.testing.assert_allclose(model(inputs), 0.5 + 2 * plain, atol=1e-5)


def test_a_mixture_adds_the_biosamples_own_tracks(model):
    inputs = some_inputs()
    linear = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    mixed = model(inputs | {"share": np.full(4, 0.5, np.float32), "linear": linear}).numpy()
    own = np.einsum("gnt,gt->gn", inputs["own"][..., 0], linear)[..., None]
    np.testing.assert_allclose(mixed, 0.5 + 0.5 * (model(inputs) - 0.5) + 2 * own, atol=1e-5)


def test_differences_from_the_weighted_sums_are_followed_as_far_as_they_are_trusted(model):
    """But where the assay is absent, and in training."""
    inputs = some_inputs()
    absent = inputs | {"others_assay": np.full((4, 2), 3, np.int32)}
    sums = 0.5 + 2 * inputs["base"].sum(axis=2, keepdims=True)
    whole, of_absent, trained = model(inputs), model(absent), model(inputs, training=True)
    model.trust.assign(0.25)
    np.testing.assert_allclose(model(inputs), sums + 0.25 * (whole - sums), atol=1e-5)
    np.testing.assert_array_equal(model(absent), of_absent)
    np.testing.assert_array_equal(model(inputs, training=True), trained)
    by_member = model.by_member(inputs)
    np.testing.assert_allclose(np.mean(by_member, axis=0), model(inputs), atol=1e-5)
    model.trust.assign(1.0)


def test_it_is_saved_and_loaded_by_plain_keras(model, tmp_path):
    model.statistics.assign(np.arange(7))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.statistics.numpy(), np.arange(7))
    np.testing.assert_allclose(model(some_inputs()), again(some_inputs()), atol=1e-6)
