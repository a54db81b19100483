"""Whole cross-validations: what they write, that they are the same again, resume, and leak nothing."""

import json
import shutil
import signal
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from epixs.cli.app import app
from epixs.cluster.client import open_client
from epixs.compendium.read import open_compendium
from epixs.crossvalidation.plan import plan_crossvalidation
from epixs.crossvalidation.run import crossvalidate, read_scores
from epixs.errors import ConfigError, StoreError
from epixs.evaluation.comparison import tables
from epixs.evaluation.table import AVERAGE
from epixs.report.describe import info, status
from epixs.storage.ledger import read_ledger, write_record
from epixs.storage.store import open_store
from tests.crossvalidation.worlds import (
    ALONE,
    AVOCADO,
    CONTEXT,
    JOINT,
    killed,
    write_config,
    write_stores,
)

LABELS = ["training_set", "model", "seed", "fold", "method", "species", "biosample", "assay", "assay_class"]


@pytest.fixture(autouse=True)
def few_entries(monkeypatch):
    """Epochs of a few steps, and not of a million entries."""
    monkeypatch.setattr("epixs.models.context.kind.ENTRIES_PER_EPOCH", 1 << 12)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return write_stores(tmp_path_factory.mktemp("cv"))


@pytest.fixture(scope="module")
def config(stores):
    return write_config(stores, ALONE, JOINT, AVOCADO, name="whole.toml")


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory):
    """A run that nothing ever happened to."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    crossvalidate(config, out=folder)
    return folder


def fits_done(folder):
    return len(read_ledger(open_store(folder / "tasks"), dict))


def test_one_row_per_fit_and_experiment_and_one_per_baseline(undisturbed):
    table = read_scores(undisturbed / "scores.tsv")
    assert [*table.columns][: len(LABELS)] == LABELS
    assert {"role", "bins", "observed_bins", "same_units", "mse", "pearson", "spearman", "skill"} <= {*table}
    key = [*LABELS[:5], "biosample", "assay"]
    assert not table.duplicated(key).any()
    models, baselines = table[table["model"] != "-"], table[table["model"] == "-"]
    assert set(models["method"]) == set(models["model"]) == {"paper"}
    assert (models.groupby(["training_set", "seed"]).size() == 16).all()  # each experiment in one fold
    assert set(baselines["method"]) == {AVERAGE}
    assert set(baselines["seed"]) == {"-"}
    assert (baselines.groupby("training_set").size() == 16).all()
    assert set(table["species"]) == {"mouse"}
    assert set(table["role"]) == {"excluded"}
    assert table["mse"].notna().all()


def test_the_plan_and_the_splits_lie_beside_the_scores(undisturbed, config):
    content = json.loads((undisturbed / "crossvalidation.json").read_text())
    plan = plan_crossvalidation(config)
    assert content["split"]["fingerprint"] == plan.split.fingerprint
    assert [fit["fingerprint"] for fit in content["fits"]] == [fit.fingerprint for fit in plan.fits]
    assert {store["species"] for store in content["stores"]} == {"mouse", "human"}
    assert {"tensorflow", "keras", "numpy", "python"} == set(content["versions"])
    for fold, number in zip(plan.split.folds, (1, 2), strict=True):
        rows = pd.read_csv(undisturbed / "splits" / f"fold-{number}.tsv", sep="\t")
        assert len(rows) == len(fold.pairs) == content["split"]["folds"][number - 1]["experiments"]
    assert not (undisturbed / "fits").exists()


def test_scores_are_those_of_the_table(undisturbed, config):
    """Run again, nothing is fitted, and the same numbers come back."""
    calls = []
    table = crossvalidate(config, out=undisturbed, progress=calls.append)
    assert [(call.tiles_done, call.tiles) for call in calls] == [(4, 4)]
    pd.testing.assert_frame_equal(table, read_scores(undisturbed / "scores.tsv"))


@pytest.mark.slow
def test_rows_that_are_lost_or_damaged_are_fitted_again(undisturbed, config):
    text = (undisturbed / "scores.tsv").read_bytes()
    rows = undisturbed / "tasks" / "scores"
    (rows / "0002.tsv").unlink()
    (rows / "0004.tsv").write_bytes((rows / "0004.tsv").read_bytes().replace(b"0.", b"1.", 1))
    calls = []
    crossvalidate(config, out=undisturbed, progress=calls.append)
    assert [call.tiles_done for call in calls] == [2, 3, 4]
    assert (undisturbed / "scores.tsv").read_bytes() == text


@pytest.mark.parametrize("inside", ["", "tasks"])
def test_status_and_info_of_a_run(inside, undisturbed, config, tmp_path):
    whole = status(undisturbed / inside)
    n = len(plan_crossvalidation(config).fits)
    assert (whole.holds, whole.status, whole.done, whole.total) == ("cross-validation", "complete", n, n)
    shutil.copytree(undisturbed, tmp_path / "run")
    (tmp_path / "run" / "scores.tsv").unlink()
    for record in sorted((tmp_path / "run" / "tasks" / "ledger" / "record" / "c").rglob("*"))[-1:]:
        record.unlink()
    part = info(tmp_path / "run" / inside)
    assert part.facts["status"] == "unfinished"
    assert part.facts["fits_done"] == part.table["done"].sum() == n - 1
    assert (part.table["seconds"] > 0).tolist() == part.table["done"].tolist()
    assert part.table["fold"].nunique() == len(part.facts["folds"]) > 1
    said = CliRunner().invoke(app, ["status", str(tmp_path / "run" / inside)])
    assert said.exit_code == 0
    assert f"unfinished, {n - 1} of {n} fits done" in said.stdout
    shown = CliRunner().invoke(app, ["info", str(tmp_path / "run" / inside), "--json"])
    assert len(json.loads(shown.stdout)["fits_table"]) == n


def test_another_configuration_is_refused_in_the_same_folder(undisturbed, stores):
    changed = write_config(stores, ALONE, JOINT, AVOCADO, run="seeds = [2]", name="changed.toml")
    with pytest.raises(
        ConfigError, match=r"the run of another configuration; got seeds \[2\], the store has \[0\]"
    ):
        crossvalidate(changed, out=undisturbed)


def test_a_run_keeps_the_same_files_of_each_fit(undisturbed, stores):
    changed = write_config(stores, ALONE, JOINT, AVOCADO, run='keep = "models"', name="changed.toml")
    with pytest.raises(
        ConfigError, match="keep = 'models': .* begun with another setting; got 'nothing' there"
    ):
        crossvalidate(changed, out=undisturbed)


def test_the_table_itself_says_which_training_set_is_of_one_species(config, undisturbed, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "run")
    table = crossvalidate(config, out=tmp_path / "run")
    turned = table.iloc[::-1]
    one, other = (
        tables(either).imputation.set_index(["group", "training_set", "method"]) for either in (table, turned)
    )
    pd.testing.assert_series_equal(one["against"], other["against"].reindex(one.index))


def test_a_folder_of_something_else_is_refused(config, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty and no cross-validation"):
        crossvalidate(config, out=tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        crossvalidate(config, out=tmp_path / "thesis.txt")


@pytest.mark.parametrize("remarks", [None, [None], [[1]]])
def test_a_damaged_record_of_a_fit_is_refused(remarks, config, undisturbed, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "run")
    store = open_store(tmp_path / "run" / "tasks")
    record = read_ledger(store, dict)[0, 0]
    write_record(store, (0, 0), replace(record, rows=[record.rows[0] | {"remarks": remarks}]))
    with pytest.raises(StoreError, match=r"record 0/0 is damaged: rows\[0\]\.remarks"):
        crossvalidate(config, out=tmp_path / "run")


@pytest.mark.slow
def test_two_runs_are_the_same(config, undisturbed, tmp_path):
    crossvalidate(config, out=tmp_path / "again")
    assert (tmp_path / "again" / "scores.tsv").read_bytes() == (undisturbed / "scores.tsv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("fits", "delay"), [(0, 2.0), (1, 0.0), (2, 1.0)])
def test_a_run_that_is_killed_loses_one_fit_at_most(fits, delay, config, undisturbed, tmp_path):
    out = tmp_path / "run"
    assert killed(config, out, fits, delay) == -signal.SIGKILL
    done = fits_done(out)
    assert fits <= done < 4
    assert not (out / "scores.tsv").exists()
    calls = []
    crossvalidate(config, out=out, progress=calls.append)
    assert [call.tiles_done for call in calls] == list(range(done, 5))
    assert (out / "scores.tsv").read_bytes() == (undisturbed / "scores.tsv").read_bytes()
    assert not (out / "fits").exists()


def test_two_runs_at_a_time_are_refused(config, undisturbed, tmp_path):
    from epixs.storage.lock import writing

    with writing(undisturbed / "tasks"), pytest.raises(StoreError, match="is being written by another run"):
        crossvalidate(config, out=undisturbed)


@pytest.mark.slow
def test_workers_find_as_many_scores(stores, tmp_path):
    config = write_config(stores, ALONE, AVOCADO, name="workers.toml")
    with open_client(workers=2) as client:
        table = crossvalidate(config, out=tmp_path / "run", client=client)
    assert (table.groupby("method").size() == 16).all()


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["models", "all"])
def test_what_is_to_be_kept_is_kept(keep, stores, tmp_path):
    config = write_config(stores, ALONE, AVOCADO, run=f'keep = "{keep}"', name=f"{keep}.toml")
    crossvalidate(config, out=tmp_path / "run")
    kept = {path.name for path in (tmp_path / "run" / "fits" / "0001").iterdir()}
    assert kept == ({"model"} if keep == "models" else {"model", "imputed.zarr"})


@pytest.mark.slow
@pytest.mark.parametrize("model", [AVOCADO, CONTEXT], ids=["avocado", "context"])
def test_noise_in_place_of_a_held_out_experiment_changes_nothing_else(model, stores, tmp_path):
    """No prediction, nor the score of any other experiment, comes from a track that is held out."""
    planted = (
        plan_crossvalidation(write_config(stores, JOINT, model, name="leak.toml")).split.folds[0].pairs[0]
    )
    noise = np.abs(np.random.default_rng(5).normal(2.0, 2.0, 3_000))
    noisy = tmp_path / "noisy"
    noisy.mkdir()
    write_stores(noisy, noise=(planted[1:], noise))
    found = []
    for folder in (stores, noisy):
        config = write_config(folder, JOINT, model, run='keep = "all"', name="leak.toml")
        out = tmp_path / f"run-{folder.name}"
        table = crossvalidate(config, out=out)
        first = table[table["fold"] == "1"]
        is_planted = (first["biosample"] == planted[1]) & (first["assay"] == planted[2])
        imputed = open_compendium(out / "fits" / "0001" / "imputed.zarr")
        found.append((first[~is_planted], first[is_planted], imputed))
    (clean, seen, before), (other, unseen, after) = found
    pd.testing.assert_frame_equal(clean, other, check_exact=True)
    assert len(clean) >= 7
    assert np.array_equal(before.signal.to_numpy(), after.signal.to_numpy())
    assert (seen["mse"].to_numpy() != unseen["mse"].to_numpy()).all()  # the noise was there


@pytest.mark.slow
@pytest.mark.parametrize("model", [AVOCADO, CONTEXT], ids=["avocado", "context"])
def test_withheld_regions_are_scored_alone(model, stores, tmp_path):
    config = write_config(stores, JOINT, model, split='by = "region"', name="region.toml")
    table = crossvalidate(config, out=tmp_path / "run")
    plan = plan_crossvalidation(config)
    for fold in plan.split.folds:
        bins = sum(end - start for _, _, start, end, _ in fold.regions) // 25
        mine = table[table["fold"] == fold.name]
        assert set(mine["observed_bins"]) == {bins}
        assert {*zip(mine["biosample"], mine["assay"], strict=True)} == {pair[1:] for pair in fold.pairs}
    assert not (tmp_path / "run" / "regions").exists()


def test_the_verb_ends_with_means_over_the_experiments_that_all_methods_have(config, undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    result = CliRunner().invoke(app, ["crossvalidate", str(config), "--out", str(folder)])
    assert result.exit_code == 0, result.output
    found = tables(folder).imputation.query("group == 'overall'")
    rows = [line.split() for line in result.output.splitlines()]
    for row in found.itertuples():
        name = [*f"{row.training_set} {row.method}".replace("-", "").split()]
        assert [*name, "16", f"{row.mean:.4f}"] in rows
    assert f"epixs tables {folder}" in result.output.replace("\n", "")
