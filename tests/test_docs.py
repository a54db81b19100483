"""What the documents name is there."""

import json
import re
from pathlib import Path

from docs import make_settings
from epixs.config import TrainingSettings
from epixs.models.kinds import KINDS, kind_named

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


def test_the_tables_of_settings_are_those_that_the_types_give():
    assert make_settings.page() == make_settings.PAGE.read_text(), "python -m docs.make_settings"


def test_every_setting_is_documented_with_its_default():
    tables = re.split(r"^## ", (ROOT / "docs" / "configuration.md").read_text(), flags=re.M)
    documented = {}
    for table in tables[1:]:
        values = documented[re.search(r"`\[(.*?)`", table).group(1).removesuffix("]")] = {}
        for names, defaults in re.findall(r"^\| (`.*?`) \| (`.*?`) \|", table, re.M):
            found = [json.loads(value) for value in re.findall(r"`(.*?)`", defaults)]
            values |= dict(zip(re.findall(r"`(\w+)`", names), found, strict=True))
    kinds = {f'model] kind = "{name}"': kind_named(name).settings().to_dict() for name in KINDS}
    for kind in kinds.values():
        del kind["kind"]
    assert documented == kinds | {"training": TrainingSettings().to_dict()}
