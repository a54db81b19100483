"""The `epixs` command: each verb calls the public function of its name and shows the result."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the `epixs` command. Ctrl-C is handled from the start, even while verbs are imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides TensorFlow's messages on missing GPUs
    try:
        from epixs.cli.app import app

        app()
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(130)
