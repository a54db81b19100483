"""Predict bins x pairs of one species, within the range that each assay has shown in training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from epixs.catalog.pairs import Pair
from epixs.compendium.transform import quantise
from epixs.errors import TrainingError
from epixs.factors.store import FactorStore
from epixs.models.folder import TrainedModel


class Predictor:
    """Predicts bins x pairs of one species, whatever the kind of model.

    Parameters
    ----------
    trained
        The model.
    pairs
        Pairs to predict, all of one species.
    factors
        Genome factors of other regions, from `fit_genome`; by default the model's own.
    store
        The store whose bins are predicted, and from which a kind that reads signal reads it; by default the
        one that the model was trained on.
    """

    def __init__(
        self,
        trained: TrainedModel,
        pairs: Sequence[Pair],
        factors: FactorStore | None = None,
        store: str | Path | None = None,
    ) -> None:
        store = store or trained.axis.part(pairs[0][0]).source
        self.low = np.array([trained.bounds[pair[2]][0] for pair in pairs], dtype=np.float32)
        self.high = np.array([trained.bounds[pair[2]][1] for pair in pairs], dtype=np.float32)
        self._name = trained.folder
        self._spreads = trained.kind.spreads(trained, pairs)
        self._predict = trained.kind.predictor(trained, pairs, store, factors)

    def predict(self, start: int, stop: int, rows: slice = slice(None)) -> npt.NDArray[np.float32]:
        """Predict bins `[start, stop)` of the store for some of the pairs, shape `(pair, bin)`.

        The values are in arcsinh units, bounded by the range that each assay has shown in training: the
        inverse, sinh, would turn a slightly too high prediction into an absurd one.
        """
        values = self._predict(start, stop, rows)
        if np.isnan(values).any():
            raise TrainingError(
                f"{self._name} predicts values that are no numbers",
                got=f"{np.isnan(values).sum():,} NaN of {values.size:,} values",
                next_step="train it again, with a lower learning rate",
            )
        return quantise(np.clip(values, self.low[rows, None], self.high[rows, None]))

    @property
    def has_spread(self) -> bool:
        """Whether `spread` is known."""
        return self._spreads is not None

    def spread(self, values: npt.NDArray[np.float32], rows: slice = slice(None)) -> npt.NDArray[np.float32]:
        """Estimate the spread of the errors of `values`, which `predict` gave for the same pairs.

        Same shape, arcsinh units. The observed value lies within 1.2816 spreads of the predicted one in about
        80 % of a track's bins. NaN if the spread is not known.
        """
        if self._spreads is None:
            return np.full_like(values, np.nan)
        return quantise(self._spreads(values, rows))
