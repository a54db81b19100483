"""What the documents name is there, what they show runs, and the site of them is built."""

import html
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs import make_settings
from epixs.compendium.read import open_compendium
from epixs.config import TrainingSettings
from epixs.models.kinds import KINDS, kind_named
from tests.worlds import BINS, planted, write_store

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


PAGES = sorted((ROOT / "docs").glob("*.md"))
FENCE = re.compile(r"^```(bash|python)( title=\"(.*?)\")?\n(.*?)^```$", re.M | re.S)
ELSEWHERE = {"commands.md": "tests/cli/test_examples.py", "tutorial.md": "tests/test_tutorial.py"}
"""Pages whose snippets another test runs."""

SMALLER = {
    "epixs simulate world": "epixs simulate world --size tiny",
    "--max-minutes 1": "--epochs 1",
    "hidden=(256, 256)": "hidden=(8, 8)",
    "batch_size=40_000": "batch_size=500",
    "epochs=10": "epochs=1",
    "steps_per_epoch=100": "steps_per_epoch=2",
}
"""All that is changed in a snippet before it is run: sizes."""


def snippets(page):
    """The snippets of a page that run: (language, code)."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [(language, code) for language, _, title, code in found if not title.startswith("not run")]


@pytest.fixture
def documented(world, tmp_path):
    """A folder with what the pages call by name: bigWigs with their catalog, and finished stores."""
    for name in ("catalog.tsv", "human.bed", "mouse.bed", "tracks"):
        (tmp_path / name).symlink_to(world.folder / name)
    labels = [(b, a) for b in ("liver", "heart") for a in ("H3K4me3", "H3K27me3", "CTCF")]
    place = [("chr19", 3_000_000, 3_000_000 + 25 * BINS)]
    for seed, species in enumerate(("mouse", "human")):
        write_store(
            tmp_path / f"{species}.zarr", planted(seed, 2, 3), labels=labels, regions=place, species=species
        )
    write_store(tmp_path / "mouse.imputed.zarr", planted(2, 2, 3), labels=labels, regions=place)
    (tmp_path / "exclude.tsv").write_text("species\tbiosample\tassay\nmouse\tliver\tH3K4me3\n")
    (tmp_path / "bosTau9.chrom.sizes").write_text("chr1\t158534110\nchrM\t16338\n")
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Consolidated metadata")  # Zarr's own, of what xarray writes
@pytest.mark.parametrize(
    "page", [p for p in PAGES if snippets(p) and p.name not in ELSEWHERE], ids=lambda page: page.name
)
def test_snippets_run(page, documented, tmp_path_factory, monkeypatch):
    for library in ("matplotlib", "igv_notebook"):
        pytest.importorskip(library)
    folder = tmp_path_factory.mktemp("empty") if page.name in ("index.md", "downstream.md") else documented
    monkeypatch.chdir(folder)
    (folder / "bin").mkdir()
    (folder / "bin" / "epixs").write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m epixs.cli "$@"\n'
    )
    (folder / "bin" / "epixs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    scope: dict[str, object] = {}
    for language, code in snippets(page):
        for whole, small in SMALLER.items():
            if (
                page.name != "downstream.md" or "simulate" not in whole
            ):  # it names a biosample of the whole world
                code = code.replace(whole, small)
        if language == "python":
            exec(compile(code, page.name, "exec"), scope)
        else:
            done = subprocess.run(["bash", "-e", "-c", code], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"


def test_what_is_not_run_says_why():
    for page in PAGES:
        for _, _, title, code in FENCE.findall(page.read_text(encoding="utf-8")):
            assert not title or re.match("not run(?: here)?: .{6}", title), f"{page.name}: {code}"


def test_every_page_is_in_the_navigation():
    text = (ROOT / "zensical.toml").read_text()
    listed = re.findall(r'"([\w-]+\.md)"', text)
    assert len(listed) == len(set(listed))
    assert {page.name for page in PAGES} - set(listed) == set()


@pytest.mark.slow
def test_the_site_is_built_and_asks_nothing_of_others(tmp_path):
    """`make docs`: strict, so every link and anchor leads somewhere; and no page loads from elsewhere."""
    pytest.importorskip("zensical")
    pytest.importorskip("mkdocstrings")
    for name in ("docs", "epixs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= len(PAGES)
    for page in pages:
        loaded = re.findall(r'<(?:script|img)[^>]* src="([^"]+)"|<link[^>]* href="([^"]+)"', page.read_text())
        outside = [a or b for a, b in loaded if re.match("(https?:)?//", a or b)]
        assert not outside, f"{page}: {outside}"
    reference = (tmp_path / "site" / "reference" / "index.html").read_text()
    assert 'id="epixs.open_compendium"' in reference
    said_of_unfinished = inspect.getdoc(open_compendium).split("\nunfinished\n")[1].splitlines()[0].strip()
    assert said_of_unfinished in html.unescape(
        reference
    )  # the sentences of the docstring, not only the names
