"""Deep tensor factorization: the Keras model (Schreiber et al. 2020, Avocado; joint over species)."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from epixs.axis.axis import JointAxis
from epixs.models.avocado import optimizer as optimizer  # named in files of compiled models
from epixs.models.avocado.dense import TallDense
from epixs.models.avocado.factors import GenomeFactors, LabelFactors, look_up
from epixs.models.avocado.zero_shot import plan_zero_shot
from epixs.models.backend import keras, without_optimizer


@keras.saving.register_keras_serializable(package="epixs")
class DeepTensorFactorization(keras.Model):
    """Biosample, assay and genome factors through dense layers to one signal value.

    Parameters
    ----------
    n_biosamples, n_assays
        Labels of the joint axis.
    n_positions
        25 bp, 250 bp and 5 kbp positions of the joint axis.
    biosample_factors, assay_factors, genome_factors
        Lengths of the factor vectors.
    hidden
        Widths of the hidden layers.
    genome_dropout
        Share of a position's factors that training sets to 0.
    detached_assays
        Assays whose entries train labels and layers, but leave the genome factors and their projection alone.
    exempt_biosamples
        Biosamples whose entries do not, whatever the assay.
    precision
        Of products and activations, `"float32"` or `"bfloat16"`; weights and what comes out are float32.

    Shapes
    ------
    A dict of int32 `position` `(P, 3)`, `biosample` `(P, E)` and `assay` `(P, E)`, where `(1, E)` serves
    all positions -> float32 `(P, E, 1)`, arcsinh units.
    """

    def __init__(
        self,
        n_biosamples: int,
        n_assays: int,
        n_positions: tuple[int, int, int],
        biosample_factors: int = 32,
        assay_factors: int = 256,
        genome_factors: tuple[int, int, int] = (25, 40, 45),
        hidden: tuple[int, ...] = (2048, 2048),
        genome_dropout: float = 0.0,
        detached_assays: Sequence[int] = (),
        precision: str = "float32",
        exempt_biosamples: Sequence[int] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32"} | kwargs)
        # Labels are worked out once per experiment of a batch, whose number the data decide: XLA cannot
        # compile that. `compile` asks this where a GPU would make it choose XLA.
        self.supports_jit = False
        self.settings: dict[str, Any] = {
            "n_biosamples": n_biosamples,
            "n_assays": n_assays,
            "n_positions": list(n_positions),
            "biosample_factors": biosample_factors,
            "assay_factors": assay_factors,
            "genome_factors": list(genome_factors),
            "hidden": list(hidden),
            "genome_dropout": genome_dropout,
            "detached_assays": [int(assay) for assay in detached_assays],
            "precision": precision,
            "exempt_biosamples": [int(biosample) for biosample in exempt_biosamples],
        }
        policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"
        fan_in = biosample_factors + assay_factors + sum(genome_factors)
        units = hidden[0]
        self.biosample = LabelFactors(n_biosamples, biosample_factors, units, fan_in, name="biosample")
        self.assay = LabelFactors(n_assays, assay_factors, units, fan_in, name="assay")
        self.genome = GenomeFactors(
            n_positions, genome_factors, units, fan_in, genome_dropout, precision, name="genome"
        )
        self._is_detached = np.isin(np.arange(n_assays), self.settings["detached_assays"])
        self._is_exempt = np.isin(np.arange(n_biosamples), self.settings["exempt_biosamples"])
        self.bias = self.add_weight(name="bias", shape=(units,), initializer="zeros", autocast=False)
        self.hidden = [
            TallDense(width, activation="relu", dtype=policy, name=f"hidden_{i}")
            for i, width in enumerate(hidden[1:], 2)
        ]
        self.readout = TallDense(1, dtype=policy, name="signal")
        self._parts = 1

    def build(self, input_shape: Any = None) -> None:
        """Make all weights."""
        self.biosample.build((None, None))
        self.assay.build((None, None))
        self.genome.build((None, 3))
        width = self.settings["hidden"][0]
        for layer in [*self.hidden, self.readout]:
            layer.build((None, None, width))
            width = layer.units
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Predict arcsinh units for each position and experiment."""
        # A no-op but for the batch by which Keras builds its metrics under MirroredStrategy: it averages the
        # replicas' batches, which makes floats of them.
        inputs = {name: tf.cast(values, tf.int32) for name, values in inputs.items()}
        if self._parts == 1:
            return self._predict(inputs, training)
        parts = [self._predict(_part(inputs, i, self._parts), training) for i in range(self._parts)]
        return tf.concat(parts, axis=0)

    def in_parts(self, parts: int) -> None:
        """Work through the positions of a batch in so many parts, none of which waits for another.

        What comes out is the same. Not kept in `.keras` files.
        """
        self._parts = parts

    def _predict(self, inputs: dict[str, Any], training: bool) -> Any:
        genome = tf.expand_dims(self.genome(inputs["position"], training=training), 1)
        if training and self.settings["detached_assays"]:
            detached = tf.gather(self._is_detached, inputs["assay"])
            if self._is_exempt.any():
                detached &= ~tf.gather(self._is_exempt, inputs["biosample"])
            genome = tf.where(detached[..., None], tf.stop_gradient(genome), genome)
        return self.decode(genome, inputs["biosample"], inputs["assay"])

    def decode(self, genome: Any, biosample: Any, assay: Any) -> Any:
        """Predict from projected genome factors, `(P, 1, units)`, and labels."""
        labels = self._labels(biosample, assay)
        values = tf.nn.relu(labels + genome)
        shape = tf.shape(values)
        values = tf.reshape(
            values, (-1, self.settings["hidden"][0])
        )  # TensorFlow fuses products of matrices alone
        for layer in self.hidden:
            values = layer(values)
        return tf.reshape(tf.cast(self.readout(values), tf.float32), (shape[0], shape[1], 1))

    def _labels(self, biosample: Any, assay: Any) -> Any:
        """The labels' part of the first layer, `(P, E, units)`: worked out once for each experiment."""
        n_assays = self.settings["n_assays"]
        pairs = tf.cast(biosample, tf.int64) * n_assays + tf.cast(assay, tf.int64)
        experiments, which = tf.unique(tf.reshape(pairs, (-1,)))
        projected = self.biosample(experiments // n_assays) + self.assay(experiments % n_assays) + self.bias
        found = look_up(tf.cast(projected, self.settings["precision"]), which)
        return tf.reshape(found, (*tf.unstack(tf.shape(pairs)), found.shape[-1]))

    def shared_weights(self) -> dict[str, Any]:
        """Every weight that is no genome factor, by name; `biosample` and `assay` are tables of factors."""
        named = {
            "biosample": self.biosample.table,
            "biosample_kernel": self.biosample.kernel,
            "assay": self.assay.table,
            "assay_kernel": self.assay.kernel,
            "genome_kernel": self.genome.kernel,
            "bias": self.bias,
        }
        for number, layer in enumerate([*self.hidden, self.readout], 2):
            named |= {f"layer{number}_kernel": layer.kernel, f"layer{number}_bias": layer.bias}
        return named

    def save(self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **options: Any) -> None:
        """Save as Keras does; `include_optimizer=False` leaves the optimiser's moments out.

        They are twice as large as the weights. Keras has the argument, and ignores it in the `.keras` format.
        """
        leave_out = not options.pop("include_optimizer", True)
        with without_optimizer(self) if leave_out else contextlib.nullcontext():
            super().save(filepath, overwrite, zipped, **options)

    def export(
        self,
        filepath: str,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Export as Keras does; the model knows its own inputs.

        Keras infers them from the first call, which here sees a dict of whole numbers.
        """
        shapes = {"position": (None, 3), "biosample": (None, None), "assay": (None, None)}
        mine = [{n: keras.InputSpec(dtype="int32", shape=shape) for n, shape in shapes.items()}]
        super().export(filepath, format, verbose, input_signature or mine, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {"name": self.name, **self.settings}


def _part(inputs: dict[str, Any], number: int, parts: int) -> dict[str, Any]:
    """The inputs of some of a batch's positions; labels of one row serve all of them."""
    positions = tf.shape(inputs["position"])[0]
    first, stop = positions * number // parts, positions * (number + 1) // parts

    def of(values: Any) -> Any:
        shared = tf.shape(values)[0] < positions
        return values[tf.where(shared, 0, first) : tf.where(shared, 1, stop)]

    return {name: of(values) for name, values in inputs.items()}


def global_precision() -> str:
    """What Keras's global dtype policy asks products to be in: `"bfloat16"` or `"float32"`."""
    return "bfloat16" if keras.config.dtype_policy().compute_dtype == "bfloat16" else "float32"


def build_model(
    axis: JointAxis,
    *,
    biosample_factors: int = 32,
    assay_factors: int = 256,
    genome_factors: tuple[int, int, int] = (25, 40, 45),
    hidden: tuple[int, ...] = (2048, 2048),
    genome_dropout: float = 0.0,
    zero_shot: bool = True,
    target: str = "",
    precision: str | None = None,
) -> DeepTensorFactorization:
    """Make the model of a joint axis; the sizes are the paper's by default. It starts at the mean signal.

    Parameters
    ----------
    axis
        What the model is for.
    biosample_factors, assay_factors, genome_factors, hidden, genome_dropout
        As in `DeepTensorFactorization`.
    precision
        As in `DeepTensorFactorization`; by default `"bfloat16"` under Keras's global policy `mixed_bfloat16`,
        else `"float32"`, also under `mixed_float16`.
    zero_shot
        Let assays that a target species lacks leave the genome factors of the others alone, so that the
        network learns to read them off factors that were fitted to other assays, as it has to in the target.
    target
        Which species that is; see `AvocadoSettings`.

    Returns
    -------
    A built, not yet compiled `keras.Model`. It keeps the axis as `model.axis`, for `impute` and `save_model`;
    Keras's own `.keras` files do not.

    Examples
    --------
    >>> import epixs
    >>> files = epixs.simulate("world", size="tiny")
    >>> chosen = epixs.make_catalog("world/metadata.tsv", "catalog.tsv")
    >>> table = epixs.ingest("catalog.tsv", "world/mouse.bed", "mouse.zarr", species="mouse")
    >>> axis = epixs.joint_axis("mouse.zarr")
    >>> model = epixs.build_model(axis, hidden=(8, 8))
    >>> model.count_params()
    64635
    """
    plan = plan_zero_shot(axis, enabled=zero_shot, target=target)
    exempt = [axis.biosample_index(name, axis.part(name).biosamples) for name in plan.exempt]
    model = DeepTensorFactorization(
        axis.n_biosamples,
        len(axis.assays),
        axis.n_positions,
        biosample_factors,
        assay_factors,
        genome_factors,
        hidden,
        genome_dropout,
        axis.assay_index(plan.detached).tolist(),
        precision or global_precision(),
        np.concatenate(exempt).tolist() if exempt else [],
        name="avocado",
    )
    model.build()
    model.axis = axis
    # Else the layers first learn the mean, and the factors wait: half of the passes that a small panel takes.
    model.readout.bias.assign([axis.mean_signal()])
    return model
