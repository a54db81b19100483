"""The pipeline scripts, run as a user would, on the small world."""

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

from epixs.compendium.store import open_compendium

PIPELINES = Path(__file__).parents[1] / "pipelines"
STEPS = ("ingest", "train", "impute", "evaluate")


def run(step, settings):
    spec = importlib.util.spec_from_file_location(f"pipeline_{step}", PIPELINES / f"{step}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(str(settings))


def test_the_four_steps_one_after_the_other(world, held_out, tmp_path, capsys):
    for name in ("catalog.tsv", "human.bed", "mouse.bed", "exclude.tsv"):
        shutil.copy(world.folder / name, tmp_path)
    shutil.copytree(world.folder / "tracks", tmp_path / "tracks")
    text = (PIPELINES / "laptop.toml").read_text()
    small = "[train]\nhidden = [16, 16]\nbatch_size = 500\nepochs = 2\nheld_out = 0.1\n"
    (tmp_path / "laptop.toml").write_text(text[: text.index("[train]")] + small)
    for step in STEPS:
        assert run(step, tmp_path / "laptop.toml") == 0
    printed = capsys.readouterr().out
    assert "imputed" in printed
    assert (tmp_path / "mouse-report" / "scores.tsv").exists()
    imputed = open_compendium(tmp_path / "mouse.imputed.zarr")
    assert imputed.attrs["kind"] == "imputed"
    assert imputed.sizes["experiment"] == len(held_out)


@pytest.mark.parametrize("step", STEPS)
def test_scripts_are_short_and_only_wire_public_calls(step):
    text = (PIPELINES / f"{step}.py").read_text()
    assert len(text.splitlines()) < 80
    import epixs

    assert set(re.findall(r"epixs\.(\w+)\(", text)) <= set(epixs.__all__)
    assert re.findall(r"^(?:from|import) (epixs\S*)", text, re.M) == ["epixs"]
