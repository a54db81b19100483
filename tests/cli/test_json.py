"""`--json`: one object on standard output and nothing else there, for each verb that reports."""

import inspect
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from epixs.cli.app import VERBS, app
from epixs.cli.terminal import as_json, out
from epixs.compendium.read import open_compendium
from tests.worlds import planted, write_store

SILENT = {"simulate", "demo", "plot", "curves", "browse"}
"""Verbs that write files or pictures and find nothing out, or serve a page until they are stopped."""

LABELS = [(f"b{b}", f"a{a}") for b in range(4) for a in range(3)]


def ask(*arguments, code=0):
    """The object that a verb prints."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == code, result.output
    assert not out.stderr  # what people read goes to standard output again
    return json.loads(result.stdout, parse_constant=refuse)


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "s.zarr", planted(1, 4, 3), labels=LABELS)


def test_every_verb_that_reports_has_it():
    assert {v.__name__ for v in VERBS if "json" not in inspect.signature(v).parameters} == SILENT


def test_values_as_json_holds_them():
    table = pd.DataFrame({"name": ["x"], "value": [np.nan], "count": [np.int64(3)]})
    assert as_json(table) == [{"name": "x", "value": None, "count": 3}]
    assert as_json({"a": (1, math.inf), 2: Path("x"), "n": np.float32(0.5)}) == {
        "a": [1, None],
        "2": "x",
        "n": 0.5,
    }
    assert as_json(None) is None
    assert as_json(True) is True


def test_catalog_and_ingest(world, tmp_path):
    made = ask("catalog", world.folder / "metadata.tsv", "--out", tmp_path / "c.tsv")
    assert {row["species"] for row in made["species"]} == {"human", "mouse"}
    assert made["files_left_out"]["not released"] == 1
    ingest = ["ingest", world.catalog, "--species", "mouse", "--regions", world.bed("mouse"), "--out"]
    dry = ask(*ingest, tmp_path / "m.zarr", "--dry-run")
    assert dry["plan"]["bins"] == 2_000
    assert dry["plan"]["worker_bytes"] > 0
    assert dry["unreadable"] == {}
    done = ask(*ingest, tmp_path / "m.zarr", "--tile", "1/1")
    assert len(done["experiments"]) == dry["plan"]["experiments"]
    assert {row["status"] for row in done["experiments"]} == {"ok"}


def test_ingest_says_which_files_it_cannot_read(panel, tmp_path):
    (tmp_path / "0.bw").write_text("not a bigWig")
    (tmp_path / "r.bed").write_text("chr1\t9000\t10010\n")
    dry = ask("ingest", tmp_path / "catalog.tsv", "--regions", tmp_path / "r.bed", "--out", tmp_path / "o.zarr",
              "--dry-run", code=1)  # fmt: skip
    assert [*dry["unreadable"]] == ["A0"]


def test_status_and_info(store):
    state = ask("status", store)
    assert (state["holds"], state["status"], state["experiments"]) == ("compendium", "complete", 12)
    assert (state["failed"], state["removed"]) == ([], [])
    held = ask("info", store)
    assert (held["bins"], held["bin_size_bp"]) == (3_000, 25)
    assert len(held["experiments_table"]) == 12
    assert held["experiments_table"][0]["accession"] == "b0-a0"


def test_remove(store):
    assert ask("remove", store, "b0-a0", "--reason", "wrong antibody")["removed"] == ["b0-a0"]
    assert ask("status", store)["removed"] == [{"accession": "b0-a0", "reason": "wrong antibody"}]
    assert ask("remove", store, "b0-a0", "--undo")["restored"] == ["b0-a0"]


@pytest.mark.slow
def test_verify(world, tmp_path):
    store = tmp_path / "m.zarr"
    shutil.copytree(world.store("mouse"), store)
    assert ask("verify", store, "--workers", 1)["faults"] == []
    (store / "signal" / "c" / "0" / "0").unlink()
    (fault,) = ask("verify", store, "--workers", 1, code=1)["faults"]
    assert fault["what"] == "does not have the values that were written"


def test_qc(store, tmp_path):
    measured = ask("qc", store, "--report", tmp_path / "qc", "--workers", 1)
    assert len(measured["experiments"]) == 12
    assert [Path(name).name for name in measured["files"]] == ["qc.tsv", "qc.html"]


@pytest.mark.slow
def test_train_and_what_follows_from_it(store, tmp_path):
    model, options = tmp_path / "model", ["--model", "avocado", "--hidden", "8", "--epochs", 1]
    dry = ask("train", store, "--out", model, *options, "--dry-run")
    assert dry["plan"]["parameters"] > 0
    assert dry["plan"]["seconds_per_epoch"] > 0
    done = ask("train", store, "--out", model, *options)
    assert done["best_epoch"] == 1
    assert done["verdicts"][0]["species"] == "mouse"
    assert done["errors"][0]["model_mse"] > 0
    assert ask("status", model)["verdicts"] == done["verdicts"]
    assert ask("info", model)["species_table"][0]["trained_on"] == 12
    grown = write_store(
        tmp_path / "grown.zarr",
        planted(1, 5, 3),
        labels=[(f"b{b}", f"a{a}") for b in range(5) for a in range(3)],
    )
    extended = ask("extend", model, grown, "--out", tmp_path / "extended", "--epochs", 1)
    assert extended["new_biosamples"] == ["b4"]
    factors = ["fit-genome", model, store, "--out", tmp_path / "f.zarr", "--epochs", 1]
    assert ask(*factors, "--dry-run")["plan"]["blocks"] == 1
    assert ask(*factors, "--workers", 1)["held_out_mse"] > 0
    assert ask("status", tmp_path / "f.zarr")["holds"] == "genome factors"
    assert ask("info", tmp_path / "f.zarr")["blocks_fitted"] == 1


def test_impute_and_evaluate(world, trained, held_out, tmp_path):
    mouse, imputed = world.store("mouse"), tmp_path / "i.zarr"
    impute = ["impute", trained.folder, mouse, "--out", imputed, "--pairs", world.pairs]
    dry = ask(*impute, "--dry-run")
    assert dry["plan"]["roles"] == {"gap fill": 1, "zero-shot": len(held_out) - 1}
    assert not imputed.exists()
    done = ask(*impute)
    assert done["plan"] == dry["plan"]
    assert [row["role"] for row in done["experiments"]].count("gap fill") == 1
    assert ask("info", imputed)["roles"] == dry["plan"]["roles"]
    scored = ask("evaluate", imputed, mouse)
    assert {row["method"] for row in scored["scores"]} >= {"imputed", "average activity"}
    assert all(row["mse"] is None or row["mse"] >= 0 for row in scored["summary"])


def test_a_mistake_leaves_standard_output_empty(tmp_path):
    result = CliRunner().invoke(app, ["status", str(tmp_path / "none.zarr"), "--json"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "does not exist" in result.stderr


def test_rows_that_failed_are_said_on_standard_error(world, tmp_path):
    shutil.copytree(world.store("mouse"), tmp_path / "m.zarr")
    name = str(open_compendium(tmp_path / "m.zarr").accession.values[0])
    result = CliRunner().invoke(app, ["remove", str(tmp_path / "m.zarr"), name, "--json"])
    assert f"{name} removed" in result.stderr
