"""`epixs extend`: it asks about names before it adds them."""

from typer.testing import CliRunner

from epixs.cli.app import app
from tests.worlds import planted, write_store


def test_extending_asks_if_a_new_name_means_an_assay_that_the_model_knows(trained, tmp_path):
    known = next(name for name in trained.axis.assays if name.endswith("_signal_p-value"))
    labels = [(f"c{b}", name) for b in range(2) for name in (known.removesuffix("_signal_p-value"), "x")]
    store = write_store(tmp_path / "cow.zarr", planted(0, 2, 2), labels=labels, species="cow")
    command = ["extend", str(trained.folder), str(store), "--out", str(tmp_path / "m"), "--epochs", "1"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    said = " ".join(done.stderr.split())
    assert "did you mean the same assay by" in said
    assert known in said
    assert "without any training experiment" not in said  # the model knows the assays of other species
    assert "mouse:" not in done.stdout  # nothing of it was trained on
