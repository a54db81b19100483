"""A kind of model of a few lines: a linear model on the assays observed in the biosample at a bin.

It has no factors per position, reads a store when it imputes, and has a sampler of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import keras
import numpy as np

from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.compendium.read import open_signal
from epixs.config import POSITIVE, ModelSettings, TrainingSettings
from epixs.models.kinds import Kind
from epixs.models.stores import observed_in
from epixs.sampling import InputSpec, Sampler


@dataclass(frozen=True)
class LinearSettings(ModelSettings):
    kind: ClassVar[str] = "linear"

    scale: Annotated[float, POSITIVE] = 1.0


def observed(axis: JointAxis, part: SpeciesAxis, start: int, stop: int) -> np.ndarray:
    """Training signal of bins `[start, stop)`: shape `(bin, biosample of the species, assay)`, 0 where none."""
    values = np.zeros((stop - start, len(part.biosamples), len(axis.assays)), np.float32)
    for row in part.training.itertuples():
        signal = np.asarray(open_signal(part.source)[row.row : row.row + 1, start:stop])[0]
        values[:, part.biosamples.index(row.biosample), axis.assays.index(row.assay)] = np.nan_to_num(signal)
    return values


class LinearSampler(Sampler):
    """Entries of the usual sampler, with what else is observed there."""

    def __init__(self, axis, **options):
        super().__init__(axis, **options)
        self.signal = [observed(axis, part, 0, part.n_positions[0]) for part in axis.parts]

    @property
    def input_specs(self):
        shape = (self.positions_per_step, self.experiments_per_position)
        return {
            "observed": InputSpec("float32", (*shape, len(self.axis.assays))), "target": InputSpec("int32", shape)
        }  # fmt: skip

    def _with_inputs(self, batch):
        seen = np.zeros((*batch.assay.shape, len(self.axis.assays)), np.float32)
        for part, signal in zip(self.axis.parts, self.signal, strict=True):
            bins = batch.position[:, 0] - self.axis.offsets(part.species)[0]
            mine = (bins >= 0) & (bins < part.n_positions[0])
            first = self.axis.biosample_index(part.species, part.biosamples)[0]
            seen[mine] = signal[bins[mine, None], batch.biosample[mine] - first]
        np.put_along_axis(seen, batch.assay[..., None], 0, axis=-1)  # not what is to be predicted
        return replace(batch, inputs={"observed": seen, "target": batch.assay})

    def batch(self, epoch, step):
        return self._with_inputs(super().batch(epoch, step))

    def held_out_entries(self, count):
        return self._with_inputs(super().held_out_entries(count))

    def held_out_tracks(self, count):
        return self._with_inputs(super().held_out_tracks(count))


class Linear(Kind):
    settings = LinearSettings
    training = TrainingSettings(learning_rate=0.01, precision="float32")
    reads_signal = True

    def build(self, axis, settings, *, precision="float32"):
        n = len(axis.assays)
        seen = keras.Input((None, n), name="observed")
        target = keras.Input((None,), dtype="int32", name="target")
        weights = keras.layers.Embedding(n, n + 1, name="weights")(target)
        value = keras.ops.sum(weights[..., :n] * seen, axis=-1, keepdims=True) + weights[..., n:]
        return keras.Model({"observed": seen, "target": target}, value * settings.model.scale, name="linear")

    def parameters(self, axis, settings):
        return len(axis.assays) * (len(axis.assays) + 1)

    def sampler(self, axis, settings, *, batch_size, signal_bytes=None):
        training = settings.training
        return LinearSampler(axis, batch_size=batch_size, held_out=training.held_out, seed=training.seed)

    def predictor(self, trained, pairs, store, factors=None):
        part, axis = observed_in(trained, store), trained.axis
        weights = trained.model.get_weights()[0][axis.assay_index([pair[2] for pair in pairs])]
        biosamples = [part.biosamples.index(pair[1]) for pair in pairs]
        targets = axis.assay_index([pair[2] for pair in pairs])

        def predict(start, stop, rows):
            seen = observed(axis, part, start, stop)[:, biosamples[rows]].transpose(1, 0, 2)
            for values, target in zip(seen, targets[rows], strict=True):
                values[:, target] = 0
            values = np.einsum("pba,pa->pb", seen, weights[rows, :-1]) + weights[rows, -1:]
            return (values * trained.settings.model.scale).astype(np.float32)

        return predict
