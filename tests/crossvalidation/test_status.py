"""What a folder says of a run, whole and damaged; tests/crossvalidation/test_run.py has it of real runs."""

import json

import pytest
from typer.testing import CliRunner

from epixs.cli.app import app
from epixs.crossvalidation.status import folder_of_run, run_status
from epixs.errors import StoreError
from epixs.evaluation.runs import PLAN_FILE

PLAN = {
    "species": "mouse",
    "split": {"by": "assay", "fingerprint": "0"},
    "fits": [{"number": 1, "training_set": "alone", "model": "m", "seed": 0, "fold": "a"}],
}


def test_a_run_is_known_by_its_plan(tmp_path):
    assert folder_of_run(tmp_path) is None
    assert folder_of_run("s3://bucket/store.zarr") is None
    (tmp_path / PLAN_FILE).write_text("{}")
    assert folder_of_run(tmp_path) == folder_of_run(tmp_path / "tasks") == tmp_path
    assert folder_of_run(tmp_path / "regions") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "is damaged"),
        ("[]", "is damaged"),
        (json.dumps(PLAN | {"fits": [{"number": "1"}]}), r"fits\[0\]"),
        (json.dumps(PLAN | {"split": {"by": 3}}), "split"),
    ],
)
def test_a_damaged_plan_is_refused_in_one_line(text, said, tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / PLAN_FILE).write_text(text)
    with pytest.raises(StoreError, match=said):
        run_status(tmp_path)
    for verb in ("status", "info"):
        shown = CliRunner().invoke(app, [verb, str(tmp_path)])
        assert shown.exit_code == 2
        assert shown.stderr.startswith("error: ")
        assert shown.stderr.count("\n") == 1


def test_a_plan_without_its_records_is_no_run_that_is_done(tmp_path):
    (tmp_path / PLAN_FILE).write_text(json.dumps(PLAN))
    with pytest.raises(StoreError):
        run_status(tmp_path)
