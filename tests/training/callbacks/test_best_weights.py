import pytest

from epixs.errors import TrainingError
from epixs.models.description import read_description
from epixs.models.folder import open_model
from epixs.training.callbacks import BestWeights


def run(callback, errors, told):
    callback.set_model(told)
    for epoch, error in enumerate(errors):
        callback.on_epoch_end(epoch, {"held_out_mse": error})
        if told.stop_training:
            return epoch
    return None


def test_each_better_epoch_is_saved_with_its_scores(told):
    saved = []
    best = BestWeights(saved.append)
    assert run(best, [3.0, 2.0, float("nan"), 2.0, 1.0], told) is None
    assert saved == [
        {"held_out_mse": error, "best_epoch": epoch, "epochs": epoch}
        for epoch, error in ((1, 3.0), (2, 2.0), (5, 1.0))
    ]
    assert (best.best, best.best_epoch, best.worse) == (1.0, 4, 0)


def test_patience_counts_epochs_since_the_best(told):
    best = BestWeights(lambda scores: None, patience=2)
    assert run(best, [3.0, 4.0, 2.0, 2.5, 2.0, 1.0], told) == 4
    assert best.has_stopped


def test_an_error_that_nobody_measures_is_named(told):
    best = BestWeights(lambda scores: None, monitor="val_loss")
    with pytest.raises(TrainingError, match="BestWeights; got val_loss; expected held_out_mse"):
        run(best, [1.0], told)


def test_the_folder_is_one_that_every_verb_takes(make_model, axis, tmp_path):
    model = make_model()
    best = BestWeights(tmp_path / "new" / "m", monitor="val_loss")
    best.set_model(model)
    best.on_epoch_end(0, {"val_loss": 0.5})
    assert open_model(tmp_path / "new" / "m").axis.species == axis.species
    assert read_description(tmp_path / "new" / "m").scores["held_out_mse"] == 0.5
