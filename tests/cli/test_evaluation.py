"""`epixs evaluate`: which stores it refuses, and what it says of tracks that were trained on."""

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


def test_scores_of_tracks_that_were_trained_on_are_said_to_be_no_test(world, trained, imputed, tmp_path):
    store, seen = world.store("mouse"), trained.axis.part("mouse").training.iloc[0]
    impute(trained, store, tmp_path / "seen.zarr", pairs=[("mouse", seen.biosample, seen.assay)])
    done = epixs("evaluate", tmp_path / "seen.zarr", store)
    assert f"trained on tracks of role training: {NO_TEST}" in " ".join(done.stderr.split())
    assert NO_TEST not in " ".join(epixs("evaluate", imputed, store).stderr.split())
