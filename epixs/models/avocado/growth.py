"""Copy a trained model into a larger one, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis
from epixs.models.folder import TrainedModel


def copy_known(model: Any, axis: JointAxis, known: TrainedModel) -> None:
    """Copy all weights of the old model into a new one; new labels begin at the mean of the old ones."""
    old = known.model
    for new_table, old_table, rows in (
        (model.biosample.table, old.biosample.table, _biosample_rows(axis, known)),
        (model.assay.table, old.assay.table, axis.assay_index(known.axis.assays)),
    ):
        before = old_table.numpy()
        values = np.tile(before.mean(axis=0), (new_table.shape[0], 1))
        values[rows] = before
        new_table.assign(values)
    for new_table, old_table in zip(model.genome.tables, old.genome.tables, strict=True):
        values = new_table.numpy()
        values[: old_table.shape[0]] = old_table.numpy()  # a new species comes last
        new_table.assign(values)
    for new_layer, old_layer in zip(_layers(model), _layers(old), strict=True):
        new_layer.assign(old_layer)


def freeze_known(model: Any, axis: JointAxis, known: TrainedModel) -> None:
    """Freeze all weights of a model except the new ones."""
    for variable in _layers(model):
        variable.trainable = False
    for layer, rows in (
        (model.biosample, _biosample_rows(axis, known)),
        (model.assay, axis.assay_index(known.axis.assays)),
    ):
        if rows.size == layer.n_labels:
            layer.table.trainable = False
        else:
            layer.freeze(rows)
    if axis.species == known.axis.species:
        for table in model.genome.tables:
            table.trainable = False
    model.settings["detached_assays"] = []  # it protects layers that are frozen here


def _biosample_rows(axis: JointAxis, known: TrainedModel) -> npt.NDArray[np.int32]:
    """Return the numbers of the old biosamples on the new axis."""
    parts = known.axis.parts
    return np.concatenate([axis.biosample_index(part.species, part.biosamples) for part in parts])


def _layers(model: Any) -> list[Any]:
    """List the weights of layers and projections: all that are not factors."""
    return [
        variable for name, variable in model.shared_weights().items() if name not in ("biosample", "assay")
    ]
