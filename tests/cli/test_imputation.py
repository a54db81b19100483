"""`epixs impute`: which stores it refuses, and what its last lines say."""

import pytest
from typer.testing import CliRunner

from epixs.cli.app import app
from epixs.cli.terminal import NO_TEST
from epixs.imputation.write import impute


def epixs(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def imputed(world, trained, tmp_path):
    impute(trained, world.store("mouse"), tmp_path / "i.zarr")
    return tmp_path / "i.zarr"


def test_an_imputed_store_is_nothing_to_impute_from(trained, imputed, tmp_path):
    done = epixs("impute", trained.folder, imputed, "--out", tmp_path / "again.zarr")
    assert done.exit_code == 2
    assert "i.zarr is imputed; expected the observed compendium of the species" in done.stderr
    assert not (tmp_path / "again.zarr").exists()


def test_impute_ends_with_zero_shot_and_gap_fills_apart(world, trained, held_out, tmp_path):
    done = epixs(
        "impute", trained.folder, world.store("mouse"), "--out", tmp_path / "i.zarr", "--pairs", world.pairs
    )
    last = done.stdout.splitlines()[-1]
    assert last.endswith(
        f"{len(held_out)} imputed experiments: 1 to fill gaps, {len(held_out) - 1} zero-shot "
        "(an assay without any training experiment in mouse)"
    )
    shown = epixs("info", tmp_path / "i.zarr").stdout
    assert shown.count("zero-shot") == len(held_out)  # each row, and their number
    assert shown.count("gap fill") == 2


def test_tracks_that_were_trained_on_are_said_to_be_no_test(world, trained, tmp_path):
    seen = trained.axis.part("mouse").training.iloc[0]
    (tmp_path / "x.tsv").write_text(f"species\tbiosample\tassay\nmouse\t{seen.biosample}\t{seen.assay}\n")
    command = ("impute", trained.folder, world.store("mouse"), "--out", tmp_path / "i.zarr")
    done = epixs(*command, "--pairs", tmp_path / "x.tsv", "--dry-run")
    assert f"trained on 1 of the 1 tracks: {NO_TEST}" in " ".join(done.stderr.split())
    assert NO_TEST not in " ".join(epixs(*command, "--dry-run").stderr.split())
