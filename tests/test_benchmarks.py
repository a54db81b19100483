"""Every benchmark can be started: it imports, and shows its help."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", MODULES)
def test_a_benchmark_imports(name):
    importlib.import_module(f"benchmarks.{name}")


def test_a_benchmark_says_what_it_needs():
    command = [sys.executable, "-m", "benchmarks.real_tracks", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ)
    assert "--data" in done.stdout
