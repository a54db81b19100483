"""Make tf.data datasets from a sampler, for `model.fit`."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import tensorflow as tf

from epixs.errors import TrainingError
from epixs.sampling import Batch, BatchSampler

MOST_BYTES = 1 << 28
"""Maximum size of the inputs of held-out entries that are predicted at once."""


def training_dataset(sampler: BatchSampler, *, first_epoch: int = 0, first_step: int = 0) -> Any:
    """Make an endless stream of training batches, epoch after epoch.

    Parameters
    ----------
    sampler
        The sampler to draw from.
    first_epoch, first_step
        Where to start; the batch of a step does not depend on it.

    Returns
    -------
    A `tf.data.Dataset` of `(inputs, value, weight)`. `inputs` is a dict of the arrays that the model reads:
    for a `Sampler`, int32 `position` `(P, 3)`, `biosample` `(P, E)` and `assay` `(P, E)`. `value` is float32
    `(P, E, 1)` and `weight` float32 `(P, E)`.

    Examples
    --------
    >>> data = training_dataset(sampler)  # doctest: +SKIP
    >>> model.fit(data, steps_per_epoch=sampler.steps_per_epoch, shuffle=False)  # doctest: +SKIP
    """
    entries = (sampler.positions_per_step, sampler.experiments_per_position)
    steps, specs = sampler.steps_per_epoch, sampler.input_specs
    reference = weakref.ref(sampler)  # TensorFlow keeps each function that a dataset has called for ever

    def read(counter: np.int64) -> tuple[np.ndarray[Any, Any], ...]:
        epoch, step = divmod(int(counter), steps)
        drawing = reference()
        if drawing is None:
            raise TrainingError("the sampler of this dataset is gone", next_step="keep it while training")
        batch = drawing.batch(epoch, step)
        return (*(batch.inputs[name] for name in specs), batch.value, batch.weight)

    # On Python 3.13, AutoGraph warns that it cannot convert this function, and keeps it and so the sampler.
    @tf.autograph.experimental.do_not_convert  # type: ignore[misc, unused-ignore]
    def fetch(counter: Any) -> Any:
        types = [*(spec.dtype for spec in specs.values()), "float32", "float32"]
        *inputs, value, weight = tf.numpy_function(read, [counter], types, stateful=False)
        shapes = [*(spec.shape for spec in specs.values()), entries, entries]
        for tensor, shape in zip((*inputs, value, weight), shapes, strict=True):
            tensor.set_shape(shape)
        return dict(zip(specs, inputs, strict=True)), value[..., None], weight

    stream = tf.data.Dataset.counter(start=first_epoch * steps + first_step)
    data = _untuned(stream.map(fetch, num_parallel_calls=2, deterministic=True).prefetch(4))
    data.sampler = sampler
    return data


def held_out_dataset(sampler: BatchSampler, *, count: int = 200_000, batch_size: int = 20_000) -> Any:
    """Make a finite dataset of held-out entries, for `validation_data` of `model.fit`."""
    return dataset_of(sampler.held_out_entries(count), batch_size=batch_size)


def dataset_of(batch: Batch, *, batch_size: int = 20_000) -> Any:
    """Make a finite dataset of one batch's entries, `batch_size` at a time, or fewer if inputs are large."""
    row = sum(values[:1].nbytes for values in batch.inputs.values())
    batch_size = max(1, min(batch_size, MOST_BYTES // max(1, row)))
    data = tf.data.Dataset.from_tensor_slices((dict(batch.inputs), batch.value[..., None], batch.weight))
    return _untuned(data.batch(batch_size).prefetch(2))


def _untuned(data: Any) -> Any:
    """Return the dataset without tf.data's tuning thread.

    The thread has nothing to tune here. At times it misses that the iterator has ended, and `fit` then waits
    for the thread's next turn, up to a minute.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)
