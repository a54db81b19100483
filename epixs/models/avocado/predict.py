"""Predict bins x pairs of one species from genome factors, in threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import MEDIUM_BINS, SpeciesAxis
from epixs.catalog.pairs import Pair
from epixs.cluster.client import on_free_threads
from epixs.compiled import compiled
from epixs.models.avocado.forward import forward_of
from epixs.models.folder import TrainedModel
from epixs.models.kinds import Predict

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

BLOCK_BINS = 16_384
"""Maximum number of bins whose genome factors a thread reads at once."""

Read = Callable[[int, int], tuple[Floats, Floats, Ints]]
"""Function that gives the factors of bins `[start, stop)`: those of 25 bp, of each bin; those of 250 bp and
5 kbp, side by side, of each 250 bp; and the row of each bin among the latter."""


def predictor(trained: TrainedModel, pairs: Sequence[Pair], factors: Any = None) -> Predict:
    """Prepare to predict pairs of one species, from the model's genome factors or those of a store.

    `factors` is a `FactorStore`, or None for the model's own.
    """
    species, axis = pairs[0][0], trained.axis
    biosamples = axis.biosample_index(species, [pair[1] for pair in pairs])
    forward = forward_of(trained.model, biosamples, axis.assay_index([pair[2] for pair in pairs]))
    read = _own(trained, species) if factors is None else _of_store(factors, trained)

    def predict(start: int, stop: int, rows: slice) -> Floats:
        def stretch(span: tuple[int, int]) -> Floats:
            return forward.predict(*read(*span), rows)

        def divide(threads: int) -> list[tuple[int, int]]:
            size = max(1, min(BLOCK_BINS, -(-(stop - start) // threads)))
            return [(first, min(stop, first + size)) for first in range(start, stop, size)]

        return np.concatenate(on_free_threads(stretch, divide), axis=1)

    return predict


def _own(trained: TrainedModel, species: str) -> Read:
    """Read the model's own genome factors of a species."""
    part, offset = trained.axis.part(species), trained.axis.offsets(species)
    tables = [
        table.numpy()[first : first + count]
        for table, first, count in zip(trained.model.genome.tables, offset, part.n_positions, strict=True)
    ]

    places = _places(part)

    def read(start: int, stop: int) -> tuple[Floats, Floats, Ints]:
        positions, _, which = places(start, stop)
        medium, large = (tables[scale][positions[:, scale]] for scale in (1, 2))
        return tables[0][start:stop], np.concatenate([medium, large], axis=1), which

    return read


def _of_store(factors: Any, trained: TrainedModel) -> Read:
    """Read genome factors from a store."""
    n_fine, places = trained.settings.model.genome_factors[0], _places(factors.plan.part)

    def read(start: int, stop: int) -> tuple[Floats, Floats, Ints]:
        values = factors.read(start, stop)
        _, first, which = places(start, stop)
        return np.ascontiguousarray(values[:, :n_fine]), np.ascontiguousarray(values[first, n_fine:]), which

    return read


def _places(part: SpeciesAxis) -> Callable[[int, int], tuple[Ints, npt.NDArray[np.int64], Ints]]:
    """Prepare to find the rows of 250 bp in which bins `[start, stop)` lie.

    The function returns the positions of each row, `(row, 3)` as in `SpeciesAxis.positions`; the first bin of
    each row, counted from `start`; and the row of each bin.
    """
    begins = part.regions.first_bin

    def places(start: int, stop: int) -> tuple[Ints, npt.NDArray[np.int64], Ints]:
        which = np.empty(stop - start, np.int32)
        first = np.empty(stop - start, np.int64)
        first = first[: _rows(begins, start, which, first)]
        return part.positions(start + first), first, which

    return places


@compiled()
def _rows(begins: npt.NDArray[np.int64], start: int, which: Ints, first: npt.NDArray[np.int64]) -> int:
    """Number the rows of 250 bp from bin `start` on, write the first bin of each, and return their count."""
    region, rows = np.searchsorted(begins, start, side="right") - 1, 0
    for i in range(which.size):
        while region + 1 < begins.size and begins[region + 1] <= start + i:
            region += 1
        if i == 0 or (start + i - begins[region]) % MEDIUM_BINS == 0:
            first[rows] = i
            rows += 1
        which[i] = rows - 1
    return rows
