"""The README's Python is run as it stands, but for the names of files and labels."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


@pytest.fixture
def names(world, trained, tmp_path):
    """What the README calls things -> what they are called here."""
    from epixs.compendium.read import open_compendium
    from epixs.imputation.write import impute

    imputed = tmp_path / "mouse.imputed.zarr"
    impute(trained, world.store("mouse"), imputed)
    first = open_compendium(imputed).experiment.to_numpy()[0]
    return {
        '"liver / ChIP-seq_H3K4me3_signal_p-value"': repr(first),
        '"mouse.imputed.zarr"': repr(str(imputed)),
        '"mouse.zarr"': repr(str(world.store("mouse"))),
        '"human.zarr"': repr(str(world.store("human"))),
        '"exclude.tsv"': repr(str(world.pairs)),
        '"model.keras"': repr(str(tmp_path / "model.keras")),
        '"fitted"': repr(str(tmp_path / "fitted")),
        '"fitted.imputed.zarr"': repr(str(tmp_path / "fitted.imputed.zarr")),
        '"chr19:3,000,000-3,100,000"': '"chr19:10,000,000-10,010,000"',
        '"liver"': '"simulated-mouse-00"',
        "batch_size=40_000": "batch_size=500",
        "epochs=10": "epochs=1",
        "hidden=(256, 256)": "hidden=(8, 8)",
    }


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_sections_run(names, number):
    code = blocks("python")[number]
    for old, new in names.items():
        code = code.replace(old, new)
    scope: dict[str, object] = {}
    exec(compile(code, f"README.md, Python section {number + 1}", "exec"), scope)
    assert "mouse" in scope or "model" in scope


def test_commands_and_options_exist():
    from typer.main import get_command

    from epixs.cli.app import app

    verbs = get_command(app).commands
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    used = [line.partition(" #")[0].split() for line in lines if line.startswith("epixs ")]
    assert len(used) >= 8
    for _, verb, *arguments in used:
        known = {name for parameter in verbs[verb].params for name in parameter.opts}
        assert {word for word in arguments if word.startswith("--")} <= known, verb


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / target).exists(), target
