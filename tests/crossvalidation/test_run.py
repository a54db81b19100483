"""A cross-validation from its file to the table of scores: resumed, killed, and blind to what it holds out."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from epixs.crossvalidation.run import crossvalidate, read_scores
from epixs.errors import ConfigError
from epixs.storage.ledger import read_ledger
from epixs.storage.store import open_store
from tests.patience import PATIENCE
from tests.worlds import planted, write_store

LABELS = [(f"b{b}", f"a{a}") for b in range(5) for a in range(4)]
CONFIG = """
[split]
store = "mouse.zarr"
folds = 2
by = "{by}"
[[training_set]]
name = "alone"
[[training_set]]
name = "both"
others = ["human.zarr"]
{models}
[run]
folder = "run"
"""
AVOCADO = """
[[model]]
name = "paper"
kind = "avocado"
hidden = [4, 4]
training = {epochs = 1, batch_size = 2000}
"""
CONTEXT = """
[[model]]
name = "reads"
kind = "context"
members = 2
token = 4
hidden = [8]
heads = 1
training = {epochs = 1, batch_size = 1024}
"""


def make(folder, *, by="experiment", models=AVOCADO, signal=None):
    folder.mkdir(exist_ok=True)
    values = planted(0, 5, 4) if signal is None else signal
    write_store(folder / "mouse.zarr", values, labels=LABELS)
    write_store(folder / "human.zarr", planted(1, 5, 4), labels=LABELS, species="human")
    (folder / "c.toml").write_text(CONFIG.format(by=by, models=models))
    return folder / "c.toml"


@pytest.fixture(autouse=True)
def few_entries(monkeypatch):
    """Epochs of a few steps, and not of a million entries."""
    monkeypatch.setattr("epixs.models.context.kind.ENTRIES_PER_EPOCH", 1 << 12)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = make(tmp_path_factory.mktemp("cv") / "w")
    return config.parent, crossvalidate(config)


def test_every_experiment_is_scored_once_per_training_set_and_model_beside_the_baselines(finished):
    folder, scores = finished
    own = scores[scores["method"] == "paper"]
    assert len(own) == 2 * len(LABELS)
    for _, part in own.groupby("training_set"):
        assert sorted(part[["biosample", "assay"]].itertuples(index=False, name=None)) == LABELS
    average = scores[scores["method"] == "average activity"]
    assert len(average) == 2 * len(LABELS)
    assert set(average["model"]) == set(average["seed"]) == {"-"}
    assert np.isfinite(own["mse"]).all()
    pd.testing.assert_frame_equal(read_scores(folder / "run/scores.tsv"), scores, check_like=False)
    plan = json.loads((folder / "run/crossvalidation.json").read_text())
    assert len(plan["fits"]) == 4
    assert (folder / "run/splits/fold-2.tsv").is_file()
    assert not (folder / "run/fits").exists()  # nothing else is kept


def test_run_again_nothing_is_fitted_and_another_configuration_is_refused(finished, monkeypatch):
    folder, scores = finished
    monkeypatch.setattr("epixs.crossvalidation.fit.train", None)  # would raise if it were called
    pd.testing.assert_frame_equal(crossvalidate(folder / "c.toml"), scores)
    other = folder / "other.toml"
    other.write_text((folder / "c.toml").read_text().replace("epochs = 1", "epochs = 2"))
    with pytest.raises(ConfigError, match="another configuration"):
        crossvalidate(other)


@pytest.mark.parametrize("models", [AVOCADO, CONTEXT], ids=["avocado", "context"])
def test_noise_in_place_of_what_is_held_out_changes_no_other_score(tmp_path, models):
    """Within a fold, that is: in the other one, the same track is trained on."""
    first = crossvalidate(make(tmp_path / "a", models=models))
    fold = first[first["fold"] == "1"]
    biosample, assay = fold.iloc[-1][["biosample", "assay"]]
    values = planted(0, 5, 4)
    row = LABELS.index((biosample, assay))
    values[row] = np.random.default_rng(9).permutation(values[row])  # as large as before, and elsewhere
    second = crossvalidate(make(tmp_path / "b", models=models, signal=values))
    own = [t[(t["fold"] == "1") & (t["model"] != "-")].reset_index(drop=True) for t in (first, second)]
    same = (own[0]["biosample"] != biosample) | (own[0]["assay"] != assay)
    pd.testing.assert_series_equal(own[0].loc[same, "mse"], own[1].loc[same, "mse"])
    assert (own[0].loc[~same, "mse"] != own[1].loc[~same, "mse"]).all()


@pytest.mark.slow
def test_regions_that_are_withheld_are_scored_and_not_trained_on(tmp_path):
    scores = crossvalidate(make(tmp_path / "w", by="region", models=CONTEXT))
    assert scores.groupby("fold")["bins"].nunique().eq(1).all()
    assert scores.groupby("fold")["bins"].first().sum() == planted(0, 5, 4).shape[1]


@pytest.mark.slow
def test_killed_and_started_again_it_gives_the_same_table(tmp_path, finished):
    config = make(tmp_path / "w")
    command = [sys.executable, "-c", "from epixs.cli import main; main()", "crossvalidate", str(config)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    tasks, end = tmp_path / "w/run/tasks", time.monotonic() + PATIENCE
    while not (tasks / "scores/0001.tsv").is_file():
        assert running.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    done = len(read_ledger(open_store(tasks), dict))
    assert done < 4
    fits = []
    scores = crossvalidate(config, progress=lambda state: fits.append(state.tiles_done))
    assert fits[-1] == 4
    assert len(fits) <= 4 - done + 1
    pd.testing.assert_frame_equal(scores, finished[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("folds = 2", 'folds = "two"'), "folds"),
        (('by = "experiment"', 'by = "tissue"'), "by"),
        (("[run]", "[runs]"), r"\[run\]"),
        (('kind = "avocado"', 'kind = "tree"'), "kind"),
        (('name = "both"', 'name = "alone"'), "each name once"),
    ],
)
def test_the_field_that_is_wrong_is_named(tmp_path, change, message):
    config = make(tmp_path / "w")
    config.write_text(config.read_text().replace(*change))
    with pytest.raises(ConfigError, match=message):
        crossvalidate(config)
