"""Fit a model: plan and cost, the run, and callbacks between steps."""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    """Import `callbacks`, which imports Keras, when it is first used."""
    if name == "callbacks":
        return importlib.import_module("epixs.training.callbacks")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
