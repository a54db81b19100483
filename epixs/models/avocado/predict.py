"""Predict bins x pairs of one species, in blocks that bound the memory of the activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from epixs.catalog.pairs import Pair
from epixs.models.folder import TrainedModel
from epixs.models.kinds import Predict

ACTIVATION_VALUES = 1 << 24
"""Maximum number of activations of the widest layer that are computed at once: 64 MiB of float32."""

_LABELS = tf.TensorSpec((1, None), tf.int32)


def predictor(trained: TrainedModel, pairs: Sequence[Pair], factors: Any = None) -> Predict:
    """Prepare to predict pairs of one species, from the model's genome factors or those of a store.

    `factors` is a `FactorStore`, or None for the model's own.
    """
    species = pairs[0][0]
    axis, model, settings = trained.axis, trained.model, trained.settings.model
    part, offset = axis.part(species), axis.offsets(species)
    biosamples = axis.biosample_index(species, [pair[1] for pair in pairs])
    assays = axis.assay_index([pair[2] for pair in pairs])

    def call(position: Any, biosample: Any, assay: Any) -> Any:
        return model({"position": position, "biosample": biosample, "assay": assay}, training=False)

    def decode(values: Any, biosample: Any, assay: Any) -> Any:
        return model.decode(model.genome.project(values)[:, None, :], biosample, assay)

    first_input = (
        tf.TensorSpec((None, 3), tf.int32)
        if factors is None
        else tf.TensorSpec((None, sum(settings.genome_factors)), tf.float32)
    )
    forward = tf.function(
        call if factors is None else decode, input_signature=[first_input, _LABELS, _LABELS], autograph=False
    )

    def predict(start: int, stop: int, rows: slice) -> npt.NDArray[np.float32]:
        biosample, assay = biosamples[None, rows], assays[None, rows]
        block = max(256, ACTIVATION_VALUES // (max(settings.hidden) * biosample.shape[1]))
        blocks = []
        for first in range(start, stop, block):
            last = min(stop, first + block)
            if factors is None:
                genome = part.positions(np.arange(first, last)) + offset
            else:
                genome = factors.read(first, last)
            blocks.append(forward(genome, biosample, assay).numpy()[..., 0])
        return np.concatenate(blocks).T

    return predict
