"""Predict bins x pairs of one species from genome factors, in threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import SpeciesAxis
from epixs.catalog.pairs import Pair
from epixs.cluster.client import free_threads
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

        threads = free_threads()
        size = max(1, min(BLOCK_BINS, -(-(stop - start) // threads)))
        spans = [(first, min(stop, first + size)) for first in range(start, stop, size)]
        if min(threads, len(spans)) <= 1:
            return np.concatenate([stretch(span) for span in spans], axis=1)
        with ThreadPoolExecutor(threads) as pool:
            return np.concatenate(list(pool.map(stretch, spans)), axis=1)

    return predict


def _own(trained: TrainedModel, species: str) -> Read:
    """Read the model's own genome factors of a species."""
    part, offset = trained.axis.part(species), trained.axis.offsets(species)
    tables = [
        table.numpy()[first : first + count]
        for table, first, count in zip(trained.model.genome.tables, offset, part.n_positions, strict=True)
    ]

    def read(start: int, stop: int) -> tuple[Floats, Floats, Ints]:
        positions, first, which = _places(part, start, stop)
        medium, large = (tables[scale][positions[first, scale]] for scale in (1, 2))
        return tables[0][start:stop], np.concatenate([medium, large], axis=1), which

    return read


def _of_store(factors: Any, trained: TrainedModel) -> Read:
    """Read genome factors from a store."""
    n_fine = trained.settings.model.genome_factors[0]

    def read(start: int, stop: int) -> tuple[Floats, Floats, Ints]:
        values = factors.read(start, stop)
        _, first, which = _places(factors.plan.part, start, stop)
        return np.ascontiguousarray(values[:, :n_fine]), np.ascontiguousarray(values[first, n_fine:]), which

    return read


def _places(part: SpeciesAxis, start: int, stop: int) -> tuple[Ints, npt.NDArray[np.int64], Ints]:
    """Return the positions of bins at each scale, the first bin of each 250 bp, and the number of each bin's.

    Both are counted from `start`.
    """
    positions = part.positions(np.arange(start, stop))
    begins = np.diff(positions[:, 1], prepend=-1) != 0
    return positions, np.flatnonzero(begins), (np.cumsum(begins) - 1).astype(np.int32)
