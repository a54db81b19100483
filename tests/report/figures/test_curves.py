import json

import numpy as np
import pytest

from epixs.errors import TrainingError
from epixs.report.figures.canvas import drawing
from epixs.report.figures.curves import curves, draw_curves, keeps_last
from epixs.training.history import COLUMNS, GROUPED

pytest.importorskip("matplotlib")


def test_learning_curves(trained, tmp_path):
    curves(trained.folder, out=tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(TrainingError, match="has no history.csv"):
        curves(tmp_path, out=tmp_path / "other.png")
    assert not (tmp_path / "other.png").exists()


def history(held_out):
    table = {name: [1.0] * len(held_out) for name in COLUMNS}
    table |= {"epoch": [float(i) for i in range(1, len(held_out) + 1)], "held_out_mse": held_out}
    table["held_out_tracks_mse"] = [np.nan] * len(held_out)
    return table | {f"{kind}mouse/A$B{{": held_out for kind in GROUPED}


@pytest.mark.parametrize(("keeps", "kept"), [(False, 2.0), (True, 3.0)])
def test_the_kept_epoch_is_the_best_or_the_last_as_the_kind_keeps(keeps, kept):
    with drawing() as plt:
        figure = draw_curves(plt, history([3.0, 1.0, 2.0]), keeps_last=keeps)
        mark = next(text for text in figure.axes[0].texts if text.get_text() == "kept")
        assert mark.xy[0] == kept


def test_a_run_without_anything_held_out_has_curves():
    with drawing() as plt:
        figure = draw_curves(plt, history([np.nan]))
        assert figure.axes[0].get_lines()[0].get_label() == "training"


def test_which_weights_a_model_keeps(trained, tmp_path):
    assert not keeps_last(trained.folder)
    (tmp_path / "model.json").write_text(json.dumps({"settings": 1}))
    assert not keeps_last(tmp_path)
