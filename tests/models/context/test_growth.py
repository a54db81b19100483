"""What an extended model keeps of what it knew, and what it learns anew; networks stay as they began."""

import numpy as np
import pytest

from epixs.axis.join import joint_axis
from epixs.errors import AxisError
from epixs.models.context.growth import copy_known, learn_additions
from epixs.models.context.kind import KIND
from epixs.models.folder import TrainedModel, new_model
from epixs.models.settings import make_settings
from epixs.training.extension import plan_extension
from tests.models.context.asked import model_that_knows
from tests.worlds import planted, write_store

SETTINGS = make_settings(
    "context", token=8, heads=2, hidden=(16,), members=2, assay_factors=4, batch_size=512
)
LABELS = [(f"b{b}", f"a{a}") for b in range(4) for a in range(4)]
KEPT = {
    "mouse": lambda b, a: a != "a3" and (b, a) != ("b3", "a0"),
    "mouse grown": lambda b, a: a != "a3",
    "mouse apart": lambda b, a: (a == "a2") == (b == "b3") and a != "a3",
    "mouse together": lambda b, a: a != "a3" and (b == "b3" or a != "a2"),
    "human": lambda b, a: a != "a2",
}


def store_of(path, name, bins=3000):
    """A store of 3,000 bins in regions of `bins` bins."""
    kept = [at for at, label in enumerate(LABELS) if KEPT[name](*label)]
    regions = [("chr1", start, start + 25 * bins) for start in range(0, 25 * 3000, 25 * bins)]
    labels = [LABELS[at] for at in kept]
    return write_store(
        path, planted(1, 4, 4)[kept], labels=labels, regions=regions, species=name.split(" ")[0]
    )


def known_model(folder, bins, mouse="mouse"):
    """A model of mouse, and of human in regions of some bins, with arbitrary knowledge."""
    stores = store_of(folder / "mouse.zarr", mouse), store_of(folder / "human.zarr", "human", bins)
    known = (
        "moments",
        "hidden_agreement",
        "mixture",
        "agreement",
        "shares",
        "relations",
        "absent_agreement",
        "ease",
    )
    return model_that_knows(folder, joint_axis(stores), SETTINGS, known)


def extended(known, store):
    plan = plan_extension(known, store)
    model = new_model(plan.axis, SETTINGS)
    copy_known(model, plan.axis, known)
    return plan, model


@pytest.mark.parametrize(("bins", "alike"), [(3000, True), (100, False)])
def test_predictions_of_absent_assays_are_measured_anew_where_new_tracks_tell_of_them(tmp_path, bins, alike):
    known = known_model(tmp_path, bins)
    plan, model = extended(known, store_of(tmp_path / "grown.zarr", "mouse grown"))
    mouse, human = plan.axis.species.index("mouse"), plan.axis.species.index("human")
    before, after = known.model.moments.numpy(), model.moments.numpy()
    assert np.isnan(after[mouse]).all()
    if alike:  # mouse tells human what assays have in common
        assert np.isnan(after[human]).all()
    else:
        np.testing.assert_array_equal(after[human], before[human])
    for name in ("shares", "absent_agreement", "ease"):
        np.testing.assert_array_equal(getattr(model, name).numpy(), getattr(known.model, name).numpy())


def test_predictions_are_measured_anew_where_new_tracks_make_more_assays_familiar(tmp_path):
    """Human lacks a2, which mouse had alone, and now has in one biosample with a0 and a1."""
    known = known_model(tmp_path, 100, "mouse apart")
    plan, model = extended(known, store_of(tmp_path / "grown.zarr", "mouse together"))
    human, a2 = plan.axis.species.index("human"), plan.axis.assays.index("a2")
    a3 = plan.axis.assays.index("a3")
    for name in ("moments", "shares", "absent_agreement"):
        before, after = getattr(known.model, name).numpy(), getattr(model, name).numpy()
        assert np.isnan(after[human, a2]).all()
        np.testing.assert_array_equal(after[human, a3], before[human, a3])


def test_an_experiment_that_was_excluded_before_cannot_be_added(tmp_path):
    store = store_of(tmp_path / "mouse.zarr", "mouse")
    axis = joint_axis(store, [("mouse", "b0", "a0")])
    known = TrainedModel(tmp_path, new_model(axis, SETTINGS), axis, SETTINGS, {}, "")
    with pytest.raises(AxisError, match="got 1 that the model was trained without, as they were excluded"):
        plan_extension(known, store)


def test_what_was_known_of_hidden_assays_stays_and_the_rest_is_learned(tmp_path):
    known = known_model(tmp_path, 3000)
    at, lacking = known.axis.species.index("mouse"), known.axis.assays.index("a1")
    agreement = known.model.hidden_agreement.numpy()
    agreement[at, lacking] = np.nan
    known.model.hidden_agreement.assign(agreement)
    plan, model = extended(known, store_of(tmp_path / "grown.zarr", "mouse grown"))
    np.testing.assert_array_equal(model.hidden_agreement.numpy(), agreement)
    np.testing.assert_array_equal(model.relations.numpy(), known.model.relations.numpy())
    with KIND.extension_sampler(
        plan.fit_axis, SETTINGS, known, batch_size=512, signal_bytes=1 << 30
    ) as sampler:
        KIND.begin(model, sampler)
        learn_additions(model, sampler)
        learn_additions(model, sampler)
    learned = model.hidden_agreement.numpy()
    assert np.isfinite(learned[at, lacking])
    learned[at, lacking] = np.nan
    np.testing.assert_array_equal(learned, agreement)
    assert np.isfinite(model.moments.numpy()[at]).all()
    np.testing.assert_array_equal(model.relations.numpy(), known.model.relations.numpy())
    has = np.isin(plan.axis.assays, plan.axis.part("mouse").training["assay"])
    np.testing.assert_array_equal(np.isfinite(model.shares.numpy()[at]).all(axis=1), ~has)
    np.testing.assert_array_equal(model.mixture.numpy(), known.model.mixture.numpy())
