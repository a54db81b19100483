import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from epixs.cli import main
from tests.patience import PATIENCE


def test_ctrl_c_while_the_verbs_are_imported(monkeypatch, capsys):
    class Interrupted:
        def find_spec(self, name, *_):
            if name == "epixs.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "epixs.cli.app", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "error: interrupted\n"


MODELS = {"tensorflow", "keras"}
SLOW = MODELS | {"numba", "xarray", "zarr", "dask", "pandas", "numpy", "scipy"}


@pytest.mark.parametrize(
    ("command", "left_out"),
    [
        ("train missing.zarr --out model", SLOW),
        ("impute missing store --out x", SLOW),
        ("impute folder missing.zarr --out x", SLOW),
        ("extend missing store --out x", SLOW),
        ("fit-genome missing store --out x", SLOW),
        ("evaluate missing.zarr store", SLOW),
        ("train folder --out model", MODELS),
        ("impute folder folder --out x", MODELS),
        ("extend folder folder --out x", MODELS),
        ("fit-genome folder folder --out x", MODELS),
        ("evaluate folder folder", MODELS),
        ("impute folder folder --pairs bad.tsv --out x", MODELS),
    ],
)
def test_mistakes_are_found_before_what_is_slow_is_imported(tmp_path, command, left_out):
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad.tsv").write_text("species\tbiosample\n")
    assert not imported_by(tmp_path, command.split(), "error: ") & left_out


def test_pairs_that_cannot_be_imputed_are_found_before_the_model_is_loaded(world, trained, tmp_path):
    (tmp_path / "bad.tsv").write_text("species\tbiosample\tassay\nmouse\tsimulated-mouse-00\tH3K99me9\n")
    command = ["impute", trained.folder, world.store("mouse"), "--pairs", "bad.tsv", "--out", "x"]
    assert not imported_by(tmp_path, command, "H3K99me9") & MODELS


def imported_by(folder, command, message):
    """The modules that a verb imports before it ends with an error."""
    full = [sys.executable, "-X", "importtime", "-m", "epixs.cli", *map(str, command)]
    place = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        full, cwd=folder, env=place, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 2
    assert re.search(rf"^error: .*{message}|^{message}", done.stderr, re.M)
    assert "Traceback" not in done.stderr
    return set(re.findall(r"\| +([\w.]+)$", done.stderr, re.M))
