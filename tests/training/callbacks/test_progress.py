import time

from epixs.training.callbacks import ProgressReport, progress


def test_reports_within_epochs_and_after_them(sampler, monkeypatch):
    monkeypatch.setattr(progress, "REPORT_SECONDS", -1.0)
    found, steps = [], sampler.steps_per_epoch
    callback = ProgressReport(found.append, sampler, 3, deadline=time.monotonic() + 1e-3)
    callback.set_params({"steps": steps})
    for epoch in range(2):
        callback.on_epoch_begin(epoch)
        for step in range(steps):
            callback.on_train_batch_end(step, {"loss": 1.0, "error": 0.5})
        callback.on_epoch_end(epoch, {"loss": 1.0, "held_out_mse": 0.25})
    assert [(r.epoch, r.step) for r in found] == [(e + 1, s + 1) for e in range(2) for s in range(steps)]
    assert {(r.epochs, r.steps_per_epoch) for r in found} == {(3, steps)}
    assert (found[0].loss, found[-1].loss, found[-1].held_out_mse) == (0.5, 1.0, 0.25)
    assert all(r.seconds_left <= 1e-3 for r in found)  # never beyond the deadline


def test_time_left_is_judged_by_the_steps_of_this_run_alone(sampler, monkeypatch):
    found, steps = [], sampler.steps_per_epoch
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    callback = ProgressReport(found.append, sampler, 10)
    callback.set_params({"steps": steps})
    callback.on_epoch_begin(8)  # eight epochs were made by a run that was interrupted
    for step in range(steps):
        callback.on_train_batch_end(step, {"loss": 1.0})
    now[0] += 60.0
    callback.on_epoch_end(8, {"loss": 1.0})
    assert found[-1].seconds_left == 60.0
