"""Stop when the loss is NaN or infinite."""

from __future__ import annotations

import numpy as np

from epixs.axis.axis import JointAxis
from epixs.errors import TrainingError
from epixs.sampling import Batch, BatchSampler
from epixs.training.callbacks.steps import StepCallback


class StopOnNonFinite(StepCallback):
    """Raise if the loss becomes NaN or infinite, and name the experiment with the batch's largest value.

    Parameters
    ----------
    sampler
        The sampler that draws the batches.
    """

    def __init__(self, sampler: BatchSampler) -> None:
        super().__init__(sampler.steps_per_epoch)
        self.sampler = sampler

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Check the loss."""
        super().on_train_batch_end(batch, logs)
        loss = (logs or {}).get("loss", float("nan"))
        if not np.isfinite(loss):
            drawn = self.sampler.batch(self.epoch, self.step - 1)
            raise TrainingError(
                f"the loss became {loss} in epoch {self.epoch + 1}, step {self.step}",
                got=largest_entry(self.sampler.axis, drawn),
                expected="a finite loss",
                next_step="reduce learning_rate, or exclude that experiment",
            )


def largest_entry(axis: JointAxis, batch: Batch) -> str:
    """Name the entry with the largest value in a batch: most often the one that broke the loss."""
    row, column = np.unravel_index(int(np.abs(batch.value).argmax()), batch.value.shape)
    assay = axis.assays[int(batch.assay[row, column])]
    biosamples = [(part.species, name) for part in axis.parts for name in part.biosamples]
    species, biosample = biosamples[int(batch.biosample[row, column])]
    value = float(batch.value[row, column])
    return f"a batch whose largest value is {value:.2f} arcsinh units, of {species} / {biosample} / {assay}"
