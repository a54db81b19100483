"""The command as a user runs it: in a process of its own, from bigWigs to scores; and its mistakes."""

import re
import shutil
import signal
import subprocess
import sys

import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

from epixs.cli.app import app
from epixs.compendium.read import experiments_of, open_compendium
from epixs.compendium.status import store_status
from epixs.report import qc_page
from tests.patience import PATIENCE, wait_until


def epixs(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def failure(result):
    """A mistake gives one message and an exit code, never a traceback."""
    assert result.exit_code in (1, 2), result.output
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return " ".join(result.stderr.split())


@pytest.mark.slow
def test_the_whole_path(world, tmp_path, held_out):
    made = epixs("catalog", world.folder / "metadata.tsv", "--out", world.folder / "cli.tsv")
    assert made.exit_code == 0, made.output
    assert re.search(r"^ +1 file left out: not released$", made.output, re.M)
    store, bed = tmp_path / "mouse.zarr", world.bed("mouse")
    ingest = ["ingest", world.folder / "cli.tsv", "--species", "mouse", "--regions", bed, "--out", store]
    dry = epixs(*ingest, "--dry-run")
    assert dry.exit_code == 0
    assert "memory per worker" in dry.output
    assert not store.exists()
    assert epixs(*ingest, "--workers", "1").exit_code == 0
    assert "complete, 2 of 2 tiles" in " ".join(epixs("status", store).output.split())
    info = epixs("info", store)
    assert "simulated-mouse-00" in info.output
    (tmp_path / "small.toml").write_text("[training]\nbatch_size = 500\nheld_out = 0.1\n")
    model = tmp_path / "model"
    trained = epixs(
        "train", store, world.store("human"), "--out", model, "--exclude", world.pairs,
        "--config", tmp_path / "small.toml", "--hidden", "16,16", "--epochs", "2", "--seed", "4", "--model", "avocado",
    )  # fmt: skip
    assert trained.exit_code == 0, trained.output
    assert "best held-out MSE" in trained.output
    assert "finished, epoch" in epixs("status", model).output
    shown = epixs("info", model)
    assert "16, 16" in shown.output
    assert str(store) in shown.output
    imputed = tmp_path / "imputed.zarr"
    assert epixs("impute", model, store, "--out", imputed, "--pairs", world.pairs).exit_code == 0
    with xr.open_zarr(imputed) as dataset:
        assert dataset.attrs["kind"] == "imputed"
    scored = epixs("evaluate", imputed, store, "--report", tmp_path / "report")
    assert scored.exit_code == 0, scored.output
    *_, first, second, third, fourth, one, other = scored.stdout.strip().splitlines()
    assert re.fullmatch(
        r"excluded: imputed better than average activity on [01] of 1 track \(MSE .*\)", first
    )
    assert re.fullmatch(
        r"zero-shot: imputed better than biosample mean on [012] of 2 tracks \(MSE .*\)", second
    )
    assert "nearest assay" in third
    assert "assay regression" in fourth
    for role, line in zip(("excluded", "zero-shot"), sorted((one, other)), strict=True):
        assert re.fullmatch(rf"{role}: mean Pearson \S+; of the best fair baseline \S+ \(.*\)", line)
    summary = pd.read_csv(tmp_path / "report" / "summary.tsv", sep="\t")
    assert {"excluded", "zero-shot"} == set(summary["role"])
    _, biosample, assay = held_out[-1]
    pytest.importorskip("matplotlib")
    drawn = epixs(
        "plot", imputed, store, "--biosample", biosample, "--assay", assay, "--locus", "chr19:9,990,000-10,010,000",
        "--out", tmp_path / "a.png",
    )  # fmt: skip
    assert drawn.exit_code == 0, drawn.output
    assert "only chr19:10,000,000-10,010,000 is drawn" in drawn.stderr


def test_simulate_and_demo(tmp_path):
    assert epixs("simulate", tmp_path / "w", "--size", "tiny").exit_code == 0
    assert (tmp_path / "w" / "metadata.tsv").exists()
    assert "'huge' is not one of 'tiny', 'demo', 'large'" in failure(
        epixs("simulate", tmp_path / "w2", "--size", "huge")
    )


def test_a_bad_row_is_quarantined_listed_and_the_exit_code_says_so(world, tmp_path):
    table = pd.read_csv(world.catalog, sep="\t", dtype=str, keep_default_na=False)
    table["path"] = [str(world.folder / p) for p in table["path"]]
    (tmp_path / "page.bw").write_text("<html>login</html>")
    mouse = table["species"] == "mouse"
    table.loc[table[mouse].index[0], "path"] = str(tmp_path / "page.bw")
    table.loc[table[mouse].index[1], "path"] = str(tmp_path / "gone.bw")
    table.to_csv(tmp_path / "c.tsv", sep="\t", index=False)
    arguments = ["ingest", tmp_path / "c.tsv", "--species", "mouse", "--regions", world.bed("mouse")]
    result = epixs(*arguments, "--out", tmp_path / "a.zarr", "--workers", "1")
    message = failure(result)
    assert result.exit_code == 1
    assert "page.bw is an HTML or XML page" in message
    assert "gone.bw does not exist" in message
    assert "2 of " not in message.split("error:")[0]
    assert open_compendium(tmp_path / "a.zarr").attrs["status"] == "complete"
    state = epixs("status", tmp_path / "a.zarr")
    assert state.exit_code == 1
    assert f"2 of {mouse.sum()} experiments could not be read" in state.output
    plan = epixs(*arguments, "--out", tmp_path / "b.zarr", "--dry-run")
    assert plan.exit_code == 1
    assert f"{mouse.sum() - 2} of {mouse.sum()} files fit" in " ".join(plan.output.split())
    assert not (tmp_path / "b.zarr").exists()


def test_experiments_are_removed_and_come_back(world, tmp_path):
    path = tmp_path / "a.zarr"
    shutil.copytree(world.store("mouse"), path)
    name = str(open_compendium(path).accession.values[1])
    assert epixs("remove", path, name, "--reason", "wrong antibody").exit_code == 0
    state = epixs("status", path)
    assert state.exit_code == 0
    assert f"{name} is removed: wrong antibody" in state.output
    assert f"{name} is back" in epixs("remove", path, name, "--undo").output
    assert f"{name} was not removed" in epixs("remove", path, name, "--undo").output
    assert set(open_compendium(path).status.values) == {"ok"}
    assert "no such experiment" in failure(epixs("remove", path, "nobody"))


def test_mistakes_are_one_sentence(world, trained, tmp_path):
    mouse, human = world.store("mouse"), world.store("human")
    new = tmp_path / "new"
    cases = [
        (["catalog", tmp_path / "none.tsv", "--out", new], "metadata", "does not exist"),
        (["ingest", world.catalog, "--regions", world.bed("mouse"), "--out", new], "several species", "--species human"),
        (["ingest", world.catalog, "--species", "mouse", "--regions", world.bed("human"), "--out", new], "chr20", "Regions|BED"),
        (["ingest", world.catalog, "--species", "mouse", "--regions", tmp_path / "x.bed", "--out", new], "x.bed", "does not exist"),
        (["ingest", world.catalog, "--species", "mouse", "--regions", world.bed("mouse"), "--out", mouse, "--uncovered", "one"], "--uncovered", "'one' is not one of 'zero', 'nan'"),
        (["status", tmp_path / "none.zarr"], "none.zarr", "epixs ingest"),
        (["info", world.folder], "is no store", "or a model folder"),
        (["train", mouse, "--out", new, "--hidden", "big"], "--hidden", "2048,2048"),
        (["train", mouse, "--out", new, "--model", "mystery"], "'mystery'", "avocado"),
        (["train", mouse, mouse, "--out", new], "twice", "mouse"),
        (["train", mouse, "--out", new, "--config", tmp_path / "no.toml"], "no.toml does not exist", "with --config"),
        (["train", mouse, "--out", new, "--exclude", tmp_path / "no.tsv"], "--exclude", "no.tsv does not exist"),
        (["train", tmp_path / "none.zarr", "--out", world.folder], "exists and is not empty", "another folder"),
        (["impute", tmp_path, mouse, "--out", new], "no finished model", "epixs train"),
        (["impute", trained.folder, mouse, "--out", new, "--pairs", world.pairs, "--all"], "--pairs and --all", "one of them"),
        (["impute", mouse, trained.folder, "--out", new], "the model comes first", f"epixs impute {trained.folder} {mouse}"),
        (["evaluate", mouse, human], "is observed", "imputed"),
        (["evaluate", new, new, "--report", world.catalog], "--report", "the file"),
        (["qc", new, "--report", world.folder], "--report", "an earlier report"),
    ]  # fmt: skip
    for arguments, *expected in cases:
        message = failure(epixs(*arguments))
        for text in expected:
            assert any(option in message for option in text.split("|")), (arguments, message)
        assert not new.exists(), arguments


def test_full_disk_and_unwritable_folders(world, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "a.zarr")

    monkeypatch.setattr("epixs.catalog.portal.write_catalog", full)
    message = failure(epixs("catalog", world.folder / "metadata.tsv", "--out", "x.tsv"))
    assert "the disk is full" in message
    assert "run the same command again" in message

    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied", "/etc/x.tsv")

    monkeypatch.setattr("epixs.catalog.portal.write_catalog", forbidden)
    assert "cannot write or read /etc/x.tsv" in failure(
        epixs("catalog", world.folder / "metadata.tsv", "--out", "/etc/x.tsv")
    )


@pytest.mark.parametrize("verb", ["ingest", pytest.param("train", marks=pytest.mark.slow)])
def test_ctrl_c_keeps_what_was_written(world, tmp_path, verb):
    if verb == "ingest":
        out = tmp_path / "a.zarr"
        arguments = [world.catalog, "--species", "human", "--regions", world.bed("human"), "--workers", "1"]
        sign = out / "ledger" / "record" / "zarr.json"
    else:
        out = tmp_path / "model"
        (tmp_path / "c.toml").write_text(
            "[model]\nhidden = [16]\n[training]\nbatch_size = 500\nepochs = 100000\npatience = 0\nheld_out = 0.1\n"
        )
        arguments = [world.store("mouse"), "--config", tmp_path / "c.toml"]
        sign = out / "model.json"
    command = [sys.executable, "-m", "epixs.cli", verb, *map(str, arguments), "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            assert wait_until(lambda: sign.exists() or process.poll() is not None)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    if verb == "ingest" and process.returncode == 0:
        return  # it was done before the signal came
    assert process.returncode == 130, errors
    kept = "what was written is kept" if verb == "ingest" else f"{out} holds the best model so far"
    assert f"interrupted: {kept}" in " ".join(errors.split())
    assert "Traceback" not in errors
    if verb == "train":
        from epixs.models.folder import open_model

        assert open_model(out).axis.species == ("mouse",)
    else:
        assert epixs(*[verb, *arguments, "--out", out]).exit_code == 0


def test_biosamples_that_the_model_does_not_know_are_named(world, trained, tmp_path):
    table = world.catalog.read_text().replace("simulated-mouse-00", "stranger")
    (world.folder / "other.tsv").write_text(table)
    store = tmp_path / "a.zarr"
    ingest = [
        "ingest",
        world.folder / "other.tsv",
        "--species",
        "mouse",
        "--regions",
        world.bed("mouse"),
        "--out",
        store,
    ]
    assert epixs(*ingest, "--workers", "1").exit_code == 0
    result = epixs("impute", trained.folder, store, "--out", tmp_path / "i.zarr")
    assert result.exit_code == 0, result.output
    assert f"note: 1 biosample of {store} had no part in training, not imputed: stranger" in result.stderr


def test_a_model_whose_training_was_interrupted_says_so(world, copy, held_out, tmp_path):
    (copy / "checkpoint.npz").touch()
    assert "interrupted, epoch" in epixs("status", copy).output
    pairs = ["--pairs", world.pairs]
    result = epixs("impute", copy, world.store("mouse"), "--out", tmp_path / "i.zarr", *pairs)
    assert result.exit_code == 0, result.output
    assert "was interrupted: its weights so far are used" in result.stderr
    (copy / "model.json").unlink()
    assert "interrupted before the first epoch was over" in epixs("status", copy).output


def test_help_is_there_for_every_verb():
    for verb in (
        "catalog",
        "ingest",
        "status",
        "info",
        "train",
        "impute",
        "evaluate",
        "plot",
        "simulate",
        "demo",
    ):
        result = epixs(verb, "--help")
        assert result.exit_code == 0
        assert "Usage" in result.output


def test_qc_says_that_nothing_stands_out(world, tmp_path, monkeypatch):
    quality = qc_page.quality
    monkeypatch.setattr(qc_page, "quality", lambda *args, **kwargs: quality(*args, **kwargs).assign(notes=""))
    result = epixs("qc", world.store("mouse"), "--report", tmp_path / "qc", "--workers", "1")
    assert result.exit_code == 0, result.output
    assert "no experiment stands out" in result.stdout


@pytest.mark.slow
def test_verify_finds_and_repairs(world, tmp_path):
    bed, store = world.bed("mouse"), tmp_path / "mouse.zarr"
    ingest = ["ingest", world.catalog, "--species", "mouse", "--regions", bed, "--out", store]
    first = epixs(*ingest, "--tile", "1/2")
    assert first.exit_code == 0, first.output
    assert "the share that ends last finishes the store" in first.output
    assert epixs(*ingest, "--tile", "2/2").exit_code == 0
    assert store_status(store).status == "complete"
    sound = epixs("verify", store, "--sources", "--workers", "1")
    assert (sound.exit_code, "every tile is as it was written" in sound.output) == (0, True)
    looked = epixs("qc", store, "--report", tmp_path / "qc", "--workers", "1")
    assert looked.exit_code == 0, looked.output
    assert "experiments that stand out" in looked.output
    assert (tmp_path / "qc" / "qc.html").exists()
    (store / "signal" / "c" / "0" / "0").unlink()
    found = epixs("verify", store, "--workers", "1", "--repair")
    assert found.exit_code == 1
    assert "tile 0/0: does not have the values" in failure(found)
    assert epixs(*ingest, "--workers", "1").exit_code == 0
    assert epixs("verify", store, "--workers", "1").exit_code == 0
    for tile in ("0/2", "3/2", "x", "1/2/3"):
        assert "expected I/N" in failure(epixs(*ingest, "--tile", tile))
    assert "got both" in failure(epixs(*ingest, "--tile", "1/2", "--workers", "1"))


def test_version():
    assert re.fullmatch(r"epixs \d+\.\d+\.\d+\S*", epixs("--version").output.strip())


def test_a_catalog_is_not_written_over(world, tmp_path):
    (tmp_path / "mine.tsv").write_text("mine")
    made = ["catalog", world.folder / "metadata.tsv", "--out"]
    assert "mine.tsv exists and holds something else" in failure(epixs(*made, tmp_path / "mine.tsv"))
    assert (tmp_path / "mine.tsv").read_text() == "mine"
    again = [epixs(*made, tmp_path / "new.tsv").exit_code for _ in range(2)]
    assert again == [0, 0]


def test_experiments_that_a_portal_table_does_not_tell_apart_are_a_loud_warning(tmp_path):
    columns = ["File accession", "File format", "Output type", "File assembly", "Experiment accession", "Assay",
               "Biosample term name", "Biosample organism", "Experiment target", "Biological replicate(s)",
               "File download URL", "File Status"]  # fmt: skip
    rows = [
        [f"F{i}", "bigWig", "signal p-value", "mm10", f"E{i}", "Histone ChIP-seq", "forebrain", "Mus musculus",
         "H3K4me3-mouse", "1", "/f", "released"]
        for i in range(3)
    ]  # fmt: skip
    (tmp_path / "metadata.tsv").write_text("\n".join("\t".join(row) for row in [columns, *rows]) + "\n")
    done = epixs("catalog", tmp_path / "metadata.tsv", "--out", tmp_path / "c.tsv")
    said = " ".join(done.stderr.split())
    assert "warning: 1 pair of biosample and assay have several experiments" in said
    assert "--report REPORT.tsv" in said
    others = pd.read_csv(tmp_path / "c.others.tsv", sep="\t")
    assert len(others) == 2
    assert set(others["chosen instead"]) == {"E2"}
    report = [["Accession", "Biosample summary"], *([f"E{i}", f"forebrain day {i}"] for i in range(3))]
    (tmp_path / "report.tsv").write_text("\n".join("\t".join(row) for row in report) + "\n")
    named = epixs(
        "catalog", tmp_path / "metadata.tsv", "--out", tmp_path / "d.tsv", "--report", tmp_path / "report.tsv"
    )
    assert "warning" not in named.stderr
    assert len(pd.read_csv(tmp_path / "d.tsv", sep="\t")) == 3


def test_species_that_the_core_leaves_out_are_named(world, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "epixs.catalog.portal.core_experiments", lambda table: table[table["species"] == "human"]
    )
    done = epixs("catalog", world.folder / "metadata.tsv", "--out", tmp_path / "c.tsv", "--core")
    assert "no experiment of mouse is in the Core" in done.stderr
    assert "no experiment of human" not in done.stderr


def test_the_training_plan_says_what_takes_no_part_and_what_cannot_be_learnt(world, tmp_path):
    stores = [tmp_path / "mouse.zarr", tmp_path / "human.zarr"]
    for store in stores:
        shutil.copytree(world.store(store.stem), store)
    mouse, human = (experiments_of(open_compendium(store)) for store in stores)
    gone = mouse["accession"].iloc[0]
    assert epixs("remove", stores[0], gone).exit_code == 0
    hidden = human[human["assay"].isin(set(mouse["assay"]))][["biosample", "assay"]]
    hidden.insert(0, "species", "human")
    hidden.to_csv(tmp_path / "hidden.tsv", sep="\t", index=False)
    done = epixs(
        "train",
        *stores,
        "--out",
        tmp_path / "m",
        "--exclude",
        tmp_path / "hidden.tsv",
        "--hidden",
        "8",
        "--dry-run",
    )
    said = " ".join(done.stderr.split())
    assert f"1 experiment of mouse takes no part, removed: {gone}" in said
    assert "mouse shares no assay with the others in training" in said
