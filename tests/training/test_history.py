import math

import pytest
import tensorflow as tf

from epixs.errors import TrainingError
from epixs.training.history import COLUMNS, HISTORY_FILE, EventLog, read_history, write_history

ROWS = [
    {"epoch": 1, "loss": 0.5, "held_out_mse": 0.6, "learning_rate": 1e-3, "samples_per_second": 9.0, "seconds": 2.0},
    {"epoch": 2, "loss": 0.4, "held_out_mse": 0.5, "held_out_tracks_mse": 0.7, "learning_rate": 1e-4,
     "samples_per_second": 8.0, "seconds": 4.0},
]  # fmt: skip


def test_history_comes_back_with_nan_for_what_was_not_measured(tmp_path):
    write_history(tmp_path, ROWS)
    found = read_history(tmp_path)
    assert found["held_out_mse"] == [0.6, 0.5]
    assert math.isnan(found["held_out_tracks_mse"][0])
    assert found["held_out_tracks_mse"][1] == 0.7


def test_a_folder_without_history(tmp_path):
    with pytest.raises(TrainingError, match="has no history.csv"):
        read_history(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "epoch,loss\n1,2\n", "\0\n", ",".join(COLUMNS), ",".join(COLUMNS) + "\nx" + "," * 6]
)
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / HISTORY_FILE).write_text(text)
    with pytest.raises(TrainingError, match="is damaged"):
        read_history(tmp_path)


def test_event_files_hold_every_number_of_every_epoch(tmp_path):
    log = EventLog(tmp_path)
    for row in ROWS:
        log.write(row["epoch"], row)
    (file,) = (tmp_path / "tensorboard").iterdir()
    events = [tf.compat.v1.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(file))]
    found = {
        (event.step, value.tag): float(tf.make_ndarray(value.tensor))
        for event in events
        for value in event.summary.value
    }
    assert found[1, "epoch/loss"] == pytest.approx(0.5)
    assert found[2, "epoch/held_out_tracks_mse"] == pytest.approx(0.7)
    assert len(found) == 5 + 6
    kinds = {v.metadata.plugin_data.plugin_name for event in events for v in event.summary.value}
    assert kinds == {"scalars"}
