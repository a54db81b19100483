"""What the documents name is there."""

import json
import re
from pathlib import Path

from epixs.config import TrainConfig

ROOT = Path(__file__).parents[1]
DOCS = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "catalog" / "README.md"]


def test_every_test_in_the_fault_matrix_exists():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "reliability.md").read_text()))
    there = {
        name for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }  # fmt: skip
    assert len(named) > 25
    assert named <= there, named - there


def test_links_lead_somewhere():
    for path in DOCS:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_every_module_is_in_the_architecture():
    text = (ROOT / "docs" / "architecture.md").read_text()
    for path in (ROOT / "epixs").rglob("*.py"):
        name = path.relative_to(ROOT / "epixs").as_posix()
        folder = f"{name.split('/')[0]}/"
        assert path.name.startswith("__") or name in text or f"| `{folder}` |" in text, name


def test_every_setting_is_documented_with_its_default():
    text = (ROOT / "docs" / "configuration.md").read_text()
    documented = {}
    for names, defaults in re.findall(r"^\| (`.*?`) \| (`.*?`) \|", text, re.M):
        values = [json.loads(value) for value in re.findall(r"`(.*?)`", defaults)]
        documented |= dict(zip(re.findall(r"`(\w+)`", names), values, strict=True))
    assert documented == TrainConfig().to_dict()
