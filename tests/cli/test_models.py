"""`epixs impute` and `evaluate`: which stores they refuse, and what their last lines say."""

import pytest
from typer.testing import CliRunner

from epixs.cli.app import app
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


@pytest.mark.parametrize("species", ["mouse", "worm"])
def test_a_store_of_another_species_than_training_had_is_no_other(world, imputed, species, tmp_path):
    from tests.worlds import planted, write_store

    store = world.store("mouse")
    other = store if species == "mouse" else write_store(
        tmp_path / "worm.zarr", planted(1, 1, 1), labels=[("b", "a")], species="worm"
    )  # fmt: skip
    done = epixs("evaluate", imputed, store, "--other", other)
    assert done.exit_code == 2
    assert f"got '{species}'; expected human" in done.stderr


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
