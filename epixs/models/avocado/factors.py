"""Keras layers that hold the factors and project them into the first hidden layer.

Weights are float32 whatever Keras's global policy says (`autocast=False`): under a mixed policy Keras would
cast a whole table of factors at every step, to look up a few of its rows. `precision` says what multiplies.

The reference model concatenates biosample, assay and genome factors and multiplies by one matrix W.
Here W is kept in parts and each part is multiplied where its factors live:
`W.concat(b, a, g) = Wb.b + Wa.a + Wg.g`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from epixs.models.backend import keras

INITIAL_RANGE = 0.05
"""All factors start uniform in +-0.05, as in the reference model."""

FEW_ROWS = 128
"""Up to so many rows, summing a gradient by row is faster as a product with one-hot rows."""


def first_layer_range(fan_in: int, fan_out: int) -> Any:
    """Glorot-uniform initialiser of the whole first layer, for one of its parts."""
    limit = (6.0 / (fan_in + fan_out)) ** 0.5
    return keras.initializers.RandomUniform(-limit, limit)


def look_up(table: Any, index: Any) -> Any:
    """Rows of a small table: `(n_rows, units)`, `(N,)` -> `(N, units)`; its gradient is dense."""
    return tf.ensure_shape(_look_up(table, index), (None, table.shape[-1]))


# TensorFlow never forgets a custom gradient, nor the graph that it lies in, nor that graph's variables. In a
# function of its own, made once for each kind of table, that is not the graph of a whole model.
@tf.function(reduce_retracing=True, autograph=False)  # type: ignore[misc, unused-ignore]
@tf.custom_gradient  # type: ignore[misc, unused-ignore]
def _look_up(table: Any, index: Any) -> Any:
    def gradient(upstream: Any) -> tuple[Any, None]:
        n_rows = tf.shape(table)[0]

        def by_product() -> Any:
            return tf.matmul(tf.one_hot(index, n_rows, dtype=upstream.dtype), upstream, transpose_a=True)

        def by_sum() -> Any:
            summed = tf.math.unsorted_segment_sum(tf.cast(upstream, tf.float32), index, n_rows)
            return tf.cast(summed, upstream.dtype)

        return tf.cond(n_rows <= FEW_ROWS, by_product, by_sum), None

    return tf.gather(table, index), gradient


@keras.saving.register_keras_serializable(package="epixs")
class LabelFactors(keras.layers.Layer):
    """Factors of biosamples or assays, projected once per label and then looked up.

    Parameters
    ----------
    n_labels
        Number of biosamples or assays.
    n_factors
        Length of each one's factor vector.
    units
        Width of the first hidden layer.
    fan_in
        Length of the whole concatenation, which sets the initial scale.

    Shapes
    ------
    int32 `(P, E)` -> `(P, E, units)`.
    """

    def __init__(self, n_labels: int, n_factors: int, units: int, fan_in: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_jit = True
        self.n_labels, self.n_factors, self.units, self.fan_in = n_labels, n_factors, units, fan_in
        self._free: npt.NDArray[np.bool_] | None = None

    def freeze(self, labels: npt.NDArray[np.int32]) -> None:
        """Leave some labels as they are in training, to the bit; not kept in `.keras` files."""
        self._free = ~np.isin(np.arange(self.n_labels), labels)[:, None]

    def build(self, input_shape: Any) -> None:
        """Make the factor table and its part of the first layer."""
        uniform = keras.initializers.RandomUniform(-INITIAL_RANGE, INITIAL_RANGE)
        self.table = self.add_weight(
            name="factors", shape=(self.n_labels, self.n_factors), initializer=uniform, autocast=False
        )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.n_factors, self.units),
            initializer=first_layer_range(self.fan_in, self.units),
            autocast=False,
        )

    def call(self, labels: Any) -> Any:
        """Project the whole (small) table and look the labels up."""
        table = self.table.value
        if self._free is not None:
            table = tf.where(self._free, table, tf.stop_gradient(table))
        projected = tf.matmul(table, self.kernel)
        return tf.gather(projected, labels)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return dict(super().get_config()) | {
            "n_labels": self.n_labels,
            "n_factors": self.n_factors,
            "units": self.units,
            "fan_in": self.fan_in,
        }


@keras.saving.register_keras_serializable(package="epixs")
class GenomeFactors(keras.layers.Layer):
    """Factors of 25 bp, 250 bp and 5 kbp positions, projected once per position.

    Parameters
    ----------
    n_positions
        Number of positions at each scale.
    n_factors
        Length of the factor vector at each scale.
    units, fan_in
        As in `LabelFactors`.
    dropout
        Share of a position's factors that training sets to 0, to the nearest of 1/256.
    precision
        Of the projection, `"float32"` or `"bfloat16"`.

    Shapes
    ------
    int32 `(P, 3)` -> `(P, units)`.
    """

    def __init__(
        self,
        n_positions: tuple[int, int, int],
        n_factors: tuple[int, int, int],
        units: int,
        fan_in: int,
        dropout: float = 0.0,
        precision: str = "float32",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_jit = True
        self.n_positions, self.n_factors = tuple(n_positions), tuple(n_factors)
        self.units, self.fan_in, self.dropout, self.precision = units, fan_in, dropout, precision
        self.seeds: Any = keras.random.SeedGenerator() if dropout else None

    def build(self, input_shape: Any) -> None:
        """Make the three tables and their part of the first layer."""
        uniform = keras.initializers.RandomUniform(-INITIAL_RANGE, INITIAL_RANGE)
        self.tables = [
            self.add_weight(name=f"factors_{scale}", shape=(rows, width), initializer=uniform, autocast=False)
            for scale, rows, width in zip(
                ("25bp", "250bp", "5kbp"), self.n_positions, self.n_factors, strict=True
            )
        ]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(sum(self.n_factors), self.units),
            initializer=first_layer_range(self.fan_in, self.units),
            autocast=False,
        )

    def call(self, position: Any, training: bool = False) -> Any:
        """Look the positions up and project them."""
        found = [tf.gather(table.value, position[:, scale]) for scale, table in enumerate(self.tables)]
        factors = tf.concat(found, axis=1)
        if training and self.seeds is not None:
            factors *= self._kept(tf.shape(factors))
        return self.project(factors)

    def _kept(self, shape: Any) -> Any:
        """0 for a factor that is dropped, else what keeps the mean; from a random byte for each."""
        count, dropped = tf.reduce_prod(shape), min(round(256 * self.dropout), 255)
        size = ((count + 3) // 4,)
        words = tf.random.stateless_uniform(
            size, self.seeds.next(), minval=None, maxval=None, dtype=tf.uint32
        )
        bits = tf.reshape(tf.bitcast(words, tf.uint8), (-1,))[:count]
        return tf.cast(tf.reshape(bits, shape) >= dropped, tf.float32) * (256 / (256 - dropped))

    def project(self, factors: Any) -> Any:
        """Project factors of all scales, one after the other, into the first hidden layer."""
        return tf.matmul(tf.cast(factors, self.precision), tf.cast(self.kernel, self.precision))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return dict(super().get_config()) | {
            "n_positions": list(self.n_positions),
            "n_factors": list(self.n_factors),
            "units": self.units,
            "fan_in": self.fan_in,
            "dropout": self.dropout,
            "precision": self.precision,
        }
