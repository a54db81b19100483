"""`epixs info` and `status`: whole names where nothing wraps them, and the verdict on a model."""

from typer.testing import CliRunner

from epixs.cli.app import app
from tests.worlds import planted, write_store


def epixs(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_names_are_whole_in_a_pipe(tmp_path):
    names = [f"accession-{letter * 150}" for letter in "abc"]
    labels = [("biosample " * 15, f"a{i}") for i in range(3)]
    store = write_store(tmp_path / "s.zarr", planted(1, 1, 3), labels=labels, accessions=names)
    lines = epixs("info", store).stdout.splitlines()
    rows = [line for line in lines if line.startswith("accession-")]
    assert [row.split("  ")[0] for row in rows] == names
    assert all(("biosample " * 15).strip() in row and " ok " in row for row in rows)
    assert not any(line.endswith(" ") for line in lines)


def test_a_model_repeats_what_training_said_of_it(trained):
    status, info = epixs("status", trained.folder), epixs("info", trained.folder)
    assert (status.exit_code, info.exit_code) == (0, 0)
    for species in ("mouse", "human"):
        (line,) = [line for line in status.stdout.splitlines() if line.startswith(f"{species}: ")]
        assert "average activity 0." in line
        assert line in info.stdout
