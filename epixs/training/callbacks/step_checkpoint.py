"""Save the whole state of training at intervals, so that it can resume from any step."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from epixs.training.callbacks.best_weights import BestWeights
from epixs.training.callbacks.history import History
from epixs.training.callbacks.steps import StepCallback
from epixs.training.checkpoint import (
    RunState,
    forget_checkpoint,
    mark_begun,
    read_state,
    restore,
    save_checkpoint,
)


class StepCheckpoint(StepCallback):
    """Save weights, moments and step every few minutes; the same script, run again, resumes there.

    Parameters
    ----------
    folder
        Where `checkpoint.npz` is written.
    steps_per_epoch
        Steps of a whole epoch.
    minutes
        Time between two checkpoints; 0 saves one after every step.
    history, best
        Callbacks, before this one in the list, whose state is saved too.
    identity
        Values, by name, that a run which resumes this one must have as well; JSON must be able to hold them.
    total_steps, precision
        Stored for the run that resumes this one.
    interrupted
        Event after which the next step saves a checkpoint and raises KeyboardInterrupt.
    """

    def __init__(
        self,
        folder: str | Path,
        steps_per_epoch: int,
        *,
        minutes: float = 10.0,
        history: History | None = None,
        best: BestWeights | None = None,
        identity: dict[str, Any] | None = None,
        total_steps: int = 1,
        precision: str = "float32",
        interrupted: threading.Event | None = None,
    ) -> None:
        super().__init__(steps_per_epoch)
        self.folder, self.seconds_between = Path(folder), 60 * minutes
        self.history, self.best, self.identity = history, best, identity or {}
        self.total_steps, self.precision = total_steps, precision
        self.interrupted = interrupted or threading.Event()
        self._saved = time.monotonic()

    def spans(self, model: Any, epochs: int) -> Iterator[tuple[int, int, int]]:
        """Yield what is left to fit: epochs `[first, stop)`, and the number of steps to skip in the first.

        The rest of an interrupted epoch is a span of its own, because all epochs of one `fit` of Keras have
        the same number of steps. The model must be compiled; it gets the checkpoint's state.
        """
        state = read_state(self.folder, self.identity)
        mark_begun(self.folder, self.identity)
        first = 0
        if state is not None:
            self._go_on(model, state)
            first = state.epoch
            if state.step:
                yield first, first + 1, state.step
                if model.stop_training:
                    return
                first += 1
        if first < epochs:
            yield first, epochs, 0

    def _go_on(self, model: Any, state: RunState) -> None:
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        restore(self.folder, model)
        if self.history is not None:
            self.history.go_on(state.history, state.seconds)
        if self.best is not None:
            self.best.best, self.best.best_epoch, self.best.worse = state.best, state.best_epoch, state.worse
        self._saved = time.monotonic()

    def forget(self) -> None:
        """Delete the checkpoint, once training has ended."""
        forget_checkpoint(self.folder)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Save within an epoch; the state after its last step is saved once the epoch is scored."""
        super().on_train_batch_end(batch, logs)
        if self.step == self.steps_per_epoch:
            return
        if self.interrupted.is_set():
            self._save(self.epoch, self.step)
            raise KeyboardInterrupt
        if self._is_due():
            self._save(self.epoch, self.step)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Save between epochs."""
        if self._is_due():
            self._save(epoch + 1, 0)

    def _is_due(self) -> bool:
        return time.monotonic() - self._saved >= self.seconds_between

    def _save(self, epoch: int, step: int) -> None:
        history, best = self.history, self.best
        self.folder.mkdir(parents=True, exist_ok=True)
        state = RunState(
            epoch,
            step,
            self.total_steps,
            history.rows if history else [],
            best.best if best else float("inf"),
            best.best_epoch if best else -1,
            best.worse if best else 0,
            history.seconds if history else 0.0,
            self.precision,
        )
        save_checkpoint(self.folder, self.model, self.identity, state)
        self._saved = time.monotonic()
