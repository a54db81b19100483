"""Import Keras with the TensorFlow backend; all other modules import Keras from here.

Keras reads `KERAS_BACKEND` once, when it is imported. Our layers and optimiser are written for TensorFlow.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from epixs.errors import ConfigError

if "keras" in sys.modules:
    chosen = sys.modules["keras"].config.backend()
else:
    chosen = os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # overrides a keras.json
if chosen != "tensorflow":
    raise ConfigError(
        "Keras has another backend than the models of epixs are written for",
        got=f"KERAS_BACKEND={chosen}",
        expected="tensorflow",
        next_step="start Python with KERAS_BACKEND=tensorflow, or set it before Keras is first imported",
    )

import keras

__all__ = ["keras", "without_optimizer"]


@contextlib.contextmanager
def without_optimizer(model: Any) -> Iterator[None]:
    """Let a model be saved without its optimiser, whose moments are twice as large as the weights.

    Keras 3 has an argument for this, which the `.keras` format ignores.
    """
    compiled = model.compiled
    optimizer = model.optimizer if compiled else None
    if compiled:
        model.optimizer, model.compiled = None, False
    try:
        yield
    finally:
        if compiled:
            model.optimizer, model.compiled = optimizer, True
