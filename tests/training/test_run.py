import numpy as np
import pytest

from epixs.axis.join import joint_axis
from epixs.axis.serialize import axis_to_dict
from epixs.errors import TrainingError
from epixs.models.folder import open_model
from epixs.models.settings import make_settings
from epixs.sampling import Sampler
from epixs.storage.tiling import Layout
from epixs.training import run
from epixs.training.cost import estimate_cost
from epixs.training.dataset import held_out_dataset
from epixs.training.history import read_history
from epixs.training.run import time_steps, train
from tests.worlds import planted, write_store

CONFIG = make_settings("avocado", hidden=(16, 16), epochs=3, batch_size=500, held_out=0.1, patience=0)


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
    config = CONFIG.replace(epochs=1, precision="float32")  # else chosen by timing
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
    assert axis_to_dict(open_model(tmp_path / "m").axis) == axis_to_dict(axis)


def test_no_model_is_overwritten(axis, tmp_path):
    (tmp_path / "thesis.docx").write_text("precious")
    with pytest.raises(TrainingError, match="exists and is not empty"):
        train(axis, CONFIG, tmp_path)


def test_time_limit_plans_fewer_epochs(axis, tmp_path):
    done = train(axis, CONFIG.replace(epochs=100_000, max_minutes=0.05), tmp_path / "m")
    assert 1 <= done["epochs"] < 1_000
    assert done["epochs"] <= done["planned_epochs"] < done["wanted_epochs"] == 100_000
    assert (tmp_path / "m" / "model.keras").exists()


@pytest.mark.slow
def test_a_run_whose_time_ran_out_says_so(axis, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "seconds_per_step", lambda *_, **__: 1e-6)  # as if steps had become slower since
    done = train(axis, CONFIG.replace(epochs=20_000, max_minutes=0.2), tmp_path / "m")
    assert done["time_ran_out"]
    assert done["epochs"] < done["planned_epochs"] == 20_000
    assert not train(axis, CONFIG.replace(max_minutes=10.0), tmp_path / "n")["time_ran_out"]


def test_tracks_beyond_what_training_can_hold_are_refused(tmp_path):
    values = planted(1, 2, 2)
    values[1] += 60
    store = write_store(tmp_path / "s.zarr", values, labels=[(b, a) for b in "xy" for a in "AB"])
    whole = joint_axis([store])
    with pytest.raises(TrainingError, match=r"mouse / x / B: values of another order.*`epixs remove .* x-B`"):
        train(whole, CONFIG, tmp_path / "m")
    assert (
        train(whole.exclude([("mouse", "x", "B")]), CONFIG.replace(epochs=1), tmp_path / "m")["epochs"] == 1
    )


def test_patience_stops_early(axis, tmp_path):
    config = CONFIG.replace(epochs=60, patience=1, learning_rate=0.05)
    done = train(axis, config, tmp_path / "m")
    assert done["epochs"] == done["best_epoch"] + 1 < 60
    assert done["stopped_early"]
    assert not train(axis, CONFIG.replace(epochs=1, patience=1), tmp_path / "whole")["stopped_early"]


def test_divergence_stops_with_the_step(axis, tmp_path):
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf) in epoch 1, step \d+.*learning_rate"):
        train(axis, CONFIG.replace(learning_rate=1e30), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_memory_budget_is_checked_before_anything_starts(axis, tmp_path):
    with pytest.raises(
        TrainingError, match=r"more memory than allowed; got .* GB; expected at most memory_gb"
    ):
        train(axis, CONFIG.replace(memory_gb=1e-6), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_whole_tracks_are_held_out_and_choose_the_checkpoint(world, tmp_path):
    whole = joint_axis([world.store("mouse"), world.store("human")])
    done = train(whole, CONFIG.replace(held_out_tracks=2), tmp_path / "m")
    history = read_history(tmp_path / "m")
    assert done["held_out_tracks_mse"] == min(history["held_out_tracks_mse"])
    assert done["best_epoch"] == 1 + int(np.argmin(history["held_out_tracks_mse"]))
    opened = open_model(tmp_path / "m").axis
    assert opened.n_held_out == 2
    assert opened.n_training == whole.n_training - 2


def test_a_probe_says_how_long_it_will_take(axis, tmp_path):
    probes = []
    train(axis, CONFIG.replace(epochs=2), tmp_path / "m", on_probe=probes.append)
    assert [probe.epochs for probe in probes] == [2]
    assert probes[0].seconds_per_epoch > 0
    assert time_steps(axis, CONFIG).epochs == 3


def test_more_memory_than_allowed_only_by_force(axis, tmp_path):
    tiny = CONFIG.replace(epochs=1, memory_gb=1e-6)
    assert train(axis, tiny, tmp_path / "m", force=True)["epochs"] == 1


@pytest.mark.slow
def test_a_store_larger_than_the_budget_trains_and_resumes(tmp_path):
    labels = [(f"b{b}", f"a{a}") for b in range(20) for a in range(20)]
    values = np.tile(planted(1, 4, 5), (20, 1))
    store = write_store(tmp_path / "s.zarr", values, labels=labels, layout=Layout(8, 20, 1_000))
    large = joint_axis([store])
    config = CONFIG.replace(checkpoint_minutes=0.0, precision="float32")
    least = estimate_cost(large, config.replace(memory_gb=1e-6))
    config = config.replace(memory_gb=least.memory_bytes / 1e9 + 1e-6)
    cost = estimate_cost(large, config)
    assert not cost.in_memory
    assert values.astype(np.float32).nbytes > 8 * cost.signal_bytes

    def stop(report):
        if report.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(large, config, tmp_path / "m", report=stop)
    with pytest.raises(TrainingError, match="of another run: training signal"):
        train(large, config.replace(memory_gb=16.0), tmp_path / "m", resume=True)
    done = train(large, config, tmp_path / "m", resume=True)
    assert done["epochs"] == 3
    history = read_history(tmp_path / "m")
    assert history["held_out_mse"][-1] < history["held_out_mse"][0]
