import json

import keras
import numpy as np
import pytest

from epixs.config import TrainConfig
from epixs.dataset import held_out_dataset
from epixs.errors import AxisError, TrainingError
from epixs.joint import joint_axis
from epixs.sampling import Sampler
from epixs.training import estimate_cost, open_model, signal_bounds, train

CONFIG = TrainConfig(hidden=(16, 16), epochs=3, batch_size=500, held_out=0.1, patience=0)


@pytest.fixture(scope="module")
def axis(world):
    return joint_axis([world.store("mouse")])


def test_the_best_checkpoint_is_kept(axis, tmp_path):
    reports = []
    done = train(axis, CONFIG, tmp_path / "m", report=reports.append)
    opened = open_model(tmp_path / "m")
    held_out = held_out_dataset(Sampler(axis, batch_size=500, held_out=0.1), count=5_000)
    opened.model.compile(loss="mse")
    assert opened.model.evaluate(held_out, verbose=0) == pytest.approx(done["held_out_mse"], rel=1e-4)
    history = np.genfromtxt(tmp_path / "m" / "history.csv", delimiter=",", names=True)
    assert done["held_out_mse"] == history["held_out_mse"].min()
    assert done["best_epoch"] == history["epoch"][history["held_out_mse"].argmin()]
    assert reports[-1].epoch == 3
    assert reports[-1].samples_per_second > 0
    assert history["held_out_mse"][-1] < history["held_out_mse"][0]


def test_the_same_seed_trains_the_same_model(axis, tmp_path):
    config = CONFIG.replace(epochs=1)
    first, second = (train(axis, config, tmp_path / name) for name in "ab")
    assert first["held_out_mse"] == pytest.approx(second["held_out_mse"], rel=1e-4)
    other = train(axis, config.replace(seed=1), tmp_path / "c")
    assert other["held_out_mse"] != first["held_out_mse"]


def test_an_interruption_keeps_the_best_model_so_far(axis, tmp_path):
    def stop(report):
        if report.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(axis, CONFIG, tmp_path / "m", report=stop)
    assert open_model(tmp_path / "m").axis.to_dict() == axis.to_dict()


def test_no_model_is_overwritten(axis, tmp_path):
    (tmp_path / "thesis.docx").write_text("precious")
    with pytest.raises(TrainingError, match="exists and is not empty"):
        train(axis, CONFIG, tmp_path)


def test_time_limit_plans_fewer_epochs(axis, tmp_path):
    done = train(axis, CONFIG.replace(epochs=100_000, max_minutes=0.05), tmp_path / "m")
    assert 1 <= done["epochs"] < 1_000
    assert (tmp_path / "m" / "model.keras").exists()


def test_patience_stops_early(axis, tmp_path):
    config = CONFIG.replace(epochs=60, patience=1, learning_rate=0.05)
    assert train(axis, config, tmp_path / "m")["epochs"] < 60


def test_divergence_stops_with_the_step(axis, tmp_path):
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf) in epoch 1, step \d+.*learning_rate"):
        train(axis, CONFIG.replace(learning_rate=1e30), tmp_path / "m")


def test_memory_budget_is_checked_before_anything_starts(axis, tmp_path):
    with pytest.raises(
        TrainingError, match=r"more memory than allowed; got .* GB; expected at most memory_gb"
    ):
        train(axis, CONFIG.replace(memory_gb=1e-6), tmp_path / "m")
    assert not (tmp_path / "m").exists()
    assert estimate_cost(axis, CONFIG).steps_per_epoch == 4


def test_bounds_are_what_training_has_shown(axis):
    table = axis.parts[0].experiments
    assay = table["assay"].iloc[0]
    rows = table[table["assay"] == assay]
    assert signal_bounds(axis)[assay] == [rows["signal_min"].min(), rows["signal_max"].max()]
    pairs = [("mouse", b, assay) for b in rows["biosample"]]
    assert assay not in signal_bounds(axis.exclude(pairs))


@pytest.mark.parametrize("what", ["folder", "description", "weights", "other"])
def test_damaged_models_are_refused(trained, tmp_path, what):
    source = trained.folder
    for name in ("model.keras", "model.json"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    if what == "folder":
        (tmp_path / "model.json").unlink()
        with pytest.raises(TrainingError, match=r"no finished model; got model\.keras"):
            open_model(tmp_path)
    elif what == "description":
        (tmp_path / "model.json").write_text('{"axis": 1}')
        with pytest.raises(AxisError, match="is damaged"):
            open_model(tmp_path)
    elif what == "weights":
        (tmp_path / "model.keras").write_bytes(b"PK\x03\x04 nothing")
        with pytest.raises(TrainingError, match="cannot be loaded"):
            open_model(tmp_path)
    else:
        content = json.loads((tmp_path / "model.json").read_text())
        content["axis"]["species"][0]["biosamples"].append("one more")
        (tmp_path / "model.json").write_text(json.dumps(content))
        with pytest.raises(AxisError, match="do not belong together"):
            open_model(tmp_path)


def test_plain_keras_opens_a_trained_model(trained):
    model = keras.models.load_model(trained.folder / "model.keras")
    assert model.count_params() == trained.model.count_params()
