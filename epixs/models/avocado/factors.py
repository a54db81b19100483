"""Keras layers that hold the factors and project them into the first hidden layer.

Weights are float32 under any global policy of Keras (`autocast=False`): under a mixed policy Keras would cast
a whole table of factors at every step, to look up a few of its rows. `precision` is that of the products.

The reference model concatenates biosample, assay and genome factors and multiplies them by one matrix W.
Here each layer keeps its part of W and multiplies its own factors:
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
"""Number of rows up to which a gradient is summed by row faster as a product with one-hot rows."""


def first_layer_range(fan_in: int, fan_out: int) -> Any:
    """Make the Glorot-uniform initialiser of the whole first layer, for one of its parts."""
    limit = (6.0 / (fan_in + fan_out)) ** 0.5
    return keras.initializers.RandomUniform(-limit, limit)


def look_up(table: Any, index: Any) -> Any:
    """Look up rows of a small table: `(n_rows, units)`, `(N,)` -> `(N, units)`; the gradient is dense."""
    return tf.ensure_shape(_look_up(table, index), (None, table.shape[-1]))


# TensorFlow keeps a custom gradient, its graph and that graph's variables for ever. In a `tf.function` of its
# own, traced once per kind of table, that graph is not the graph of a whole model.
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
        Length of each label's factor vector.
    units
        Width of the first hidden layer.
    fan_in
        Length of all concatenated factors, which sets the initial scale.

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
        """Keep some labels bit for bit as they are in training; `.keras` files do not record this."""
        self._free = ~np.isin(np.arange(self.n_labels), labels)[:, None]

    def build(self, input_shape: Any) -> None:
        """Make the factor table, and the table's part of the first layer."""
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
        """Project the whole (small) table, then look up the labels."""
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
        Share of a position's factors that training sets to 0, rounded to a multiple of 1/256.
    precision
        Precision of the projection, `"float32"` or `"bfloat16"`.

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
        """Make the three tables, and their part of the first layer."""
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
        """Look up the positions' factors and project them."""
        rows = [tf.gather(table.value, position[:, scale]) for scale, table in enumerate(self.tables)]
        factors = tf.concat(rows, axis=1)
        if training and self.seeds is not None:
            factors *= self._kept(tf.shape(factors))
        return self.project(factors)

    def _kept(self, shape: Any) -> Any:
        """Draw multipliers from one byte per factor: 0 if dropped, else the number that keeps the mean."""
        count, dropped = tf.reduce_prod(shape), min(round(256 * self.dropout), 255)
        size = ((count + 3) // 4,)
        words = tf.random.stateless_uniform(
            size, self.seeds.next(), minval=None, maxval=None, dtype=tf.uint32
        )
        bits = tf.reshape(tf.bitcast(words, tf.uint8), (-1,))[:count]
        return tf.cast(tf.reshape(bits, shape) >= dropped, tf.float32) * (256 / (256 - dropped))

    def project(self, factors: Any) -> Any:
        """Project factors, with the scales side by side, into the first hidden layer."""
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
