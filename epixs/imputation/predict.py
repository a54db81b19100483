"""Bins x pairs of one species, predicted in blocks that bound the memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from epixs.catalog.pairs import Pair
from epixs.compendium.transform import quantise
from epixs.factors.store import FactorStore
from epixs.models.folder import TrainedModel

ACTIVATION_VALUES = 1 << 24
"""Activations of the widest layer computed at once: 64 MiB of float32."""


class Predictor:
    """Predicts bins x pairs of one species, in blocks that bound the memory of the activations.

    Parameters
    ----------
    trained
        The model.
    pairs
        What to predict, all of one species.
    factors
        Genome factors that were fitted apart, of other regions; else the model's own.
    """

    def __init__(
        self, trained: TrainedModel, pairs: Sequence[Pair], factors: FactorStore | None = None
    ) -> None:
        species = pairs[0][0]
        axis = trained.axis
        self.part, self.offset, self.factors = axis.part(species), axis.offsets(species), factors
        self.biosample = axis.biosample_index(species, [pair[1] for pair in pairs])
        self.assay = axis.assay_index([pair[2] for pair in pairs])
        self.low = np.array([trained.bounds[pair[2]][0] for pair in pairs], dtype=np.float32)
        self.high = np.array([trained.bounds[pair[2]][1] for pair in pairs], dtype=np.float32)
        self._widest = max(trained.config.hidden)
        model = trained.model

        @tf.function(
            input_signature=[
                tf.TensorSpec((None, 3), tf.int32),
                tf.TensorSpec((1, None), tf.int32),
                tf.TensorSpec((1, None), tf.int32),
            ],
            autograph=False,
        )
        def forward(position: Any, biosample: Any, assay: Any) -> Any:
            return model({"position": position, "biosample": biosample, "assay": assay}, training=False)

        @tf.function(
            input_signature=[
                tf.TensorSpec((None, sum(trained.config.genome_factors)), tf.float32),
                tf.TensorSpec((1, None), tf.int32),
                tf.TensorSpec((1, None), tf.int32),
            ],
            autograph=False,
        )
        def forward_factors(values: Any, biosample: Any, assay: Any) -> Any:
            return model.decode(model.genome.project(values)[:, None, :], biosample, assay)

        self._forward, self._forward_factors = forward, forward_factors

    def predict(self, start: int, stop: int, rows: slice = slice(None)) -> npt.NDArray[np.float32]:
        """Predict bins `[start, stop)` of the species for some of the pairs, shape `(pair, bin)`.

        Arcsinh units, bounded by what each assay has shown in training (the inverse, sinh, turns a
        prediction a little too high into one that is absurd).
        """
        biosample, assay = self.biosample[None, rows], self.assay[None, rows]
        block = max(256, ACTIVATION_VALUES // (self._widest * biosample.shape[1]))
        parts = []
        for first in range(start, stop, block):
            last = min(stop, first + block)
            if self.factors is not None:
                found = self._forward_factors(self.factors.read(first, last), biosample, assay)
            else:
                position = self.part.positions(np.arange(first, last)) + self.offset
                found = self._forward(position, biosample, assay)
            parts.append(found.numpy()[..., 0])
        values = np.concatenate(parts).T
        return quantise(np.clip(values, self.low[rows, None], self.high[rows, None]))
