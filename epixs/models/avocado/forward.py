"""Predict with a `DeepTensorFactorization` in compiled kernels.

The coarse genome factors' part of the first layer is computed once per 250 bp, and the genome factors' part
once for all pairs. Some tens of bins at a time pass through the layers behind, for one pair after the other.
Sums always have the same order, so the result at a bin depends neither on the bins nor on the pairs that are
predicted with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.compiled import compiled
from epixs.lanes import (
    COLUMNS,
    INPUTS,
    LANES,
    UNITS,
    add_products,
    aligned,
    in_panels,
    larger,
    load,
    multiply,
    multiply_inputs,
    padded,
    spread,
    store,
)

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

TOGETHER = 4
"""Number of blocks of bins that pass a layer together: the weights of wide layers do not stay in cache."""


@dataclass(frozen=True)
class Forward:
    """A network's weights as the kernels take them. Units are padded with zeros to whole panels of `UNITS`.

    Parameters
    ----------
    fine, coarse
        The first layer's kernel for factors of 25 bp, and for those of 250 bp and 5 kbp, in panels, shape
        `(panel, factor, UNITS)`.
    labels
        The labels' part of the first layer for each pair, with the bias, shape `(pair, unit)`.
    kernels, biases
        Kernels in panels of the layers behind, the last of them the readout, and their biases, end to end.
    widths
        Number of units of each layer, the readout included.
    """

    fine: Floats
    coarse: Floats
    labels: Floats
    kernels: Floats
    biases: Floats
    widths: npt.NDArray[np.int64]

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
        first, hidden = aligned(TOGETHER, units), aligned(2, TOGETHER, int(self.widths.max()))
        columns = aligned(TOGETHER, fine.shape[1])
        projected = np.empty((len(coarse), units), np.float32)
        _project(coarse, self.coarse, aligned(coarse.shape[1]), first[0], projected)
        _predict(
            fine, projected, which, self.fine, labels, self.kernels, self.biases, self.widths,
            columns, first, hidden, out,
        )  # fmt: skip
        return out


def forward_of(model: Any, biosamples: Ints, assays: Ints) -> Forward:
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
    numbers = range(2, 2 + len(model.hidden) + 1)
    kernels = [in_panels(padded(weights[f"layer{n}_kernel"], axis=0)[None])[0] for n in numbers]
    n_fine = model.genome.n_factors[0]
    fine, coarse = (in_panels(part[None])[0] for part in np.split(weights["genome_kernel"], [n_fine]))
    return Forward(
        fine,
        coarse,
        padded(labels),
        np.concatenate([kernel.reshape(-1) for kernel in kernels]),
        np.concatenate([padded(weights[f"layer{n}_bias"]) for n in numbers]),
        np.array([len(panels) * UNITS for panels in (fine, *kernels)], np.int64),
    )


@compiled()
def _project(coarse: Floats, kernel: Floats, columns: Floats, scratch: Floats, out: Floats) -> None:
    """Compute the coarse factors' part of the first layer, `(row, factor)` -> `(row, unit)`."""
    nothing = np.zeros(scratch.shape[0], np.float32)
    for begin in range(0, len(coarse), COLUMNS):
        count = min(COLUMNS, len(coarse) - begin)
        for i in range(count):
            for factor in range(coarse.shape[1]):
                columns[factor, i] = coarse[begin + i, factor]
        multiply(kernel, nothing, columns, scratch, False)
        for i in range(count):
            for unit in range(out.shape[1]):
                out[begin + i, unit] = scratch[unit, i]


@compiled()
def _predict(
    fine: Floats,
    coarse: Floats,
    which: Ints,
    kernel: Floats,
    labels: Floats,
    kernels: Floats,
    biases: Floats,
    widths: npt.NDArray[np.int64],
    columns: Floats,
    first: Floats,
    hidden: Floats,
    out: Floats,
) -> None:
    """Predict `TOGETHER` blocks at a time; `columns`, `first` and `hidden` hold intermediate results."""
    nothing = np.zeros(first.shape[1], np.float32)
    for begin in range(0, len(fine), TOGETHER * COLUMNS):
        count = min(TOGETHER * COLUMNS, len(fine) - begin)
        blocks = -(-count // COLUMNS)
        for i in range(count):
            block, column, row = i // COLUMNS, i % COLUMNS, which[begin + i]
            for factor in range(fine.shape[1]):
                columns[block, factor, column] = fine[begin + i, factor]
            for unit in range(coarse.shape[1]):
                first[block, unit, column] = coarse[row, unit]
        for block in range(blocks):
            add_products(kernel, nothing, columns[block], first[block])
        for pair in range(len(labels)):
            for block in range(blocks):
                _add_label(first[block], labels[pair], hidden[0, block])
            kernel_at, bias_at = 0, 0
            for layer in range(widths.size - 1):
                inputs, units = widths[layer], widths[layer + 1]
                weights = kernels[kernel_at : kernel_at + inputs * units]
                panels = weights.reshape(units // UNITS, inputs, UNITS)
                bias = biases[bias_at : bias_at + units]
                values, output = hidden[layer % 2], hidden[(layer + 1) % 2]
                relu = layer < widths.size - 2
                for low in range(0, inputs, INPUTS):
                    for block in range(blocks):  # weights are fetched once for all of them
                        multiply_inputs(panels, low, bias, values[block], output[block], relu)
                kernel_at, bias_at = kernel_at + inputs * units, bias_at + units
            for i in range(count):
                out[pair, begin + i] = hidden[(widths.size - 1) % 2, i // COLUMNS, 0, i % COLUMNS]


@compiled()
def _add_label(first: Floats, label: Floats, out: Floats) -> None:
    """Add a pair's part of the first layer, and set negative sums to 0."""
    zero = spread(np.float32(0))
    for unit in range(len(first)):
        added = spread(label[unit])
        for i in range(0, COLUMNS, LANES):
            at = unit * COLUMNS + i
            store(out, at, larger(load(first, at) + added, zero))
