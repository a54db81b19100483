"""Bring a model to the workers that predict: each process opens it once, from its folder."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from epixs.catalog.pairs import Pair
from epixs.cluster.client import take_one_thread
from epixs.errors import EpixsError, StoreError, TrainingError
from epixs.factors.store import FactorStore, open_factors
from epixs.imputation.predict import Predictor
from epixs.models.description import read_description
from epixs.models.folder import TrainedModel, open_model

PREDICTORS = 4
"""Number of predictors kept per model, each for its own pairs; a graph is traced for each."""

_OPENING = threading.Lock()
"""Lock by which a process opens a model once, whichever of its threads asks first."""


@dataclass(frozen=True, eq=False)
class OpenedModel:
    """A model in memory, its genome factors, and the store that it imputes and may read.

    It is pickled as a `SavedModel`, without the Keras model.
    """

    trained: TrainedModel
    factors: FactorStore | None = None
    store: str = ""

    @cached_property
    def predictor(self) -> Callable[[tuple[Pair, ...]], Predictor]:
        """Function that gives the predictor of some pairs, and caches it."""
        return functools.lru_cache(maxsize=PREDICTORS)(
            lambda pairs: Predictor(self.trained, pairs, self.factors, self.store)
        )

    @property
    def saved(self) -> SavedModel:
        """Paths and fingerprints by which a worker opens the model.

        Raises
        ------
        TrainingError
            If no folder holds the model.
        """
        folder = self.trained.folder
        try:
            is_saved = read_description(folder).fingerprint == self.trained.fingerprint
        except EpixsError:
            is_saved = False
        if not is_saved:
            raise TrainingError(
                "a model that exists only in memory cannot be sent to workers",
                got=f"a Keras model {str(folder)!r}",
                expected="a model folder, which workers can open",
                next_step="`epixs.save_model(model, folder)`, then give `epixs.open_model(folder)`"
                if self.trained.kind.is_kept
                else "impute in the process that has it, without `client`",
            )
        factors = self.factors
        return SavedModel(
            str(folder.resolve()),
            self.trained.fingerprint,
            factors.path if factors else None,
            factors.fingerprint if factors else None,
            self.store,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return SavedModel, astuple(self.saved)


@dataclass(frozen=True)
class SavedModel:
    """Paths of a model, genome factors and store for a worker, and the fingerprints that they must have."""

    folder: str
    fingerprint: str
    factors: str | None
    factors_fingerprint: str | None
    store: str = ""

    @property
    def predictor(self) -> Callable[[tuple[Pair, ...]], Predictor]:
        """The `predictor` of the model, which this process opens first if it has not yet."""
        with _OPENING:
            return _opened(self).predictor


AnyModel = OpenedModel | SavedModel


@functools.lru_cache(maxsize=1)
def _opened(saved: SavedModel) -> OpenedModel:
    """Open the model of a folder and its factors, as they were when the task was sent.

    Raises
    ------
    StoreError
        If they have changed since then.
    """
    take_one_thread()
    trained = open_model(Path(saved.folder))
    factors = open_factors(saved.factors) if saved.factors else None
    now = trained.fingerprint, factors.fingerprint if factors else None
    if now != (saved.fingerprint, saved.factors_fingerprint):
        raise StoreError(
            f"{saved.folder if now[0] != saved.fingerprint else saved.factors} changed during the run",
            next_step="run the same command again",
        )
    return OpenedModel(trained, factors, saved.store)
