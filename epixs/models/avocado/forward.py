"""Predict with a `DeepTensorFactorization` in compiled kernels.

The coarse genome factors' part of the first layer is computed once per 250 bp, and the genome factors' part
once for all pairs. Some tens of bins at a time pass through the layers behind, for one pair after the other.
Sums always have the same order, so the result at a bin depends neither on the bins nor on the pairs that are
predicted with it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from epixs.compiled import compiled
from epixs.lanes import COLUMNS, LANES, larger, load, spread, store
from epixs.matrices import MATRICES
from epixs.products import (
    Weights,
    add_products,
    add_weighted,
    aligned,
    end_to_end,
    laid_out,
    multiply,
    padded,
    room_for,
)

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

TOGETHER = 4
"""Number of blocks of bins that pass a layer together: the weights of wide layers do not stay in cache."""


class Forward(NamedTuple):
    """A network's weights as the kernels take them (`products.laid_out`), units padded with zeros.

    Parameters
    ----------
    fine, coarse
        The first layer's kernel for factors of 25 bp, and for those of 250 bp and 5 kbp.
    labels
        The labels' part of the first layer for each pair, with the bias, shape `(pair, unit)`.
    widths
        Number of units of each layer.
    kernels, begins, biases
        Kernels of the layers behind, end to end; the indices at which they begin, and their end; and biases.
    readout, offset
        Weights of the last layer's units, and the bias.
    """

    fine: Weights
    coarse: Weights
    labels: Floats
    widths: npt.NDArray[np.int64]
    kernels: Weights
    begins: npt.NDArray[np.int64]
    biases: Floats
    readout: Floats
    offset: Floats

    def predict(self, fine: Floats, coarse: Floats, which: Ints, pairs: slice) -> Floats:
        """Predict some pairs, `(pair, bin)`, arcsinh units.

        Parameters
        ----------
        fine
            Factors of 25 bp, shape `(bin, factor)`.
        coarse, which
            Factors of 250 bp and 5 kbp, side by side, shape `(row, factor)`, and the row of each bin.
        """
        labels, units = self.labels[pairs], int(self.widths[0])
        out = np.empty((len(labels), len(fine)), np.float32)
        first, hidden = aligned(TOGETHER + 1, units), aligned(2, TOGETHER, int(self.widths.max()))
        columns = aligned(TOGETHER, fine.shape[1])
        room = room_for(max(int(self.widths.max()), fine.shape[1], coarse.shape[1]), TOGETHER)
        projected = np.empty((len(coarse), units), np.float32)
        _project(coarse, self.coarse, aligned(1, coarse.shape[1]), first[:1], projected, room)
        _predict(fine, projected, which, labels, self, columns, first, hidden, room, out)
        return out


def forward_of(model: Any, biosamples: Ints, assays: Ints, in_matrices: bool = MATRICES) -> Forward:
    """Take over the weights of a `DeepTensorFactorization`, for pairs of labels by number."""
    weights = {name: variable.numpy() for name, variable in model.shared_weights().items()}
    # One by one, because the last bits of a product can depend on its number of rows.
    labels = np.stack(
        [
            weights["biosample"][b] @ weights["biosample_kernel"]
            + weights["assay"][a] @ weights["assay_kernel"]
            + weights["bias"]
            for b, a in zip(biosamples, assays, strict=True)
        ]
    )
    n_fine, last = model.genome.n_factors[0], 2 + len(model.hidden)
    fine, coarse = np.split(weights["genome_kernel"], [n_fine])
    kernels = [padded(weights[f"layer{n}_kernel"], axis=0) for n in range(2, last + 1)]
    biases = [padded(weights[f"layer{n}_bias"]) for n in range(2, last)]
    numbers, begins = end_to_end([laid_out(kernel[None], in_matrices) for kernel in kernels[:-1]])
    return Forward(
        laid_out(fine[None], in_matrices)[0],
        laid_out(coarse[None], in_matrices)[0],
        padded(labels),
        np.array([kernel.shape[0] for kernel in kernels], np.int64),
        numbers[0],
        begins,
        np.concatenate([*biases, np.zeros(0, np.float32)]),
        kernels[-1][:, 0].copy(),
        weights[f"layer{last}_bias"],
    )


@compiled()
def _project(
    coarse: Floats, kernel: Weights, columns: Floats, scratch: Floats, out: Floats, room: Ints
) -> None:
    """Compute the coarse factors' part of the first layer, `(row, factor)` -> `(row, unit)`."""
    nothing = np.zeros((1, scratch.shape[1]), np.float32)
    for begin in range(0, len(coarse), COLUMNS):
        count = min(COLUMNS, len(coarse) - begin)
        for i in range(count):
            for factor in range(coarse.shape[1]):
                columns[0, factor, i] = coarse[begin + i, factor]
        multiply(kernel, nothing, columns, scratch, False, room)
        for i in range(count):
            for unit in range(out.shape[1]):
                out[begin + i, unit] = scratch[0, unit, i]


@compiled()
def _predict(
    fine: Floats,
    coarse: Floats,
    which: Ints,
    labels: Floats,
    weights: Forward,
    columns: Floats,
    first: Floats,
    hidden: Floats,
    room: Ints,
    out: Floats,
) -> None:
    """Predict `TOGETHER` blocks at a time; `columns`, `first` and `hidden` hold intermediate results."""
    nothing, widths, result = (
        np.zeros((1, first.shape[1]), np.float32),
        weights.widths,
        np.empty(COLUMNS, np.float32),
    )
    for begin in range(0, len(fine), TOGETHER * COLUMNS):
        count = min(TOGETHER * COLUMNS, len(fine) - begin)
        blocks = -(-count // COLUMNS)
        for i in range(count):
            block, column = i // COLUMNS, i % COLUMNS
            for factor in range(fine.shape[1]):
                columns[block, factor, column] = fine[begin + i, factor]
        for block in range(blocks):
            low = begin + block * COLUMNS
            _repeat(coarse, which[low : min(low + COLUMNS, len(fine))], first[block])
        add_products(weights.fine, nothing, columns[:blocks], first[:blocks], room)
        for pair in range(len(labels)):
            for block in range(blocks):
                _add_label(first[block], labels[pair], hidden[0, block])
            bias_at = 0
            for layer in range(widths.size - 1):
                inputs, units = widths[layer], widths[layer + 1]
                multiply(
                    weights.kernels[weights.begins[layer] : weights.begins[layer + 1]],
                    weights.biases[bias_at : bias_at + units].reshape(1, units),
                    hidden[layer % 2, :blocks, :inputs],
                    hidden[(layer + 1) % 2, :blocks, :units],
                    True,
                    room,
                )
                bias_at += units
            for block in range(blocks):
                result[:] = weights.offset[0]
                add_weighted(weights.readout, hidden[(widths.size - 1) % 2, block], result)
                low = begin + block * COLUMNS
                for i in range(min(COLUMNS, len(fine) - low)):
                    out[pair, low + i] = result[i]


@compiled()
def _repeat(rows: Floats, which: Ints, out: Floats) -> None:
    """Write into each column the row that it has, `(row, unit)` -> `(unit, COLUMNS)`.

    Neighbours mostly have the same row. So a whole vector is written from its first column on. What is too
    much is overwritten by the next row, the next unit, or whatever follows `out` in memory.
    """
    starts = np.empty(which.size, np.int64)
    count = 0
    for i in range(which.size):
        if i == 0 or which[i] != which[i - 1]:
            starts[count], count = i, count + 1
    for unit in range(len(out)):
        for start in starts[:count]:
            value = spread(rows[which[start], unit])
            for i in range(start, COLUMNS, LANES):
                store(out, unit * COLUMNS + i, value)


@compiled()
def _add_label(first: Floats, label: Floats, out: Floats) -> None:
    """Add a pair's part of the first layer, and set negative sums to 0."""
    zero = spread(np.float32(0))
    for unit in range(len(first)):
        added = spread(label[unit])
        for i in range(0, COLUMNS, LANES):
            at = unit * COLUMNS + i
            store(out, at, larger(load(first, at) + added, zero))
