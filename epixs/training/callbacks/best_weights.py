"""Keep the best weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from epixs.errors import TrainingError
from epixs.models.backend import keras
from epixs.models.folder import as_trained, write_model

SCORES = ("held_out_mse", "held_out_tracks_mse")


class BestWeights(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Save the model after each epoch with a new lowest error; stop when the error no longer falls.

    Parameters
    ----------
    save
        Folder for the model, as `epixs.save_model` writes it; or a function that saves it, called with the
        scores.
    monitor
        Name of the deciding error in the epoch's logs: `held_out_mse` of `HeldOutScores`, or Keras's
        `val_loss`.
    patience
        Epochs without a new lowest error after which training stops; 0 never stops it.
    keep_last
        Keep the weights of the last epoch instead, if held-out errors are too noisy to choose by.
    due
        Tells of an epoch whether the model may be saved after it; by default after every one.
    """

    def __init__(
        self,
        save: str | Path | Callable[[dict[str, float]], Any],
        *,
        monitor: str = "held_out_mse",
        patience: int = 0,
        keep_last: bool = False,
        due: Callable[[int], bool] = lambda epoch: True,
    ) -> None:
        super().__init__()
        self.save, self.monitor, self.patience, self.keep_last = save, monitor, patience, keep_last
        self.due = due
        self.best, self.best_epoch, self.worse = float("inf"), -1, 0

    @property
    def has_stopped(self) -> bool:
        """Whether `patience` has run out."""
        return bool(self.patience) and self.worse >= self.patience

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Save the model if the error is a new lowest one; stop if `patience` has run out."""
        logs = logs or {}
        if self.monitor not in logs:
            raise TrainingError("monitor of BestWeights", got=self.monitor, expected=", ".join(logs))
        if not self.due(epoch):
            return
        value = logs[self.monitor]
        if value < self.best or (
            self.keep_last and np.isfinite(value)
        ):  # the folder holds a usable model from the first epoch on
            self.best, self.best_epoch, self.worse = value, epoch, 0
            scores = {name: logs[name] for name in SCORES if name in logs} or {"held_out_mse": value}
            self._save(scores | {"best_epoch": epoch + 1, "epochs": epoch + 1})
        else:
            self.worse += 1
        if self.has_stopped:
            self.model.stop_training = True

    def _save(self, scores: dict[str, float]) -> None:
        if callable(self.save):
            self.save(scores)
            return
        trained = as_trained(self.model)
        Path(self.save).mkdir(parents=True, exist_ok=True)
        write_model(Path(self.save), self.model, trained.axis, trained.settings, scores)
