"""Keras on TensorFlow: what uses Keras takes it from here, so that no other backend is chosen for our layers.

Keras reads `KERAS_BACKEND` once, when it is imported. Our layers and optimizer are written for TensorFlow.
"""

from __future__ import annotations

import os
import sys

from epixs.errors import ConfigError

if "keras" in sys.modules:
    chosen = sys.modules["keras"].config.backend()
else:
    chosen = os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # goes before a keras.json
if chosen != "tensorflow":
    raise ConfigError(
        "Keras has another backend than the models of epixs are written for",
        got=f"KERAS_BACKEND={chosen}",
        expected="tensorflow",
        next_step="start Python with KERAS_BACKEND=tensorflow, or set it before Keras is first imported",
    )

import keras

__all__ = ["keras"]
