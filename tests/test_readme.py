"""What the README says to type is there. `.ci/run` runs its `make` targets and the demo."""

import re
from pathlib import Path

import pytest

from epixs.cli.app import VERBS
from epixs.simulation.demo import demo

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_commands_exist():
    lines = "\n".join(re.findall(r"```bash\n(.*?)```", README, re.S))
    targets = set(re.findall(r"\bmake (\w+)", lines))
    assert targets == {"demo"}
    assert targets <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"epixs (\w+) ", lines)) == {"browse"} <= {verb.__name__ for verb in VERBS}


@pytest.mark.slow
def test_the_demo_leaves_what_is_shown(tmp_path):
    demo(tmp_path / "demo", size="tiny")
    for store in re.findall(r" (demo/\S+\.zarr)", README):
        assert (tmp_path / store).is_dir(), store
