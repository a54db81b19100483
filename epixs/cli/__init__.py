"""The `epixs` command: each verb calls the public function of its name and shows what that returns."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the `epixs` command, and answer Ctrl-C from the first moment: also while its verbs are imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what TensorFlow says of missing GPUs helps no one
    try:
        from epixs.cli.app import app

        app()
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(130)
