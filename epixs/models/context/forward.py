"""Predict with a `ContextNetwork` along the genome, in compiled kernels: TensorFlow takes much longer.

Some tens of neighbouring bins at a time pass through the whole network, so that all intermediate results stay
in the core's cache. Values that depend on the target alone are computed once, and absent tracks take no time.
Sums always have the same order, so the result at a bin does not depend on the stretch predicted with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from epixs.compendium.transform import STEPS_PER_UNIT
from epixs.compiled import compiled
from epixs.lanes import COLUMNS, LANES, UNITS, exp, larger, load, multiply_add, spread, store
from epixs.matrices import MATRICES
from epixs.models.context.settings import KEYS
from epixs.products import Weights as Kernel
from epixs.products import add_weighted, aligned, end_to_end, laid_out, multiply, padded, room_for
from epixs.sampling.around import Target
from epixs.sampling.fill import RADII, SUMMARIES, fill_columns
from epixs.sampling.kriging import BAND_RADII, weights_of
from epixs.sampling.panel import Panel
from epixs.sampling.scales import SMALLEST_SPREAD
from epixs.sampling.windows import Windows

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

MATRIX_TOKEN = 64
"""Width from which tokens are computed faster on matrices than on vectors."""


UNNAMED_ROW = -1
"""Row of the factors of an assay that is not named: the last one."""


class Weights(NamedTuple):
    """Weights that all targets share; kernels are `products.laid_out`, and units padded with zeros.

    Parameters
    ----------
    own, others, token
        Kernels, shape `(member, number)`.
    token_bias
        Bias, shape `(member, unit)`.
    behind
        Kernels of the layers behind the pooling, end to end, shape `(member, number)`.
    begins
        Number in `behind` at which each of them begins, and their end.
    widths
        Number of inputs of the first of those layers, and units of each.
    readout
        Weights of the last layer's units, shape `(member, unit)`.
    offset
        Bias of the prediction, shape `(member,)`.
    heads
        Number of heads that weigh the tokens.
    """

    own: Kernel
    others: Kernel
    token: Kernel
    token_bias: Floats
    behind: Kernel
    begins: npt.NDArray[np.int64]
    widths: npt.NDArray[np.int64]
    readout: Floats
    offset: Floats
    heads: int


class ForTarget(NamedTuple):
    """Values that depend on the target and not on the bin, for the tokens that it has.

    Parameters
    ----------
    own, others, weight
        Tracks that are read, as in `Reads`.
    own_bias, others_bias
        Bias that the assay of each token adds to its first layer, shape `(member, token, unit)`.
    asked
        Kernel by which the heads turn a token into logits, shape `(member, number)`.
    gate
        Factors of a token before it is pooled, shape `(member, token, unit)`.
    behind_bias
        Biases of the layers behind, end to end, shape `(member, number)`.
    scale
        Expected mean and spread, arcsinh units.
    trust
        Factor of the networks' difference from the weighted sums.
    share, linear
        Factor of the networks' prediction, and weights of the own tracks that are added to it.
    own_share, others_share
        Weights of the tracks' bands in the sums to which the networks' predictions are added.
    """

    own: Ints
    others: Ints
    weight: Floats
    own_bias: Floats
    others_bias: Floats
    asked: Kernel
    gate: Floats
    behind_bias: Floats
    scale: Floats
    trust: np.float32
    share: np.float32
    linear: Floats
    own_share: Floats
    others_share: Floats

    @property
    def tracks(self) -> Ints:
        """Sorted numbers of all tracks that are read."""
        read = np.unique(np.concatenate([self.own, self.others.reshape(-1)]))
        return read[read >= 0]

    def reading(self, tracks: Ints) -> ForTarget:
        """Renumber the tracks for windows that hold only `tracks`, which include all that are read."""
        own, others = (
            np.where(wanted < 0, -1, np.searchsorted(tracks, wanted)).astype(np.int32)
            for wanted in (self.own, self.others)
        )
        return self._replace(own=own, others=others)


class Scratch(NamedTuple):
    """Intermediate results for `COLUMNS` bins, of shape `(..., row, COLUMNS)`; `room` is for `multiply`."""

    own: Floats
    others: Floats
    base: Floats
    first: Floats
    tokens: Floats
    logits: Floats
    pooled: Floats
    hidden: Floats
    sum: Floats
    room: Ints


@dataclass(frozen=True)
class Forward:
    """A network's weights, as Keras holds them and as the kernels take them."""

    raw: dict[str, Floats]
    heads: int
    trust: float
    weights: Weights

    def of_target(self, target: Target, panel: Panel) -> ForTarget:
        """Compute the values that depend on the target alone."""
        raw = self.raw
        present = [target.own >= 0, (target.others >= 0).any(axis=1)]
        lonely = not any(slots.any() for slots in present)
        if lonely:  # the network then takes the mean over all slots, as if each had a track without signal
            present = [np.full(slots.shape, True) for slots in present]
        own, others = target.own[present[0]], target.others[present[1]]
        tracks = np.concatenate([own, others.max(axis=1, initial=-1)])
        assays = np.where(tracks >= 0, panel.assay[tracks], 0)
        same = (tracks >= 0) & (assays == target.assay)
        is_absent = not same[own.size :].any()
        assays = assays if target.named else np.where(same, UNNAMED_ROW, assays)
        wanted = target.assay if target.named else UNNAMED_ROW
        source, asks = raw["assay"][:, assays], raw["assay"][:, wanted]  # (K, J, d), (K, d)
        asks = asks + raw["absent"] if is_absent else asks
        side = np.where(np.arange(assays.size) < own.size, 1.0, -1.0)
        wide = np.broadcast_to(asks[:, None], source.shape)
        sides = np.broadcast_to(side[:, None], (*source.shape[:2], 1))
        gate = 1 + _dense(raw, "gate", np.concatenate([source, wide, source * wide, sides], axis=2))
        query = _dense(raw, "query", asks[:, None])[:, 0].reshape(-1, self.heads, KEYS)
        key = raw["key/kernel"].reshape(query.shape[0], -1, self.heads, KEYS)
        asked = np.einsum("kthc,khc->kth", key, query) / KEYS**0.5 * (not lonely)
        behind = [_dense(raw, "target", asks[:, None])[:, 0], *(raw[f"{n}/bias"] for n in _behind(raw))]
        return ForTarget(
            own, others, target.weight[present[1]],
            padded(_dense(raw, "own_assay", source[:, : own.size])),
            padded(_dense(raw, "others_assay", source[:, own.size :])),
            laid_out(padded(asked, axis=1), in_matrices=False, multiple=UNITS),
            padded(gate),
            np.concatenate([padded(bias) for bias in behind], axis=1),
            np.asarray(target.scale, np.float32),
            np.float32(1 if is_absent else self.trust),
            np.float32(target.share),
            np.zeros(own.size, np.float32) if target.linear is None else target.linear[present[0]],
            *weights_of(target.equations, own, others),
        )  # fmt: skip

    def predict(self, windows: Windows, mean: Floats, spread: Floats, target: ForTarget) -> Floats:
        """Predict a target at the requested bins of windows, in arcsinh units.

        `mean` and `spread` are those of the windows' tracks, to which the target's track numbers refer.
        """
        out = np.empty(windows.n_bins, np.float32)
        steps = np.float32(STEPS_PER_UNIT)
        factor = 1 / (np.maximum(spread, np.float32(SMALLEST_SPREAD)) * steps)
        _predict(
            windows.sums, windows.column, windows.length, windows.low, windows.high, RADII,
            mean * steps, factor, self.weights, target, self._scratch(target), out,
        )  # fmt: skip
        return out

    def _scratch(self, target: ForTarget) -> Scratch:
        weights = self.weights
        token, heads = weights.token_bias.shape[1], -(-weights.heads // UNITS) * UNITS
        n_own, n_others = len(target.own), len(target.others)
        widest, n_tokens = int(weights.widths[1:].max()), n_own + n_others
        room = room_for(max(int(weights.widths.max()), SUMMARIES * RADII.size), n_tokens)
        return Scratch(
            aligned(n_own, RADII.size), aligned(n_others, SUMMARIES * RADII.size), aligned(len(BAND_RADII)),
            aligned(n_tokens, token), aligned(n_tokens, token), aligned(n_tokens, heads),
            aligned(int(weights.widths[0])), aligned(2, widest), aligned(), room,
        )  # fmt: skip


def forward_of(model: Any, in_matrices: bool = MATRICES) -> Forward:
    """Take over the weights of a `ContextNetwork`."""
    raw = {
        "assay": np.concatenate([model.factors.numpy(), model.unnamed.numpy()[:, None]], axis=1),
        "absent": model.absent.numpy(),
        **{f"{layer.name}/{w.name}": w.numpy() for layer in model.layers for w in layer.weights},
    }
    members, heads, token = model.members, model.heads, model.token
    of_tokens = in_matrices and token >= MATRIX_TOKEN
    pooled, base = np.split(raw["pooled/kernel"], [heads * token], axis=1)
    pooled = padded(pooled.reshape(members, heads, token, -1), axis=2).reshape(members, -1, pooled.shape[2])
    behind = [np.concatenate([pooled, base], axis=1)]
    behind += [padded(raw[f"{name}/kernel"], axis=1) for name in [*_behind(raw), "signal"]]
    *behind, readout = behind
    widths = [behind[0].shape[1], *(padded(kernel).shape[2] for kernel in behind)]
    weights = Weights(
        laid_out(raw["own/kernel"], of_tokens),
        laid_out(raw["others/kernel"], of_tokens),
        laid_out(padded(raw["token/kernel"], axis=1), of_tokens),
        padded(raw["token/bias"]),
        *end_to_end([laid_out(kernel, in_matrices) for kernel in behind]),
        np.array(widths, np.int64),
        np.ascontiguousarray(readout[:, :, 0]),
        raw["signal/bias"][:, 0].copy(),
        heads,
    )
    return Forward(raw, heads, float(model.trust.numpy()), weights)


def _behind(raw: dict[str, Floats]) -> list[str]:
    """List the names of the layers behind the pooling, except the first."""
    hidden = [name.split("/")[0] for name in raw if name.startswith("hidden_") and name.endswith("/kernel")]
    return sorted(hidden, key=lambda name: int(name.split("_")[1]))


def _dense(raw: dict[str, Floats], name: str, values: Floats) -> Floats:
    """Apply a layer of all members, `(member, row, input)` -> `(member, row, unit)`."""
    return values @ raw[f"{name}/kernel"] + raw[f"{name}/bias"][:, None]


@compiled()
def _predict(
    sums: npt.NDArray[np.int32],
    column: npt.NDArray[np.int64],
    length: npt.NDArray[np.int64],
    low: npt.NDArray[np.int64],
    high: npt.NDArray[np.int64],
    radii: npt.NDArray[np.int64],
    mean: Floats,
    factor: Floats,
    weights: Weights,
    target: ForTarget,
    scratch: Scratch,
    out: Floats,
) -> None:
    """Predict all pieces, block by block."""
    done, members = 0, np.float32(weights.token.shape[0])
    for piece in range(low.size):
        for first in range(low[piece], high[piece], COLUMNS):
            fill_columns(
                sums, column[piece], length[piece], first, radii, mean, factor,
                target.own, target.others, target.weight, target.own_share, target.others_share,
                scratch.own, scratch.others, scratch.base,
            )  # fmt: skip
            scratch.sum[:] = 0
            for member in range(weights.token.shape[0]):
                _add_member(member, weights, target, scratch)
            for i in range(min(COLUMNS, high[piece] - first)):
                value = target.trust * scratch.sum[i] / members
                for band in range(len(scratch.base)):
                    value += scratch.base[band, i]
                value *= target.share
                for j in range(target.linear.size):
                    value += scratch.own[j, 0, i] * target.linear[j]
                out[done] = value * target.scale[1] + target.scale[0]
                done += 1


@compiled()
def _add_member(member: int, weights: Weights, target: ForTarget, scratch: Scratch) -> None:
    """Add one member's prediction for a block."""
    tokens, logits, room = scratch.tokens, scratch.logits, scratch.room
    first, n_own = scratch.first, len(target.own)
    nothing = np.zeros((1, logits.shape[1]), np.float32)
    multiply(weights.own[member], target.own_bias[member], scratch.own, first[:n_own], True, room)
    multiply(weights.others[member], target.others_bias[member], scratch.others, first[n_own:], True, room)
    multiply(weights.token[member], weights.token_bias[member : member + 1], first, tokens, True, room)
    multiply(target.asked[member], nothing, tokens, logits, False, room)
    _softmax(logits, weights.heads)
    _pool(tokens, logits, target.gate[member], scratch.pooled, weights.heads)
    scratch.pooled[-len(scratch.base) :] = scratch.base
    bias_at, values = 0, scratch.pooled
    for layer in range(weights.widths.size - 1):
        units = weights.widths[layer + 1]
        kernel = weights.behind[member, weights.begins[layer] : weights.begins[layer + 1]]
        bias = target.behind_bias[member, bias_at : bias_at + units].reshape(1, units)
        output = scratch.hidden[layer % 2, :units]
        multiply(kernel, bias, values.reshape(1, *values.shape), output.reshape(1, *output.shape), True, room)
        bias_at, values = bias_at + units, output
    scratch.sum[:] += weights.offset[member]
    add_weighted(weights.readout[member], values, scratch.sum)


@compiled()
def _softmax(logits: Floats, heads: int) -> None:
    """Turn `(token, head, bin)` into weights that add up to 1 over the tokens."""
    step = logits.shape[1] * COLUMNS
    for i in range(0, heads * COLUMNS, LANES):
        largest = load(logits, i)
        for j in range(1, len(logits)):
            largest = larger(largest, load(logits, j * step + i))
        total = spread(np.float32(0))
        for j in range(len(logits)):
            value = exp(load(logits, j * step + i) - largest)
            total = total + value
            store(logits, j * step + i, value)
        share = spread(np.float32(1)) / total
        for j in range(len(logits)):
            store(logits, j * step + i, load(logits, j * step + i) * share)


@compiled()
def _pool(tokens: Floats, weights: Floats, gate: Floats, out: Floats, heads: int) -> None:
    """Add up the gated tokens by each head's weights, `(token, unit, bin)` -> `(head * unit, bin)`."""
    n, token, _ = tokens.shape
    step, by_token = weights.shape[1] * COLUMNS, token * COLUMNS
    gated = np.empty(n * LANES, np.float32)
    for t in range(token):
        for i in range(0, COLUMNS, LANES):
            for j in range(n):
                value = load(tokens, j * by_token + t * COLUMNS + i)
                store(gated, j * LANES, value * spread(gate[j, t]))
            for h in range(heads):
                total = spread(np.float32(0))
                for j in range(n):
                    weight = load(weights, j * step + h * COLUMNS + i)
                    total = multiply_add(weight, load(gated, j * LANES), total)
                store(out, (h * token + t) * COLUMNS + i, total)
