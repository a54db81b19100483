"""The seam between kinds of model and everything else, proved with a second kind (tests/models/linear.py)."""

import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

from epixs.axis.join import joint_axis
from epixs.cli.app import app
from epixs.compendium.read import open_compendium, provenance_of
from epixs.config import ModelSettings
from epixs.errors import AxisError, ConfigError, StoreError, TrainingError
from epixs.evaluation.scores import evaluate
from epixs.evaluation.table import AVERAGE, IMPUTED
from epixs.factors.selection import plan_factors
from epixs.imputation.write import impute, open_imputed
from epixs.models import kinds
from epixs.models.folder import open_model
from epixs.models.kinds import KINDS, kind_named, register
from epixs.models.settings import make_settings
from epixs.training.extension import plan_extension
from epixs.training.history import read_history
from epixs.training.run import time_steps, train
from tests.models.linear import Linear
from tests.worlds import BINS, planted, write_store

LABELS = [(f"b{b}", f"a{a}") for b in range(5) for a in range(4)]
HIDDEN = ("mouse", "b1", "a2")


def epixs(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture(autouse=True)
def linear(monkeypatch):
    """The second kind, registered by one call."""
    monkeypatch.setattr(kinds, "_registered", {})
    register(Linear())


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A store to train on, and the same experiments on another chromosome."""
    folder = tmp_path_factory.mktemp("linear")
    here, there = planted(1, 5, 4), planted(1, 5, 4, where=2)
    return (
        write_store(folder / "here.zarr", here, labels=LABELS),
        write_store(folder / "there.zarr", there, labels=LABELS, regions=[("chr2", 0, 25 * BINS)]),
    )


@pytest.fixture
def settings():
    return make_settings("linear", epochs=4, batch_size=500, held_out=0.05, patience=0)


def test_trained_and_imputed_by_the_command_line_alone(stores, tmp_path):
    here, there = stores
    (tmp_path / "s.toml").write_text(
        '[model]\nkind = "linear"\n\n[training]\nepochs = 60\nbatch_size = 250\nheld_out = 0.05\n'
    )
    (tmp_path / "pairs.tsv").write_text("species\tbiosample\tassay\n" + "\t".join(HIDDEN) + "\n")
    exclude = ("--exclude", tmp_path / "pairs.tsv")
    code, text = epixs("train", here, "--out", tmp_path / "m", "--config", tmp_path / "s.toml", *exclude)
    assert code == 0, text
    assert re.search(r"parameters\W+20\b", text)
    assert "zero-shot target" not in text
    trained = open_model(tmp_path / "m")
    assert (trained.settings.kind, trained.settings.training.epochs) == ("linear", 60)
    code, text = epixs("info", tmp_path / "m")
    assert code == 0
    assert "model (linear)" in text
    assert "scale" in text
    # on bins that it was never trained on
    imputed = tmp_path / "i.zarr"
    code, text = epixs("impute", tmp_path / "m", there, "--out", imputed, "--pairs", tmp_path / "pairs.tsv")
    assert code == 0, text
    found = open_compendium(imputed)
    source = provenance_of(found)["signal"]["source"]
    assert (source, list(found.region_chrom.to_numpy())) == (str(there), ["chr2"])
    mse = evaluate(imputed, there).scores.set_index("method")["mse"]
    assert mse[IMPUTED] < 0.5 * mse[AVERAGE]
    lazy = open_imputed(trained, there, pairs=[HIDDEN])
    np.testing.assert_array_equal(lazy.signal, found.signal)


def test_predictions_are_those_of_the_trained_model(stores, settings, tmp_path):
    """The predictor, against the Keras model fed by hand with what else is observed in the biosample."""
    here, there = stores
    train(joint_axis([here], [HIDDEN]), settings, tmp_path / "m")
    trained = open_model(tmp_path / "m")
    signal = open_compendium(there).signal.to_numpy()
    seen = np.stack([signal[LABELS.index(("b1", f"a{a}"))] for a in range(4)], axis=1)[:, None]
    seen[:, :, 2] = 0
    target = np.full((BINS, 1), 2, np.int32)
    expected = trained.model({"observed": seen, "target": target}).numpy()[:, 0, 0]
    low, high = trained.bounds["a2"]
    found = open_imputed(trained, there, pairs=[HIDDEN]).signal[0].to_numpy()
    np.testing.assert_allclose(found, np.clip(expected, low, high), atol=3e-4)


def test_an_interrupted_run_goes_on(stores, settings, tmp_path):
    axis = joint_axis([stores[0]])
    settings = settings.replace(checkpoint_minutes=0.0, held_out_tracks=1)

    def stop(report):
        if report.epoch == 2 and report.step == report.steps_per_epoch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(axis, settings, tmp_path / "m", report=stop)
    with pytest.raises(TrainingError, match="of another run: scale; got scale 2.0; expected scale 1.0"):
        train(axis, settings.replace(scale=2.0), tmp_path / "m", resume=True)
    with pytest.raises(
        TrainingError, match="of another run: model, .*got model avocado.*expected model linear"
    ):
        train(axis, make_settings("avocado", epochs=4), tmp_path / "m", resume=True)
    assert train(axis, settings, tmp_path / "m", resume=True)["epochs"] == 4
    whole = train(axis, settings, tmp_path / "whole")
    for name in ("held_out_mse", "held_out_tracks_mse"):
        histories = [read_history(tmp_path / folder)[name] for folder in ("m", "whole")]
        np.testing.assert_allclose(*histories, rtol=1e-5)
    assert whole["held_out_tracks_mse"] == min(histories[1])


def test_what_a_kind_does_not_have_is_refused(stores, settings, tmp_path):
    axis = joint_axis([stores[0]])
    assert time_steps(axis, settings).epochs == 4
    train(axis, settings.replace(epochs=1), tmp_path / "m")
    trained = open_model(tmp_path / "m")
    with pytest.raises(TrainingError, match="genome factors: .*got one of kind linear.*of kind avocado"):
        plan_factors(trained, stores[1])
    with pytest.raises(TrainingError, match="kind linear cannot be extended"):
        plan_extension(trained, stores[1])
    factors = SimpleNamespace(path="f.zarr")
    with pytest.raises(TrainingError, match=r"genome factors f\.zarr: .*got one of kind linear"):
        impute(trained, stores[0], tmp_path / "i.zarr", factors=factors)
    fewer = write_store(tmp_path / "fewer.zarr", planted(1, 5, 4)[:-1], labels=LABELS[:-1])
    with pytest.raises(AxisError, match=r"do not fit together: experiments of mouse; got no b4 / a3"):
        impute(trained, fewer, tmp_path / "i.zarr", everything=True)
    others = write_store(
        tmp_path / "others.zarr", planted(1, 5, 4), labels=LABELS, accessions=[f"x{i}" for i in range(20)]
    )
    with pytest.raises(AxisError, match=r"got file x0 as b0 / a0; expected b0-a0"):
        impute(trained, others, tmp_path / "i.zarr", everything=True)
    code, text = epixs("train", stores[0], "--out", tmp_path / "n", "--model", "linear", "--hidden", "8")
    assert code == 2
    assert "unknown setting of a model of kind linear; got hidden" in text


def test_a_store_going_on_must_read_the_same_signal(stores, settings, tmp_path):
    train(joint_axis([stores[0]], [HIDDEN]), settings.replace(epochs=1), tmp_path / "m")
    trained = open_model(tmp_path / "m")
    impute(trained, stores[0], tmp_path / "i.zarr", pairs=[HIDDEN])
    same_places = write_store(tmp_path / "copy.zarr", planted(2, 5, 4), labels=LABELS)
    with pytest.raises(StoreError, match="another signal"):
        impute(trained, same_places, tmp_path / "i.zarr", pairs=[HIDDEN])


@pytest.mark.parametrize("name", KINDS)
def test_kinds_of_epixs_are_called_what_they_are_listed_as(name):
    assert kind_named(name).name == name


def test_kinds_are_found_by_name():
    assert kind_named("linear").name == "linear"
    with pytest.raises(
        ConfigError,
        match=r"got 'liner' \(did you mean 'linear'\?\); expected one of avocado, context, linear",
    ):
        kind_named("liner")


def test_settings_of_a_kind_may_not_be_called_like_those_of_all_kinds():
    @dataclass(frozen=True)
    class GreedySettings(ModelSettings):
        kind: ClassVar[str] = "greedy"

        seed: int = 1

    class Greedy(Linear):
        settings = GreedySettings

    with pytest.raises(ConfigError, match="settings of the kind greedy; got seed"):
        register(Greedy())
