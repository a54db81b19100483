"""Score held-out entries after each epoch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis
from epixs.models.backend import keras
from epixs.sampling import BatchSampler
from epixs.training.held_out import HeldOut, history_columns, with_baselines
from epixs.training.verdict import GroupError

ENTRIES = (5_000, 200_000)
SHARE = 0.2
"""Ratio of held-out entries scored after an epoch to positions trained on in it, within `ENTRIES`."""


class HeldOutScores(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Add the errors on held-out entries to an epoch's logs, for the callbacks after this one.

    `held_out_mse` is over held-out blocks, `held_out_tracks_mse` over experiments that are held out whole, if
    there are any. The errors by species and assay, `held_out_mse/SPECIES/ASSAY`, stand beside those of
    average activity and of the mean (`epixs.training.held_out`).

    Parameters
    ----------
    sampler
        The sampler that draws the batches; its held-out entries are scored.
    known
        Axis of all training experiments, if only some are fitted; the baselines use them all.
    """

    def __init__(self, sampler: BatchSampler, known: JointAxis | None = None) -> None:
        super().__init__()
        count = int(np.clip(SHARE * sampler.n_positions, *ENTRIES))
        self.held_out = with_baselines(sampler.axis, sampler.held_out_entries(count), sampler.seed, known)
        self.tracks: HeldOut | None = None
        if sampler.axis.n_held_out:
            self.tracks = with_baselines(sampler.axis, sampler.held_out_tracks(count), sampler.seed)

    @property
    def monitor(self) -> str:
        """Name of the error by which the best weights are chosen."""
        return "held_out_mse" if self.tracks is None else "held_out_tracks_mse"

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Predict the held-out entries and log the errors."""
        logs = {} if logs is None else logs
        predicted, compared = self._predict(self.held_out), self.held_out
        logs["held_out_mse"] = self.held_out.mse(predicted)
        if self.tracks is not None:
            predicted, compared = self._predict(self.tracks), self.tracks
            logs["held_out_tracks_mse"] = self.tracks.mse(predicted)
        logs |= history_columns(compared.errors(predicted))

    def errors_of(self, row: dict[str, float]) -> list[GroupError]:
        """Read errors by species and assay, and those of the baselines, from a row of the history."""
        return (self.tracks or self.held_out).errors_of(row)

    def _predict(self, entries: HeldOut) -> npt.NDArray[np.float32]:
        values = self.model.predict(entries.dataset, verbose=0)
        return np.asarray(values, dtype=np.float32).reshape(-1)
