"""The pipeline scripts, run as a user would, on the small world."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import obstore
import pandas as pd
import pytest
import xarray as xr
import yaml
from zarr.storage import ObjectStore

from epixs.compendium.read import open_compendium
from epixs.errors import TrainingError
from epixs.imputation.write import impute
from epixs.models.folder import open_model

PIPELINES = Path(__file__).parents[1] / "pipelines"
STEPS = ("ingest", "train", "impute", "evaluate")


def run(step, settings):
    spec = importlib.util.spec_from_file_location(f"pipeline_{step}", PIPELINES / f"{step}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(str(settings))


@pytest.mark.slow
def test_the_four_steps_one_after_the_other(world, held_out, tmp_path, capsys):
    for name in ("catalog.tsv", "human.bed", "mouse.bed", "exclude.tsv"):
        shutil.copy(world.folder / name, tmp_path)
    shutil.copytree(world.folder / "tracks", tmp_path / "tracks")
    text = (PIPELINES / "laptop.toml").read_text()
    small = '[model]\nkind = "avocado"\nhidden = [16, 16]\n[training]\nbatch_size = 500\nepochs = 2\nheld_out = 0.1\n'
    (tmp_path / "laptop.toml").write_text(text[: text.index("# [model]")] + small)
    for step in STEPS:
        assert run(step, tmp_path / "laptop.toml") == 0
    printed = capsys.readouterr().out
    assert "imputed" in printed
    assert (tmp_path / "mouse-report" / "scores.tsv").exists()
    imputed = open_compendium(tmp_path / "mouse.imputed.zarr")
    assert imputed.attrs["kind"] == "imputed"
    assert imputed.sizes["experiment"] == len(held_out)


@pytest.fixture
def inputs(world, tmp_path):
    """Catalog, tracks and regions of the small world, in a folder of their own."""
    for name in ("catalog.tsv", "human.bed"):
        shutil.copy(world.folder / name, tmp_path)
    shutil.copytree(world.folder / "tracks", tmp_path / "tracks")
    return tmp_path


@pytest.fixture
def command_line(monkeypatch):
    """Have shells find the `epixs` of this environment."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def assert_same(path, world):
    got, expected = open_compendium(path), open_compendium(world.store("human"))
    assert np.array_equal(got.signal.to_numpy(), expected.signal.to_numpy())


FAKE_SBATCH = """#!/bin/bash
grep -q 'SBATCH --mem=' "$1" || exit 3
script=$(mktemp) && cp "$1" "$script"  # as Slurm does: the script is deleted once it is submitted
bash "$script" >/dev/null 2>&1 &
echo "Submitted batch job $!"
"""


@pytest.mark.slow
def test_slurm_workers(world, inputs, tmp_path, monkeypatch, capsys):
    """`sbatch` here starts the very job script that dask-jobqueue wrote, on this machine."""
    pytest.importorskip("dask_jobqueue")
    (tmp_path / "bin").mkdir()
    for name, text in (("sbatch", FAKE_SBATCH), ("scancel", '#!/bin/bash\nkill "$@"\n')):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    text = (PIPELINES / "slurm.toml").read_text().replace("jobs = 50", "jobs = 1")
    local = 'interface = "lo"\nlocal_directory = "/tmp"\n[[compendium]]'
    (inputs / "slurm.toml").write_text(text.replace("[[compendium]]", local))
    assert run("ingest", inputs / "slurm.toml") == 0
    assert_same(inputs / "human.zarr", world)


@pytest.mark.slow
def test_slurm_array(world, inputs, command_line, monkeypatch):
    for name, value in {
        "CATALOG": "catalog.tsv",
        "SPECIES": "human",
        "REGIONS": "human.bed",
        "STORE": "a.zarr",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    for part in ("2", "1"):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", part)
        subprocess.run(["bash", PIPELINES / "slurm-array.sh"], check=True, cwd=inputs, capture_output=True)
    assert_same(inputs / "a.zarr", world)


FAKE_SRUN = """#!/bin/bash
# As srun does, it hands its tasks on what it is told to end by.
test "$1" = --kill-on-bad-exit=0 || exit 3
trap 'kill $(jobs -p)' TERM
for task in 1 2; do "${@:2}" & done
wait
"""


@pytest.mark.slow
def test_any_verb_on_the_tasks_of_a_slurm_job(world, trained, held_out, tmp_path, command_line, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "srun").write_text(FAKE_SRUN)
    (tmp_path / "bin" / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    job = [
        "bash", PIPELINES / "slurm-dask.sh", "epixs", "impute", trained.folder, world.store("mouse"),
        "--pairs", world.pairs, "--out", "there.zarr",
    ]  # fmt: skip
    subprocess.run(job, check=True, cwd=tmp_path, capture_output=True)
    impute(trained, world.store("mouse"), tmp_path / "here.zarr", pairs=held_out)
    there, here = (open_compendium(tmp_path / f"{name}.zarr") for name in ("there", "here"))
    assert np.array_equal(there.signal.to_numpy(), here.signal.to_numpy())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "here.zarr", "there.zarr"]
    failed = subprocess.run([*job[:4], "none"], check=False, cwd=tmp_path, capture_output=True, text=True)
    assert failed.returncode == 2


@pytest.mark.slow
def test_a_slurm_job_that_is_queued_again_goes_on_training(world, tmp_path, command_line, monkeypatch):
    (tmp_path / "small.toml").write_text(
        '[model]\nkind = "avocado"\nhidden = [8]\n[training]\nbatch_size = 500\nepochs = 2\n'
    )
    monkeypatch.setenv("MODEL", "model")
    job = ["bash", PIPELINES / "slurm-train.sh", world.store("mouse"), "--config", "small.toml"]
    first, again = (
        subprocess.run(job, check=True, cwd=tmp_path, capture_output=True, text=True) for _ in range(2)
    )
    assert "epoch 2 of 2" in first.stdout + first.stderr
    assert "has ended" in again.stdout + again.stderr
    assert open_model(tmp_path / "model").axis.species == ("mouse",)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_script_that_cannot_go_on_says_so_in_one_line(step, tmp_path, command_line):
    whole = (PIPELINES / "laptop.toml").read_text()
    for text, said in (
        (None, "No such file"),
        ("[", "error: "),
        ("[run]", "lacks 'compendium'" if step != "impute" else "lacks 'folder'"),
        (whole, "error: "),  # none of its files is there
    ):
        path = tmp_path / "nothing.toml"
        if text is not None:
            path.write_text(text)
        ran = subprocess.run(
            [sys.executable, PIPELINES / f"{step}.py", path], check=False, capture_output=True, text=True
        )
        assert ran.returncode == 1
        line = ran.stderr.splitlines()[-1]  # TensorFlow may have said something before
        assert "Traceback" not in ran.stderr
        assert line.startswith("error: ")
        assert said in line


@pytest.mark.slow
def test_kubernetes(world, inputs, command_line, s3, monkeypatch):
    """The command of the pod, with the pod's environment, once for each index."""
    job = yaml.safe_load((PIPELINES / "kubernetes.yaml").read_text())
    assert job["spec"]["completionMode"] == "Indexed"
    (pod,) = job["spec"]["template"]["spec"]["containers"]
    given = {entry["name"]: entry["value"] for entry in pod["env"]}
    assert int(given["PARTS"]) == job["spec"]["completions"]
    ours = {"INPUTS": str(inputs), "STORE": "s3://tracks/human.zarr", "PARTS": "2"}
    assert set(ours) < set(given)
    for name, value in (given | ours).items():
        monkeypatch.setenv(name, value)
    for index in ("0", "1"):
        monkeypatch.setenv("JOB_COMPLETION_INDEX", index)
        done = subprocess.run([*pod["command"], *pod["args"]], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert_same("s3://tracks/human.zarr", world)


@pytest.mark.slow
def test_s3(world, inputs, s3, capsys):
    from obstore.store import from_url

    from epixs.storage.location import cloud_options

    bucket = from_url("s3://tracks", **cloud_options())
    table = pd.read_csv(inputs / "catalog.tsv", sep="\t", dtype=str, keep_default_na=False)
    for path in table["path"]:
        obstore.put(bucket, path, (inputs / path).read_bytes())
    table["path"] = "s3://tracks/" + table["path"]
    table.to_csv(inputs / "catalog.tsv", sep="\t", index=False)
    text = (PIPELINES / "s3.toml").read_text()
    (inputs / "s3.toml").write_text(text.replace("s3://my-bucket/", "s3://tracks/stores/"))
    assert run("ingest", inputs / "s3.toml") == 0
    assert_same("s3://tracks/stores/human.zarr", world)
    plain = xr.open_zarr(ObjectStore(from_url("s3://tracks/stores/human.zarr", **cloud_options())))
    assert plain.attrs["status"] == "complete"


@pytest.mark.parametrize("step", STEPS)
def test_scripts_are_short_and_only_wire_public_calls(step):
    text = (PIPELINES / f"{step}.py").read_text()
    assert len(text.splitlines()) < 80
    import epixs

    assert set(re.findall(r"epixs\.(\w+)\(", text)) <= set(epixs.__all__)
    assert re.findall(r"^(?:from|import) (epixs\S*)", text, re.M) == ["epixs"]


def test_configurations_of_cross_validations_are_complete(world, tmp_path):
    """Each can be read; those of the simulated world are planned on the small one."""
    from epixs.crossvalidation.plan import plan_crossvalidation
    from epixs.crossvalidation.settings import read_config

    paths = sorted(PIPELINES.glob("crossvalidate-*.toml"))
    assert len(paths) == 5
    folds = {}
    for path in paths:
        assert len(read_config(path).models) == 2
        text = path.read_text().replace("core = 6", "core = 3")
        for species in ("mouse", "human"):
            text = text.replace(f'"{species}.zarr"', f'"{world.store(species)}"')
        if path.stem == "crossvalidate-table2":  # the small world has two such assays
            text = text.replace("folds = 3", "folds = 2")
        if path.stem == "crossvalidate-table1":  # three biosamples are too few for a model of kind context
            (tmp_path / path.name).write_text(text)
            with pytest.raises(
                TrainingError, match="context on mouse only: .* that have 3 training tracks each"
            ):
                plan_crossvalidation(tmp_path / path.name)
            text = text[: text.rindex("[[model]]")] + "[run]" + text.partition("[run]")[2]
        (tmp_path / path.name).write_text(text)
        if "table" in path.name:
            plan = plan_crossvalidation(tmp_path / path.name)
            folds[path.stem] = [fold.name for fold in plan.split.folds]
            assert {fit.training_set for fit in plan.fits} >= {"mouse + Core", "mouse + Full"}
    assert folds == {
        "crossvalidate-table1": ["1", "2", "3"],
        "crossvalidate-table2": ["1", "2"],
        "crossvalidate-table2-class": ["protein_binding"],
    }
