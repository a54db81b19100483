import numpy as np
import pytest

from epixs.sampling import Sampler
from epixs.training.callbacks import HeldOutScores
from epixs.training.dataset import dataset_of


def test_errors_are_put_into_the_logs_for_the_callbacks_after(make_model, sampler):
    model, scores = make_model(), HeldOutScores(sampler)
    scores.set_model(model)
    logs = {"loss": 1.0}
    scores.on_epoch_end(0, logs)
    entries = sampler.held_out_entries(5_000)
    expected = model.evaluate(dataset_of(entries), verbose=0)
    assert logs["held_out_mse"] == pytest.approx(expected, rel=1e-5)
    assert scores.monitor == "held_out_mse"
    errors = {(error.species, error.assay): error for error in scores.errors_of(logs)}
    assert set(errors) == {("mouse", ""), *(("mouse", f"a{n}") for n in range(3))}
    assert logs["average_activity_mse/mouse/a1"] == errors["mouse", "a1"].average_activity


def test_tracks_held_out_whole_decide_where_there_are_any(make_model, axis):
    held_out = axis.hold_out(1, 0)
    with Sampler(held_out, batch_size=600, held_out=0.1) as sampler:
        scores = HeldOutScores(sampler)
    scores.set_model(make_model())
    logs = {}
    scores.on_epoch_end(0, logs)
    assert scores.monitor == "held_out_tracks_mse"
    part = held_out.parts[0].experiments
    row = part[part["held_out"]].iloc[0]
    assert scores.tracks is not None
    assert np.unique(scores.tracks.batch.assay).tolist() == [axis.assays.index(row["assay"])]
    assert logs["held_out_tracks_mse"] > 0
