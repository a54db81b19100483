"""Adam with row-wise updates of looked-up tables.

Keras 3 on TensorFlow neither sums duplicate rows of a sparse gradient before Adam nor keeps the update
sparse: a row hit 32 times in a batch moves sqrt(32) too far, and every step touches the whole table and
its moments. Here duplicate rows are summed first and only the rows of the batch are read and written.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from epixs.models.backend import keras


@keras.saving.register_keras_serializable(package="epixs")
class RowwiseAdam(keras.optimizers.Adam):
    """Adam that updates each row of a sparse gradient once, with a learning rate of its own.

    Parameters
    ----------
    learning_rate
        Learning rate of dense gradients (layers, biosamples, assays): a number or a schedule.
    row_multiplier
        Ratio of the learning rate of looked-up rows (genome factors) to `learning_rate`.
    """

    def __init__(self, learning_rate: Any = 1e-3, row_multiplier: float = 1.0, **kwargs: Any) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.row_multiplier = row_multiplier

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable: rows for a sparse gradient, all of it for a dense one."""
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        rows, inverse = tf.unique(gradient.indices)
        summed = tf.math.unsorted_segment_sum(gradient.values, inverse, tf.size(rows))
        index = self._get_variable_index(variable)
        table, momentum, velocity = (
            getattr(v, "value", v) if isinstance(v, keras.Variable) else v
            for v in (variable, self._momentums[index], self._velocities[index])
        )
        step = tf.cast(self.iterations + 1, summed.dtype)
        correction = tf.sqrt(1.0 - tf.pow(self.beta_2, step)) / (1.0 - tf.pow(self.beta_1, step))
        rate = tf.cast(learning_rate, summed.dtype) * self.row_multiplier * correction
        m = self.beta_1 * tf.gather(momentum, rows) + (1.0 - self.beta_1) * summed
        v = self.beta_2 * tf.gather(velocity, rows) + (1.0 - self.beta_2) * tf.square(summed)
        momentum.scatter_update(tf.IndexedSlices(m, rows))
        velocity.scatter_update(tf.IndexedSlices(v, rows))
        moved = tf.gather(table, rows) - rate * m / (tf.sqrt(v) + self.epsilon)
        table.scatter_update(tf.IndexedSlices(moved, rows))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return dict(super().get_config()) | {"row_multiplier": self.row_multiplier}
