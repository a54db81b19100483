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
    """Predicts one signal value from biosample, assay and genome factors through dense layers.

    Parameters
    ----------
    n_biosamples, n_assays
        Number of labels on the joint axis.
    n_positions
        Number of 25 bp, 250 bp and 5 kbp positions on the joint axis.
    biosample_factors, assay_factors, genome_factors
        Lengths of the factor vectors.
    hidden
        Widths of the hidden layers.
    genome_dropout
        Share of a position's factors that training sets to 0.
    detached_assays
        Assays whose entries train labels and layers, but not the genome factors and their projection.
    exempt_biosamples
        Biosamples whose entries train the genome factors, whatever the assay.
    precision
        Precision of products and activations, `"float32"` or `"bfloat16"`; weights and outputs are float32.

    Shapes
    ------
    A dict of int32 `position` `(P, 3)`, `biosample` and `assay`, each `(P, E)`, or `(1, E)` for all positions
    -> float32 `(P, E, 1)`, arcsinh units.
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
        # Labels are projected once per experiment of a batch, and the number of experiments depends on the
        # data: XLA cannot compile that. Keras's `compile` asks this before it chooses XLA on a GPU.
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
        # A no-op except for the batch with which Keras builds its metrics under MirroredStrategy: it averages
        # the replicas' batches, which turns them into floats.
        inputs = {name: tf.cast(values, tf.int32) for name, values in inputs.items()}
        if self._parts == 1:
            return self._predict(inputs, training)
        parts = [self._predict(_part(inputs, i, self._parts), training) for i in range(self._parts)]
        return tf.concat(parts, axis=0)

    def in_parts(self, parts: int) -> None:
        """Compute each batch in micro-batches of its positions, none of which waits for another.

        The results are the same. `.keras` files do not record this.
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
        """Compute the labels' part of the first layer, `(P, E, units)`, once per experiment."""
        n_assays = self.settings["n_assays"]
        pairs = tf.cast(biosample, tf.int64) * n_assays + tf.cast(assay, tf.int64)
        experiments, which = tf.unique(tf.reshape(pairs, (-1,)))
        projected = self.biosample(experiments // n_assays) + self.assay(experiments % n_assays) + self.bias
        labels = look_up(tf.cast(projected, self.settings["precision"]), which)
        return tf.reshape(labels, (*tf.unstack(tf.shape(pairs)), labels.shape[-1]))

    def shared_weights(self) -> dict[str, Any]:
        """Return all weights but genome factors, by name; `biosample` and `assay` are tables of factors."""
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
        """Save as Keras does; `include_optimizer=False` leaves out the optimiser's moments.

        They are twice as large as the weights. Keras has this argument, but its `.keras` format ignores it.
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
        """Export as Keras does, with the model's own input signature.

        Keras would infer the signature from the first call, which here gets a dict of integers.
        """
        shapes = {"position": (None, 3), "biosample": (None, None), "assay": (None, None)}
        signature = [{n: keras.InputSpec(dtype="int32", shape=shape) for n, shape in shapes.items()}]
        super().export(filepath, format, verbose, input_signature or signature, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {"name": self.name, **self.settings}


def _part(inputs: dict[str, Any], number: int, parts: int) -> dict[str, Any]:
    """Slice the inputs of one micro-batch; labels of one row are shared by all positions."""
    positions = tf.shape(inputs["position"])[0]
    first, stop = positions * number // parts, positions * (number + 1) // parts

    def of(values: Any) -> Any:
        shared = tf.shape(values)[0] < positions
        return values[tf.where(shared, 0, first) : tf.where(shared, 1, stop)]

    return {name: of(values) for name, values in inputs.items()}


def global_precision() -> str:
    """Return the precision of products under Keras's global dtype policy: `"bfloat16"` or `"float32"`."""
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
    """Make the model of a joint axis, by default with the paper's sizes; it first predicts the mean signal.

    Parameters
    ----------
    axis
        Axis that the model is for.
    biosample_factors, assay_factors, genome_factors, hidden, genome_dropout
        As in `DeepTensorFactorization`.
    precision
        As in `DeepTensorFactorization`; by default `"bfloat16"` under Keras's global policy `mixed_bfloat16`,
        else `"float32"`, also under `mixed_float16`.
    zero_shot
        Whether assays that a target species lacks do not train the genome factors of the other species. The
        network then learns to predict these assays from factors fitted to others, as it must in the target.
    target
        The target species; see `AvocadoSettings`.

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
    # Otherwise the layers first learn the mean and the factors wait, in half of the epochs of a small panel.
    model.readout.bias.assign([axis.mean_signal()])
    return model
