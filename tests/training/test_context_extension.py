"""Extending a model of kind `context`: its networks stay, new tracks are read, the old stores are not needed."""

import shutil

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from epixs.axis.join import joint_axis
from epixs.cli.app import app
from epixs.errors import AxisError
from epixs.evaluation.scores import evaluate
from epixs.evaluation.table import AVERAGE, IMPUTED
from epixs.imputation.write import impute
from epixs.models.context.growth import copy_known
from epixs.models.folder import new_model, open_model
from epixs.models.settings import make_settings
from epixs.training.extension import extend, plan_extension
from epixs.training.run import train
from tests.worlds import planted, write_store

SETTINGS = make_settings(
    "context", token=8, heads=2, hidden=(16,), members=2, assay_factors=4, epochs=4, batch_size=1_024, learning_rate=5e-3,
    seed=2
)  # fmt: skip
BIOSAMPLES, ASSAYS = 6, 5


def store_of(path, species, seed, keep):
    labels = [(f"{species}-b{b}", f"a{a}") for b in range(BIOSAMPLES) for a in range(ASSAYS)]
    chosen = [i for i, label in enumerate(labels) if keep(*label)]
    values = planted(seed, BIOSAMPLES, ASSAYS, where=seed)[chosen]
    return write_store(path, values, labels=[labels[i] for i in chosen], species=species)


KEPT = {
    "tracks": lambda b, a: not (b == "mouse-b5" or a == "a4"),
    "biosample": lambda b, a: a != "a4",
    "assay": lambda b, a: b != "mouse-b5",
    "species": lambda b, a: a in ("a0", "a1", "a2"),
    "species and assay": lambda b, a: a != "a3",
}
NEW = {
    "biosample": [("mouse", "mouse-b5", "a1"), ("mouse", "mouse-b5", "a3")],
    "assay": [("mouse", "mouse-b2", "a4"), ("mouse", "mouse-b4", "a4")],
    "species": [("cow", "cow-b1", "a0"), ("cow", "cow-b3", "a2")],
    "species and assay": [("cow", "cow-b1", "a4"), ("cow", "cow-b3", "a2")],
}


@pytest.fixture(autouse=True, scope="module")
def few_entries():
    """Epochs of 128 steps, and not of a million entries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("epixs.models.context.kind.ENTRIES_PER_EPOCH", 1 << 17)
        yield


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A model of five biosamples and four assays of one species, and stores that add to it."""
    folder = tmp_path_factory.mktemp("grown")
    old = store_of(
        folder / "old.zarr", "mouse", 1, lambda b, a: KEPT["tracks"](b, a) and (b, a) != ("mouse-b3", "a3")
    )
    train(joint_axis([old], [("mouse", "mouse-b0", "a0")]), SETTINGS, folder / "model")
    shutil.move(old, folder / "moved.zarr")  # an extension reads only the store that it is given
    stores = {
        what: store_of(folder / f"{what}.zarr", "cow" if "species" in what else "mouse", 2 if "species" in what else 1, keep)
        for what, keep in KEPT.items()
    }  # fmt: skip
    return folder, stores


@pytest.mark.slow
@pytest.mark.parametrize("what", NEW)
def test_networks_stay_and_new_tracks_are_better_than_average_activity(grown, tmp_path, what):
    folder, stores = grown
    model = open_model(folder / "model")
    done = extend(model, stores[what], tmp_path / "m", exclude=NEW[what])
    assert np.isfinite(done["held_out_mse"])
    extended = open_model(tmp_path / "m")
    for old, new in zip(model.model.layers, extended.model.layers, strict=True):
        assert all(map(np.array_equal, old.get_weights(), new.get_weights()))
    rows = extended.axis.assay_index(model.axis.assays)
    assert np.array_equal(extended.model.factors.numpy()[:, rows], model.model.factors.numpy())
    is_new = np.setdiff1d(np.arange(len(extended.axis.assays)), rows)
    assert is_new.size == ("assay" in what)
    if is_new.size:  # fitted: no longer the mean of its class
        mean = model.model.factors.numpy().mean(axis=1)
        assert (np.abs(extended.model.factors.numpy()[:, is_new[0]] - mean) > 1e-3).any()
    impute(extended, stores[what], tmp_path / "i.zarr", pairs=NEW[what])
    scores = evaluate(tmp_path / "i.zarr", stores[what]).scores.pivot_table(
        index=["biosample", "assay"], columns="method", values="mse"
    )
    assert scores[IMPUTED].mean() < scores[AVERAGE].mean(), scores
    imputed = xr.open_zarr(tmp_path / "i.zarr", consolidated=False)
    assert np.isfinite(imputed["spread"]).all()
    assert np.isfinite(imputed["expected_pearson"]).all()


@pytest.mark.slow
def test_what_is_known_of_old_tracks_stays(grown, tmp_path):
    folder, stores = grown
    model = open_model(folder / "model")
    extend(model, stores["species and assay"], tmp_path / "m")
    extended = open_model(tmp_path / "m")
    n = model.axis.n_training
    assert np.array_equal(extended.model.agreement.numpy()[:n], model.model.agreement.numpy())
    new = extended.axis.part("cow").training.sort_values("row")["assay"].to_numpy()
    added = (
        new == "a4"
    )  # factors are fitted to all of its tracks but the first: they tell nothing of unseen ones
    fitted = added & (np.arange(new.size) != np.argmax(added))
    assert np.array_equal(np.isfinite(extended.model.agreement.numpy()[n:]), ~fitted)
    assert np.array_equal(extended.model.intervals.numpy()[0], model.model.intervals.numpy()[0])
    pairs = [("mouse", "mouse-b3", "a3"), ("mouse", "mouse-b1", "a1")]
    for trained, name in ((model, "before.zarr"), (extended, "after.zarr")):
        impute(trained, folder / "moved.zarr", tmp_path / name, pairs=pairs)
    before, after = (
        xr.open_zarr(tmp_path / name, consolidated=False) for name in ("before.zarr", "after.zarr")
    )
    for name in ("signal", "spread"):  # only the expected sizes take the new species' tracks into account
        for old, new in zip(before[name].to_numpy(), after[name].to_numpy(), strict=True):
            assert np.corrcoef(old, new)[0, 1] > 0.999


@pytest.mark.slow
def test_an_assay_that_the_new_species_lacks_is_imputed_zero_shot(grown, tmp_path):
    folder, stores = grown
    extend(open_model(folder / "model"), stores["species"], tmp_path / "m")
    extended = open_model(tmp_path / "m")
    pairs = [("cow", f"cow-b{b}", "a3") for b in range(BIOSAMPLES)]
    impute(extended, stores["species"], tmp_path / "i.zarr", pairs=pairs)
    imputed = xr.open_zarr(tmp_path / "i.zarr", consolidated=False)
    truth = planted(2, BIOSAMPLES, ASSAYS, where=2)[3::ASSAYS]
    assert "a3" not in set(extended.axis.part("cow").experiments["assay"])
    cow, lacking = extended.axis.species.index("cow"), extended.axis.assay_index(["a3"])[0]
    assert np.isfinite(extended.model.absent_agreement.numpy()[cow, lacking])
    assert extended.model.ease.numpy()[cow] != 1  # learned
    for predicted, true in zip(imputed["signal"].to_numpy(), truth, strict=True):
        assert np.corrcoef(predicted, true)[0, 1] > 0.4
    assert np.isfinite(imputed["expected_pearson"]).all()


@pytest.mark.slow
def test_a_new_assay_is_imputed_in_the_old_species_on_a_sensible_scale(grown, tmp_path):
    """The model had one species, so no mixture was learned, and what networks say of the assay is not known."""
    folder, stores = grown
    extend(open_model(folder / "model"), stores["species and assay"], tmp_path / "m")
    extended = open_model(tmp_path / "m")
    assert np.isnan(extended.model.moments.numpy()[0, extended.axis.assays.index("a4")]).all()
    pairs = [("mouse", f"mouse-b{b}", "a4") for b in range(BIOSAMPLES - 1)]
    impute(extended, folder / "moved.zarr", tmp_path / "i.zarr", pairs=pairs)
    imputed = xr.open_zarr(tmp_path / "i.zarr", consolidated=False)["signal"].to_numpy()
    truth = planted(1, BIOSAMPLES, ASSAYS, where=1)[4::ASSAYS][: BIOSAMPLES - 1]
    correlations = [np.corrcoef(one, other)[0, 1] for one, other in zip(imputed, truth, strict=True)]
    assert np.mean(correlations) > 0.5, correlations
    assert 0.2 < imputed.std() / truth.std() < 2
    impute(extended, folder / "moved.zarr", tmp_path / "one.zarr", pairs=pairs[3:4])
    alone = xr.open_zarr(tmp_path / "one.zarr", consolidated=False)["signal"].to_numpy()
    assert np.array_equal(alone[0], imputed[3])


@pytest.mark.slow
def test_a_single_track_of_a_new_assay_is_read_and_further_ones_are_fitted(grown, tmp_path):
    folder, stores = grown
    one = store_of(
        tmp_path / "one.zarr", "mouse", 1, lambda b, a: KEPT["tracks"](b, a) or (b, a) == ("mouse-b1", "a4")
    )
    extend(open_model(folder / "model"), one, tmp_path / "m1")
    first = open_model(tmp_path / "m1")
    extend(first, stores["assay"], tmp_path / "m2")
    second = open_model(tmp_path / "m2")
    before, after = (
        model.model.factors.numpy()[:, model.axis.assays.index("a4")] for model in (first, second)
    )
    assert (np.abs(before - after) > 1e-3).any()
    rows = second.axis.assay_index([f"a{n}" for n in range(4)])
    assert np.array_equal(
        second.model.factors.numpy()[:, rows], open_model(folder / "model").model.factors.numpy()
    )


@pytest.mark.slow
def test_what_was_trained_on_cannot_be_excluded(grown):
    folder, stores = grown
    with pytest.raises(AxisError, match="mouse-b1 / a1 cannot be excluded .*trained on"):
        plan_extension(open_model(folder / "model"), stores["assay"], [("mouse", "mouse-b1", "a1")])
    new = [("mouse", f"mouse-b{b}", "a4") for b in range(5)] + [("mouse", "mouse-b3", "a3")]
    with pytest.raises(AxisError, match="no new experiment; got 6 that are excluded"):
        plan_extension(open_model(folder / "model"), stores["assay"], new)


@pytest.mark.slow
def test_an_assay_that_was_always_excluded_is_fitted(grown, tmp_path):
    _, stores = grown
    pairs = [("mouse", f"mouse-b{b}", "a4") for b in range(BIOSAMPLES - 1)]
    train(joint_axis([stores["assay"]], pairs), SETTINGS.replace(epochs=1), tmp_path / "model")
    model = open_model(tmp_path / "model")
    plan = plan_extension(model, stores["species and assay"])
    begun, at = new_model(plan.axis, model.settings), plan.axis.assays.index("a4")
    copy_known(begun, plan.axis, model)
    mean = model.model.factors.numpy()[:, [n for n, a in enumerate(model.axis.assays) if a != "a4"]].mean(
        axis=1
    )
    np.testing.assert_allclose(begun.factors.numpy()[:, at], mean, rtol=1e-6)
    extend(model, stores["species and assay"], tmp_path / "m")
    assert (np.abs(open_model(tmp_path / "m").model.factors.numpy()[:, at] - mean) > 1e-3).any()


@pytest.mark.slow
def test_a_track_with_hardly_any_value_teaches_nothing(grown, tmp_path):
    folder, _ = grown
    values = planted(2, BIOSAMPLES, ASSAYS, where=2)
    values[7, 1:] = np.nan
    labels = [(f"cow-b{b}", f"a{a}") for b in range(BIOSAMPLES) for a in range(ASSAYS)]
    kept = [n for n, (_, a) in enumerate(labels) if a != "a4"]
    store = write_store(tmp_path / "s.zarr", values[kept], labels=[labels[n] for n in kept], species="cow")
    extend(open_model(folder / "model"), store, tmp_path / "m")
    assert open_model(tmp_path / "m").axis.species == ("mouse", "cow")


def test_two_tracks_of_a_new_species_are_enough(grown, tmp_path):
    folder, _ = grown
    store = store_of(tmp_path / "two.zarr", "hen", 3, lambda b, a: b == "hen-b0" and a in ("a0", "a1"))
    done = extend(open_model(folder / "model"), store, tmp_path / "m")
    assert np.isfinite(done["held_out_mse"])
    impute(open_model(tmp_path / "m"), store, tmp_path / "i.zarr", pairs=[("hen", "hen-b0", "a3")])
    imputed = xr.open_zarr(tmp_path / "i.zarr", consolidated=False)["signal"].to_numpy()[0]
    truth = planted(3, BIOSAMPLES, ASSAYS, where=3)[3]
    assert np.corrcoef(imputed, truth)[0, 1] > 0.4


@pytest.mark.slow
def test_new_tracks_of_known_labels_are_read_too(grown, tmp_path):
    folder, stores = grown
    model = open_model(folder / "model")
    plan = plan_extension(model, stores["tracks"])
    assert (plan.added, plan.untouched, plan.biosamples, plan.assays) == (1, 0, (), ())
    extend(model, stores["tracks"], tmp_path / "m")
    training = open_model(tmp_path / "m").axis.part("mouse").training
    assert ("mouse-b3", "a3") in set(zip(training["biosample"], training["assay"], strict=True))
    with pytest.raises(AxisError, match="brings no new experiment"):
        extend(open_model(tmp_path / "m"), stores["tracks"], tmp_path / "again")


@pytest.mark.slow
def test_the_verb_extends_twice(grown, tmp_path):
    folder, stores = grown
    for model, store, out in (
        (folder / "model", stores["biosample"], tmp_path / "one"),
        (tmp_path / "one", stores["species"], tmp_path / "two"),
    ):
        done = CliRunner().invoke(app, ["extend", str(model), str(store), "--out", str(out)])
        assert done.exit_code == 0, done.output
        said = "was trained on one species, so that assays were rarely hidden" in " ".join(
            done.output.split()
        )
        assert said == (store == stores["species"])
    assert open_model(tmp_path / "two").axis.species == ("mouse", "cow")
