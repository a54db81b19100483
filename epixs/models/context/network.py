"""The Keras model that reads the tracks observed around a bin as a set, and attends to them by assay.

Each track (or summary of an assay's tracks in other biosamples) is a token: its standardised means around the
bin and the factors of its assay pass two dense layers, independent of the target. Heads then weigh the tokens
by attention, with a query from the target's assay, and pool them. Dense layers turn the pooled tokens into
the difference of the target's standardised value from the best weighted sums of tracks (`sampling.kriging`);
these are 0 for an assay of which no correlation is known. The expected mean and spread of the target turn the
value into arcsinh units.

An assay of which no species has two tracks cannot be learned beside its own tracks. As a target, it is not
named, and neither are its tracks: what a network makes of a target and tracks of the same assay, whatever
that is, it has learned from other assays, some of whose targets are not named in training.

Several such networks, the members, are trained side by side, each on its own share of the targets. The
model's prediction is their mean.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from epixs.models.backend import keras
from epixs.models.context.settings import KEYS
from epixs.sampling.fill import RADII, SUMMARIES
from epixs.sampling.intervals import KNOTS
from epixs.sampling.kriging import BAND_RADII
from epixs.sampling.mixture import PARTS, READINGS

HIDDEN_LOGIT = -1e9

ASSAY_SPREAD = 0.1
"""Initial spread of assay factors: it is small, so that assays are alike until tracks tell them apart."""


def _standard_moments(shape: Any, dtype: Any = None) -> Any:
    """Initialise with a mean of 0 and a spread of 1."""
    return tf.broadcast_to(tf.constant([0.0, 1.0], dtype), shape)


def _not_known(shape: Any, dtype: Any = None) -> Any:
    """Return NaN for quantities that nothing is known of yet."""
    return tf.fill(shape, tf.constant(float("nan"), dtype))


@keras.saving.register_keras_serializable(package="epixs")
class MemberDense(keras.layers.Layer):
    """Computes the dense layers of several members at once.

    Parameters
    ----------
    members, inputs, units
        Number of networks, and of inputs and units of each network's layer.
    bias
        Whether the layers have a bias.
    gain
        Factor of the initial weights (He-normal).

    Shapes
    ------
    `(members or 1, ..., inputs)` -> `(members, ..., units)`.
    """

    def __init__(
        self, members: int, inputs: int, units: int, *, bias: bool = True, gain: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.members, self.inputs, self.units, self.has_bias, self.gain = members, inputs, units, bias, gain

    def build(self, input_shape: Any = None) -> None:
        """Make the weights."""
        normal = keras.initializers.RandomNormal(stddev=self.gain * (2.0 / self.inputs) ** 0.5)
        self.kernel = self.add_weight(
            name="kernel", shape=(self.members, self.inputs, self.units), initializer=normal
        )
        if self.has_bias:
            self.bias = self.add_weight(name="bias", shape=(self.members, self.units), initializer="zeros")
        self.built = True

    def call(self, values: Any) -> Any:
        """Multiply each member's rows."""
        shape = tf.shape(values)
        rows = tf.reshape(values, (values.shape[0], -1, self.inputs))
        products = tf.matmul(rows, self.kernel)
        if self.has_bias:
            products += self.bias[:, None, :]
        return tf.reshape(products, tf.concat([[self.members], shape[1:-1], [self.units]], 0))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return dict(super().get_config()) | {
            "members": self.members, "inputs": self.inputs, "units": self.units,
            "bias": self.has_bias, "gain": self.gain,
        }  # fmt: skip


@keras.saving.register_keras_serializable(package="epixs")
class ContextNetwork(keras.Model):
    """Tokens of tracks -> attention by assay -> dense layers -> the target's value.

    Parameters
    ----------
    n_assays
        Number of assays on the joint axis.
    radii
        Number of means around each bin.
    assay_factors
        Length of each assay's factors.
    token, heads
        Width of a token, and number of heads that weigh the tokens.
    hidden
        Widths of the dense layers behind.
    members
        Number of networks that are trained side by side.
    statistics
        Number of statistics of whole tracks that the model keeps for imputation (`sampling.panel.packed`).
    species
        Number of species. For each, the model keeps the mixture of its zero-shot tracks, the mean and spread
        of the networks' predictions of each assay that it lacks (`sampling.mixture`), the width of each
        assay's intervals (`sampling.intervals`), how well each is predicted when it is hidden, how well it is
        expected to be where it is absent, and how much better than expected hidden ones are
        (`sampling.agreement`), and what these predictions have in common with tracks of other assays
        (`sampling.relations`).
    tracks
        Number of training tracks. For each, the model keeps how well it is predicted (`sampling.agreement`).

    Shapes
    ------
    A dict of `own` `(G, N, track, radius)`, `own_assay` `(G, track)`, `others` `(G, N, assay, 4 * radius)`,
    `others_assay` `(G, assay)`, `base` `(G, N, band)`, `target` `(G,)`, `named` `(G,)`, `scale` `(G, 2)`,
    `share` `(G,)`, `linear` `(G, track)` and `member` `(G,)` -> float32 `(G, N, 1)`, arcsinh units:
    `scale[0] + scale[1] * (share * networks + own at the bin @ linear)`. In training, the first `G / members`
    targets are the first member's, and so on. Otherwise `member` chooses whose prediction is returned; -1 is
    the mean of all. Networks predict the sum of `base` and a difference from it, which is multiplied by the
    weight `trust` but in training and for absent assays (`sampling.learned.learn_trust`).
    """

    def __init__(
        self,
        n_assays: int,
        radii: int = RADII.size,
        *,
        assay_factors: int,
        token: int,
        heads: int,
        hidden: tuple[int, ...],
        members: int,
        statistics: int = 0,
        species: int = 1,
        tracks: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.supports_jit = False  # XLA takes twice as long for it on CPUs
        self.settings = {
            "n_assays": n_assays, "radii": radii, "assay_factors": assay_factors, "token": token,
            "heads": heads, "hidden": list(hidden), "members": members,
            "statistics": statistics, "species": species, "tracks": tracks,
        }  # fmt: skip
        self.fitted_assays: Any = None
        self.known_before: Any = None
        self.hidden_before: Any = None
        self.relations_before: Any = None
        d, self.radii = assay_factors, radii
        self.members, self.heads, self.token = members, heads, token
        normal = keras.initializers.RandomNormal(stddev=ASSAY_SPREAD)
        self.factors = self.add_weight(name="assay", shape=(members, n_assays, d), initializer=normal)
        self.statistics = self.add_weight(
            name="statistics", shape=(statistics,), initializer="zeros", trainable=False
        )
        self.mixture = self.add_weight(
            name="mixture", shape=(species, len(PARTS)), initializer=_not_known, trainable=False
        )
        self.shares = self.add_weight(
            name="shares", shape=(species, n_assays, len(PARTS)), initializer=_not_known, trainable=False
        )
        self.relations = self.add_weight(
            name="relations", shape=(species, n_assays, n_assays), initializer=_not_known, trainable=False
        )
        self.trust = self.add_weight(name="trust", shape=(), initializer="ones", trainable=False)
        self.moments = self.add_weight(
            name="moments",
            shape=(species, n_assays, READINGS, 2),
            initializer=_standard_moments,
            trainable=False,
        )
        self.intervals = self.add_weight(
            name="intervals", shape=(2, 2, KNOTS), initializer="zeros", trainable=False
        )
        self.assay_errors = self.add_weight(
            name="assay_errors", shape=(species, n_assays), initializer="ones", trainable=False
        )
        self.agreement = self.add_weight(
            name="agreement", shape=(tracks,), initializer=_not_known, trainable=False
        )
        self.hidden_agreement = self.add_weight(
            name="hidden_agreement", shape=(species, n_assays), initializer=_not_known, trainable=False
        )
        self.absent_agreement = self.add_weight(
            name="absent_agreement", shape=(species, n_assays), initializer=_not_known, trainable=False
        )
        self.ease = self.add_weight(name="ease", shape=(species,), initializer="ones", trainable=False)

        def dense(name: str, inputs: int, units: int, **options: Any) -> MemberDense:
            return MemberDense(members, inputs, units, name=name, **options)

        self.of_own = dense("own", radii, token, bias=False)
        self.of_others = dense("others", SUMMARIES * radii, token, bias=False)
        self.of_own_assay = dense("own_assay", d, token)
        self.of_others_assay = dense("others_assay", d, token)
        self.encode = dense("token", token, token)
        self.query = dense("query", d, heads * KEYS)
        self.key = dense("key", token, heads * KEYS, bias=False)
        self.gate = dense("gate", 3 * d + 1, token, gain=0.3)
        self.pooled = dense("pooled", heads * token + len(BAND_RADII), hidden[0], bias=False)
        self.of_target = dense("target", d, hidden[0], gain=0.5)
        self.layers_behind = [
            dense(f"hidden_{i}", a, b) for i, (a, b) in enumerate(itertools.pairwise(hidden), 2)
        ]
        self.readout = dense("signal", hidden[-1], 1, gain=0.1)
        self.absent = self.add_weight(
            name="absent", shape=(members, d), initializer=keras.initializers.RandomNormal(stddev=1.0)
        )
        self.unnamed = self.add_weight(name="unnamed", shape=(members, d), initializer=normal)

    def freeze(self, fitted: npt.NDArray[np.bool_]) -> None:
        """Freeze all weights except the factors of some assays; mask of shape `(assay,)`."""
        for layer in self.layers:
            layer.trainable = False
        self.absent.trainable = self.unnamed.trainable = False
        self.fitted_assays = fitted[None, :, None]

    def build(self, input_shape: Any = None) -> None:
        """Make all weights."""
        for layer in self.layers:
            layer.build()
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Predict: in training each member its own targets, else the chosen member or the mean of all."""
        if training:
            values = self.standardised({name: self._dealt(value) for name, value in inputs.items()}, 1.0)
            values = tf.reshape(values, (-1, tf.shape(inputs["own"])[1], 1))
        else:
            by_member = self.standardised({name: value[None] for name, value in inputs.items()}, self.trust)
            one = tf.one_hot(inputs["member"], self.members, axis=0)
            share = tf.where(inputs["member"] >= 0, one, 1.0 / self.members)
            values = tf.reduce_sum(by_member * share[:, :, None, None], axis=0)
        return self._restored(values, inputs)

    @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[misc, unused-ignore]
    def by_member(self, inputs: dict[str, Any]) -> Any:
        """Predict with each member, `(members, G, N, 1)`, arcsinh units."""
        values = self.standardised({name: value[None] for name, value in inputs.items()}, self.trust)
        return self._restored(values, inputs)

    def _restored(self, values: Any, inputs: dict[str, Any]) -> Any:
        """Mix standardised values `(..., G, N, 1)` with the own tracks, and turn them into arcsinh units."""
        scale = inputs["scale"][:, None]
        linear = tf.matmul(inputs["own"][..., 0], inputs["linear"][:, :, None])
        values = values * inputs["share"][:, None, None] + linear
        return values * scale[..., 1:] + scale[..., :1]

    def _dealt(self, value: Any) -> Any:
        """Give each member its share of the targets."""
        return tf.reshape(value, tf.concat([[self.members, -1], tf.shape(value)[1:]], 0))

    def standardised(self, inputs: dict[str, Any], trust: Any) -> Any:
        """Predict standardised values, `(members, g, N, 1)`, from inputs `(members or 1, g, ...)`.

        How far the networks' differences from the weighted sums are followed is `trust`, unless the assay is
        absent.
        """
        n_assays, named = self.settings["n_assays"], inputs["named"] > 0
        wanted = tf.cast(inputs["target"], inputs["others_assay"].dtype)
        target = self._factors_of(tf.where(named, wanted, n_assays))  # (K, g, d)
        same = inputs["others_assay"] == wanted[..., None]
        others_assay = tf.where(same & ~named[..., None], n_assays, inputs["others_assay"])
        is_absent = 1.0 - tf.cast(tf.reduce_any(same, axis=2, keepdims=True), tf.float32)  # (K or 1, g, 1)
        target += is_absent * self.absent[:, None]
        assays = tf.concat([inputs["own_assay"], others_assay], axis=2)
        n_own = tf.shape(inputs["own_assay"])[2]
        source = self._factors_of(assays)  # (K, g, J, d)
        own = self.of_own(inputs["own"]) + self.of_own_assay(source[:, :, :n_own])[:, :, None]
        others = self.of_others(inputs["others"]) + self.of_others_assay(source[:, :, n_own:])[:, :, None]
        tokens = tf.nn.relu(tf.concat([own, others], axis=3))
        tokens = tf.nn.relu(self.encode(tokens))  # (K, g, N, J, T)
        wide = tf.broadcast_to(target[:, :, None], tf.shape(source))
        side = tf.concat(
            [tf.ones_like(source[:, :, :n_own, :1]), -tf.ones_like(source[:, :, n_own:, :1])], axis=2
        )
        gate = 1.0 + self.gate(tf.concat([source, wide, source * wide, side], axis=3))  # (K, g, J, T)
        weights = self._attention(tokens, target, assays)  # (K, g, N, J, H)
        pooled = tf.matmul(weights, tokens * gate[:, :, None], transpose_a=True)  # (K, g, N, H, T)
        shape = tf.shape(pooled)
        pooled = tf.reshape(pooled, tf.concat([shape[:3], [self.heads * self.token]], 0))
        base = tf.broadcast_to(inputs["base"], tf.concat([shape[:3], [len(BAND_RADII)]], 0))
        pooled = tf.concat([pooled, base], axis=3)
        hidden = tf.nn.relu(self.pooled(pooled) + self.of_target(target)[:, :, None])
        for layer in self.layers_behind:
            hidden = tf.nn.relu(layer(hidden))
        trusted = trust + (1.0 - trust) * is_absent[:, :, None]
        return trusted * self.readout(hidden) + tf.reduce_sum(inputs["base"], axis=3, keepdims=True)

    def _factors_of(self, assay: Any) -> Any:
        """Look up the factors of assays `(members or 1, ...)`, the last of which is not named.

        Those of -1 are arbitrary and not used.
        """
        shape, factors = tf.concat([[self.members], tf.shape(assay)[1:]], 0), self.factors
        if self.fitted_assays is not None:
            factors = tf.where(self.fitted_assays, factors, tf.stop_gradient(factors))
        factors = tf.concat([factors, self.unnamed[:, None]], axis=1)
        return tf.gather(factors, tf.broadcast_to(tf.maximum(assay, 0), shape), batch_dims=1)

    def _attention(self, tokens: Any, target: Any, assays: Any) -> Any:
        """Compute the weights of the tokens for each head."""
        query = self.query(target)  # (K, g, H * KEYS)
        shape = tf.shape(query)
        query = tf.reshape(query, (shape[0], shape[1], self.heads, KEYS))
        key = tf.reshape(self.key.kernel, (self.members, self.token, self.heads, KEYS))
        asked = tf.einsum("kthc,kghc->kgth", key, query) / KEYS**0.5  # (K, g, T, H)
        size = tf.shape(tokens)
        rows = tf.reshape(tokens, (size[0], size[1], -1, self.token))
        logits = tf.reshape(tf.matmul(rows, asked), (size[0], size[1], size[2], size[3], self.heads))
        hidden = tf.where(assays >= 0, 0.0, HIDDEN_LOGIT)[:, :, None, :, None]
        return tf.nn.softmax(logits + hidden, axis=3)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return dict(super().get_config()) | self.settings
