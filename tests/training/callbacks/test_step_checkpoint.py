"""Checkpoints in a fit of one's own; those of `epixs.train` are in tests/training/test_checkpoint.py."""

import re
import threading
from pathlib import Path

import keras
import numpy as np
import pytest

from epixs.compendium.read import open_compendium
from epixs.errors import TrainingError
from epixs.models.folder import open_model
from epixs.training.callbacks import BestWeights, HeldOutScores, History, StepCheckpoint
from epixs.training.dataset import training_dataset
from epixs.training.history import read_history

EPOCHS = 3


def fit(model, sampler, folder, *, interrupt_at=None, identity=None):
    """A script of one's own, which is interrupted after some steps."""
    pressed = threading.Event()

    class Press(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if int(self.model.optimizer.iterations) + 1 == interrupt_at:
                pressed.set()

    history, best = History(folder, sampler), BestWeights(folder)
    checkpoint = StepCheckpoint(
        folder, sampler.steps_per_epoch, history=history, best=best, identity=identity, interrupted=pressed
    )
    spans = []
    for first, stop, skipped in checkpoint.spans(model, EPOCHS):
        spans.append((first, stop, skipped))
        model.fit(
            training_dataset(sampler, first_epoch=first, first_step=skipped),
            steps_per_epoch=sampler.steps_per_epoch - skipped,
            initial_epoch=first,
            epochs=stop,
            callbacks=[Press(), HeldOutScores(sampler), history, best, checkpoint],
            shuffle=False,
            verbose=0,
        )
    checkpoint.forget()
    return spans, best


def test_a_fit_interrupted_in_the_middle_of_an_epoch_goes_on_as_if_nothing_had_happened(
    make_model, sampler, tmp_path
):
    steps = sampler.steps_per_epoch
    whole = make_model()
    assert fit(whole, sampler, tmp_path / "whole")[0] == [(0, EPOCHS, 0)]
    with pytest.raises(KeyboardInterrupt):
        fit(make_model(), sampler, tmp_path / "m", interrupt_at=steps + 3, identity={"a": 1})
    with pytest.raises(TrainingError, match="of another run: a; got a 2; expected a 1"):
        fit(make_model(), sampler, tmp_path / "m", identity={"a": 2})
    resumed = make_model()
    spans, best = fit(resumed, sampler, tmp_path / "m", identity={"a": 1})
    assert spans == [(1, 2, 3), (2, EPOCHS, 0)]
    assert int(resumed.optimizer.iterations) == EPOCHS * steps
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    mine, theirs = (read_history(tmp_path / name)["held_out_mse"] for name in ("m", "whole"))
    np.testing.assert_allclose(mine, theirs, rtol=1e-4)
    assert best.best == min(mine)
    assert not list((tmp_path / "m").glob("*checkpoint*"))


@pytest.mark.slow
def test_the_examples_of_the_documents_run(axis, tmp_path, monkeypatch):
    text = (Path(__file__).parents[3] / "docs" / "training.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text.split("## A fit of one's own")[1], re.S)
    assert len(blocks) == 3
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mouse.zarr").symlink_to(axis.parts[0].source)
    scope = {}
    for code in blocks:
        exec(
            compile(code.replace("steps_per_epoch=100", "steps_per_epoch=2"), "docs/training.md", "exec"),
            scope,
        )
    history = read_history(tmp_path / "mine")
    assert history["epoch"] == [1, 2, 3]
    for folder, kind in (("mine", "avocado"), ("fitted", "context")):
        trained = open_model(tmp_path / folder)
        assert (trained.axis.species, trained.settings.kind) == (("mouse",), kind)
    assert open_compendium(tmp_path / "mine.imputed.zarr").sizes["experiment"] > 0
