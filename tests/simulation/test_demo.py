import io
import shlex

import pytest
from rich.console import Console
from typer.testing import CliRunner

from epixs.axis.join import joint_axis
from epixs.cli.app import app
from epixs.compendium.read import open_compendium
from epixs.errors import StoreError
from epixs.evaluation.table import AVERAGE, IMPUTED
from epixs.simulation.demo import choose_excluded, demo, next_commands


@pytest.mark.slow
def test_demo_runs_the_whole_path_and_prints_what_it_measured(tmp_path):
    screen = io.StringIO()
    result = demo(tmp_path / "demo", size="tiny", seed=3, console=Console(file=screen, width=100))
    printed = screen.getvalue()
    joint = result.joint.scores
    for method in (IMPUTED, AVERAGE):
        assert f"{joint.loc[joint['method'] == method, 'mse'].mean():.4f}" in printed
    zero = result.zero_shot.scores
    assert set(zero["assay_class"]) == {"protein_binding"}
    assert f"{zero.loc[zero['method'] == IMPUTED, 'pearson'].mean():.4f}" in printed
    assert {"mouse only", "mouse + human"} <= {
        line.strip()[: len(n)] for line in printed.split("\n") for n in ("mouse only", "mouse + human")
    }
    assert (tmp_path / "demo" / "zero_shot.png").stat().st_size > 10_000
    assert (tmp_path / "demo" / "zero_shot-report" / "report.html").is_file()
    browse, impute = next_commands(tmp_path / "demo")
    assert f"  {browse}\n  {impute}\n" in printed
    assert browse.startswith("epixs browse ")
    assert CliRunner().invoke(app, shlex.split(impute)[1:]).exit_code == 0
    assert open_compendium(tmp_path / "demo" / "mouse.imputed.zarr").attrs["kind"] == "imputed"
    with pytest.raises(StoreError, match="is not empty"):
        demo(tmp_path / "demo", size="tiny")


def test_excluded_third_leaves_every_assay_and_biosample_one(world):
    chosen = choose_excluded(world.store("mouse"), seed=0)
    axis = joint_axis([world.store("mouse")], chosen)
    part = axis.parts[0]
    assert 0.2 * len(part.experiments) <= len(chosen) <= 0.4 * len(part.experiments)
    assert set(part.training["assay"]) == set(part.experiments["assay"])
    assert set(part.training["biosample"]) == set(part.experiments["biosample"])
