"""The `epixs` command: each verb wires public calls, shows a plan, progress and a table."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what TensorFlow says of missing GPUs helps no one

from epixs.cli import ingest, shown, stores, training, models, worlds  # isort: skip (the order of the verbs in --help)
from epixs.cli.app import app

__all__ = ["app", "ingest", "main", "models", "shown", "stores", "training", "worlds"]


def main() -> None:
    """Entry point of the `epixs` command."""
    app()
