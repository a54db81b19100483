"""tf.data over a sampler: what `model.fit` reads."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import tensorflow as tf

from epixs.errors import TrainingError
from epixs.sampling import Batch, BatchSampler

MOST_BYTES = 1 << 28
"""Inputs of held-out entries that are predicted at once, at most."""


def training_dataset(sampler: BatchSampler, *, first_epoch: int = 0, first_step: int = 0) -> Any:
    """Endless stream of training batches, epoch after epoch.

    Parameters
    ----------
    sampler
        What to draw from.
    first_epoch, first_step
        Where to start; the batches are the same wherever one starts.

    Returns
    -------
    A `tf.data.Dataset` of `(inputs, value, weight)`: `inputs` a dict of what the model reads, of a `Sampler`
    int32 `position` `(P, 3)`, `biosample` `(P, E)` and `assay` `(P, E)`; `value` float32 `(P, E, 1)` and
    `weight` float32 `(P, E)`.

    Examples
    --------
    >>> data = training_dataset(sampler)  # doctest: +SKIP
    >>> model.fit(data, steps_per_epoch=sampler.steps_per_epoch, shuffle=False)  # doctest: +SKIP
    """
    entries = (sampler.positions_per_step, sampler.experiments_per_position)
    steps, specs = sampler.steps_per_epoch, sampler.input_specs
    found = weakref.ref(sampler)  # TensorFlow never forgets a function that a dataset has called

    def read(counter: np.int64) -> tuple[np.ndarray[Any, Any], ...]:
        epoch, step = divmod(int(counter), steps)
        drawing = found()
        if drawing is None:
            raise TrainingError("the sampler of this dataset is gone", next_step="keep it while training")
        batch = drawing.batch(epoch, step)
        return (*(batch.inputs[name] for name in specs), batch.value, batch.weight)

    # On Python 3.13, AutoGraph warns that it cannot convert this, and keeps it, and so the sampler.
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
    """Finite dataset of held-out entries, as `validation_data` of `model.fit`."""
    return dataset_of(sampler.held_out_entries(count), batch_size=batch_size)


def dataset_of(batch: Batch, *, batch_size: int = 20_000) -> Any:
    """Finite dataset of the entries of one batch, so many at a time, or fewer if their inputs are large."""
    row = sum(values[:1].nbytes for values in batch.inputs.values())
    batch_size = max(1, min(batch_size, MOST_BYTES // max(1, row)))
    data = tf.data.Dataset.from_tensor_slices((dict(batch.inputs), batch.value[..., None], batch.weight))
    return _untuned(data.batch(batch_size).prefetch(2))


def _untuned(data: Any) -> Any:
    """The same without tf.data's tuning thread.

    There is nothing for it to tune, and at times it misses that the iterator has ended: `fit` then waits for
    the thread's next turn, up to a minute.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)
