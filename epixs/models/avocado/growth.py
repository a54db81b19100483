"""A larger model that takes over what a trained one knows, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis
from epixs.models.folder import TrainedModel


def copy_known(model: Any, axis: JointAxis, known: TrainedModel) -> None:
    """Give a new model what the old one knows; new labels begin at the mean of the old ones."""
    old = known.model
    for mine, theirs, rows in (
        (model.biosample.table, old.biosample.table, _biosample_rows(axis, known)),
        (model.assay.table, old.assay.table, axis.assay_index(known.axis.assays)),
    ):
        before = theirs.numpy()
        values = np.tile(before.mean(axis=0), (mine.shape[0], 1))
        values[rows] = before
        mine.assign(values)
    for mine, theirs in zip(model.genome.tables, old.genome.tables, strict=True):
        values = mine.numpy()
        values[: theirs.shape[0]] = theirs.numpy()  # a new species comes last
        mine.assign(values)
    for mine, theirs in zip(_layers(model), _layers(old), strict=True):
        mine.assign(theirs)


def freeze_known(model: Any, axis: JointAxis, known: TrainedModel) -> None:
    """Leave only what is new to be trained."""
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
    model.settings["detached_assays"] = []  # the layers that this is for are frozen


def _biosample_rows(axis: JointAxis, known: TrainedModel) -> npt.NDArray[np.int32]:
    """Where the old biosamples are among the new ones."""
    parts = known.axis.parts
    return np.concatenate([axis.biosample_index(part.species, part.biosamples) for part in parts])


def _layers(model: Any) -> list[Any]:
    """Layers and projections: all weights that are no factors."""
    return [
        variable for name, variable in model.shared_weights().items() if name not in ("biosample", "assay")
    ]
