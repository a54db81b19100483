import math

from epixs.training.callbacks import History
from epixs.training.history import read_history


def test_a_row_per_epoch_under_names_that_curves_knows(told, sampler, tmp_path):
    history = History(tmp_path / "new", sampler)
    history.set_model(told)
    for epoch, logs in enumerate(
        [{"loss": 0.9, "val_loss": 0.8, "mae": 1.0}, {"loss": 0.7, "error": 0.6, "held_out_mse": 0.5}]
    ):
        history.set_params({"steps": sampler.steps_per_epoch})
        history.on_epoch_begin(epoch)
        history.on_train_batch_end(0)
        history.on_epoch_end(epoch, logs | {"held_out_mse/mouse": 0.4})
    found = read_history(tmp_path / "new")
    assert found["epoch"] == [1, 2]
    assert found["loss"] == [0.9, 0.6]  # that of entries with weight, where it is known
    assert found["held_out_mse"] == [0.8, 0.5]
    assert found["held_out_mse/mouse"] == [0.4, 0.4]
    assert found["learning_rate"] == [0.5, 0.5]
    assert all(math.isnan(value) for value in found["held_out_tracks_mse"])
    assert min(found["samples_per_second"]) > 0
    assert "mae" not in found


def test_what_goes_on_keeps_rows_and_time(told, sampler, tmp_path):
    history = History(tmp_path, sampler)
    history.go_on([{"epoch": 1, "loss": 1.0}], 100.0)
    history.set_model(told)
    history.on_epoch_end(1, {"loss": 0.5})
    assert read_history(tmp_path)["loss"] == [1.0, 0.5]
    assert read_history(tmp_path)["seconds"][1] >= 100.0
