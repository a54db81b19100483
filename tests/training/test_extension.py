"""Growing a model: what it knew stays to the bit, what it learns is better than average activity."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from epixs.axis.join import joint_axis
from epixs.cli.app import app
from epixs.errors import AxisError, TrainingError
from epixs.evaluation.scores import evaluate
from epixs.evaluation.table import AVERAGE, IMPUTED
from epixs.imputation.predict import Predictor
from epixs.imputation.write import impute
from epixs.models.folder import open_model
from epixs.models.settings import make_settings
from epixs.storage.tiling import Layout
from epixs.training.extension import extend, plan_extension
from epixs.training.run import train
from tests.worlds import BINS, planted, write_store

CONFIG = make_settings(
    "avocado",
    hidden=(64, 64), batch_size=4_000, experiments_per_position=8, epochs=40, held_out=0.05, patience=0, biosample_factors=4,
    assay_factors=8, genome_factors=(6, 6, 6), genome_dropout=0.0, learning_rate=3e-3, genome_multiplier=3.0, precision="float32",
)  # fmt: skip
BIOSAMPLES, ASSAYS = 6, 5


def store_of(path, species, seed, keep, n_assays=ASSAYS):
    values = planted(seed, BIOSAMPLES, n_assays)
    labels = [(f"{species}-b{b}", f"a{a}") for b in range(BIOSAMPLES) for a in range(n_assays)]
    chosen = [i for i, label in enumerate(labels) if keep(*label)]
    return write_store(
        path, values[chosen], labels=[labels[i] for i in chosen], species=species,
        layout=Layout(4, 512, 1024), regions=[("chr1", 0, 25 * 1_999), ("chr2", 0, 25 * 1_001)],
    )  # fmt: skip


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A model of five biosamples and four assays, and stores with one more of each, and of another species."""
    folder = tmp_path_factory.mktemp("grown")
    old = store_of(folder / "old.zarr", "mouse", 1, lambda b, a: not (b.endswith("b5") or a == "a4"))
    pair = ("mouse", "mouse-b0", "a0")
    assert train(joint_axis([old], [pair]), CONFIG, folder / "model")["held_out_mse"] < 0.02
    stores = {
        "biosample": store_of(folder / "b.zarr", "mouse", 1, lambda b, a: a != "a4"),
        "assay": store_of(folder / "a.zarr", "mouse", 1, lambda b, a: not b.endswith("b5")),
        "both": store_of(folder / "both.zarr", "mouse", 1, lambda b, a: True),
        "species": store_of(folder / "s.zarr", "cow", 2, lambda b, a: a != "a4"),
    }
    return folder, old, stores


def predictions(trained, species="mouse"):
    pairs = [pair for pair in trained.axis.all_pairs(species) if pair[1] != "mouse-b5" and pair[2] != "a4"]
    return Predictor(trained, pairs).predict(0, BINS)


NEW = {
    "biosample": [("mouse", "mouse-b5", "a1"), ("mouse", "mouse-b5", "a3")],
    "assay": [("mouse", "mouse-b2", "a4"), ("mouse", "mouse-b4", "a4")],
    "both": [("mouse", "mouse-b5", "a2"), ("mouse", "mouse-b1", "a4")],
    "species": [("cow", "cow-b1", "a0"), ("cow", "cow-b3", "a2")],
}


@pytest.mark.parametrize(
    "what",
    [pytest.param(what, marks=() if what == "species" else pytest.mark.slow) for what in NEW],
)
def test_old_predictions_stay_to_the_bit_and_new_ones_beat_average_activity(grown, tmp_path, what):
    folder, _, stores = grown
    model = open_model(folder / "model")
    before = predictions(model)
    extend(model, stores[what], tmp_path / "m", exclude=NEW[what], epochs=40)
    extended = open_model(tmp_path / "m")
    assert np.array_equal(predictions(extended), before)
    assert set(extended.axis.species) == ({"mouse", "cow"} if what == "species" else {"mouse"})
    impute(extended, stores[what], tmp_path / "i.zarr", pairs=NEW[what])
    scores = evaluate(tmp_path / "i.zarr", stores[what]).scores.pivot_table(
        index=["biosample", "assay"], columns="method", values="mse"
    )
    assert scores[IMPUTED].mean() < scores[AVERAGE].mean(), scores
    # the model that was extended is as it was
    assert np.array_equal(predictions(open_model(folder / "model")), before)


def test_an_extended_model_is_extended_again(grown, tmp_path):
    folder, _, stores = grown
    extend(open_model(folder / "model"), stores["biosample"], tmp_path / "one", epochs=2)
    extend(open_model(tmp_path / "one"), stores["both"], tmp_path / "two", epochs=2)
    axis = open_model(tmp_path / "two").axis
    assert axis.n_biosamples == BIOSAMPLES
    assert len(axis.assays) == ASSAYS
    assert np.array_equal(
        predictions(open_model(tmp_path / "two")), predictions(open_model(folder / "model"))
    )


@pytest.mark.slow
def test_an_interrupted_extension_goes_on(grown, tmp_path):
    folder, _, stores = grown
    model = open_model(folder / "model")
    model = replace(model, settings=model.settings.replace(checkpoint_minutes=0.0))
    extend(model, stores["biosample"], tmp_path / "whole", epochs=4)

    def stop(report):
        if report.epoch == 2 and report.step == report.steps_per_epoch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extend(model, stores["biosample"], tmp_path / "m", epochs=4, report=stop)
    with pytest.raises(TrainingError, match="holds a run that was interrupted.*--resume"):
        extend(model, stores["biosample"], tmp_path / "m", epochs=4)
    with pytest.raises(TrainingError, match="of another run: epochs"):
        extend(model, stores["biosample"], tmp_path / "m", epochs=5, resume=True)
    other = replace(model, fingerprint="0" * 64)
    with pytest.raises(TrainingError, match="of another run: extended model"):
        extend(other, stores["biosample"], tmp_path / "m", epochs=4, resume=True)
    done = extend(model, stores["biosample"], tmp_path / "m", epochs=4, resume=True)
    assert done["epochs"] == 4
    whole, resumed = (open_model(tmp_path / name) for name in ("whole", "m"))
    assert np.array_equal(predictions(whole), predictions(resumed))  # what is frozen
    new = whole.axis.biosample_index("mouse", ["mouse-b5"])
    tables = [trained.model.biosample.table.numpy()[new] for trained in (whole, resumed)]
    assert np.allclose(*tables, atol=1e-3)


def test_what_was_excluded_stays_excluded_and_known_pairs_are_not_fitted(grown, tmp_path):
    folder, _, stores = grown
    plan = plan_extension(open_model(folder / "model"), stores["both"])
    table = plan.axis.part("mouse").experiments
    excluded = table.loc[table["excluded"], ["biosample", "assay"]].to_numpy().tolist()
    assert excluded == [["mouse-b0", "a0"]]
    fitted = plan.fit_axis.part("mouse").training
    assert ((fitted["biosample"] == "mouse-b5") | (fitted["assay"] == "a4")).all()
    assert len(fitted) == BIOSAMPLES + ASSAYS - 1
    assert plan.biosamples == ("mouse-b5",)
    assert plan.assays == ("a4",)


def test_what_cannot_be_extended_says_why(grown, tmp_path):
    folder, old, stores = grown
    model = open_model(folder / "model")
    with pytest.raises(AxisError, match="brings no new biosample, assay or species"):
        extend(model, old, tmp_path / "m")
    assert not (tmp_path / "m").exists()
    less = store_of(tmp_path / "less.zarr", "mouse", 1, lambda b, a: a != "a1")
    with pytest.raises(AxisError, match=r"lacks 5 experiments .*train anew"):
        extend(model, less, tmp_path / "m")
    elsewhere = write_store(tmp_path / "e.zarr", np.ones((1, 99)), labels=[("x", "a0")])
    with pytest.raises(AxisError, match="regions of mouse.*fit-genome"):
        extend(model, elsewhere, tmp_path / "m")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "thesis.docx").write_text("precious")
    with pytest.raises(TrainingError, match="is not empty"):
        extend(model, stores["assay"], tmp_path / "m")


@pytest.mark.slow
def test_the_verb(grown, tmp_path):
    folder, _, stores = grown
    out = tmp_path / "m"
    command = [
        "extend",
        str(folder / "model"),
        str(stores["biosample"]),
        "--out",
        str(out),
        "--max-minutes",
        "0.05",
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "new biosamples" in done.output
    assert "mouse-b5" in done.output
    assert open_model(out).axis.n_biosamples == BIOSAMPLES
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 2
    assert "is not empty" in again.output
    pytest.importorskip("matplotlib")
    curves = CliRunner().invoke(app, ["curves", str(out), "--out", str(tmp_path / "c.png")])
    assert curves.exit_code == 0, curves.output
    assert (tmp_path / "c.png").exists()
