import os
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import epixs
from epixs.axis.join import joint_axis
from epixs.cli.app import app
from epixs.errors import ConfigError
from epixs.models.folder import new_model, save_model
from epixs.models.settings import make_settings

anndata = pytest.importorskip("anndata", reason="anndata (the `tables` extra) is not installed")


@pytest.fixture(scope="module")
def context(world, tmp_path_factory):
    """A context model that nobody trained."""
    folder = tmp_path_factory.mktemp("context") / "model"
    axis = joint_axis([world.store("mouse"), world.store("human")])
    save_model(new_model(axis, make_settings("context", members=2)), folder)
    return epixs.open_model(folder)


def test_factors_have_their_labels(trained, tmp_path):
    biosamples, assays = epixs.export_factors(trained, tmp_path / "f.h5ad")
    assert (
        sorted(os.listdir(tmp_path))
        == ["f.assays.h5ad", "f.biosamples.h5ad"]
        == sorted([assays.name, biosamples.name])
    )
    found = anndata.read_h5ad(biosamples)
    assert np.array_equal(found.X, trained.model.biosample.table.numpy())
    rows = [(part.species, name) for part in trained.axis.parts for name in part.biosamples]
    assert list(zip(found.obs["species"], found.obs["biosample"], strict=True)) == rows
    assert list(found.obs_names) == [f"{species} / {name}" for species, name in rows]
    found = anndata.read_h5ad(assays)
    assert np.array_equal(found.X, trained.model.assay.table.numpy())
    assert list(found.obs_names) == list(trained.axis.assays)
    for name, row in found.obs.iterrows():
        assert row["assay_class"] == trained.axis.assay_classes[name]
        counts = [int((part.training["assay"] == name).sum()) for part in trained.axis.parts]
        assert row["training_experiments"] == sum(counts)
    assert found.uns["fingerprint"] == trained.fingerprint


def test_context_models_have_factors_of_assays_alone(context, tmp_path):
    (path,) = epixs.export_factors(context.folder, tmp_path / "f.h5ad")
    found = anndata.read_h5ad(path)
    factors = context.model.factors.numpy()
    width = factors.shape[2]
    assert found.shape == (len(context.axis.assays), 2 * width)
    assert np.array_equal(found.X[:, width:], factors[1])


def test_scanpy_draws_them(trained, tmp_path):
    pytest.importorskip("scanpy", reason="scanpy is not installed")
    _, assays = epixs.export_factors(trained, tmp_path / "f.h5ad")
    code = (
        "import sys, matplotlib; matplotlib.use('Agg'); import scanpy as sc\n"
        "a = sc.read_h5ad(sys.argv[1]); sc.pp.pca(a, n_comps=3)\n"
        "sc.pl.pca(a, color=['assay_class', 'species'], show=False)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(assays)], check=True, cwd=tmp_path)


def test_names_and_folders_are_checked(trained, tmp_path):
    with pytest.raises(ConfigError, match=r"ends with \.h5ad"):
        epixs.export_factors(trained, tmp_path / "f.csv")
    with pytest.raises(ConfigError, match="Make that folder first"):
        epixs.export_factors(trained, tmp_path / "no" / "f.h5ad")
    assert os.listdir(tmp_path) == []


def test_the_verb_writes_both_and_refuses_what_says_nothing(trained, tmp_path):
    def export(*more):
        arguments = ["export", trained.folder, "--factors", tmp_path / "f.h5ad", *more]
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    done = export()
    assert done.exit_code == 0, done.output
    assert sorted(os.listdir(tmp_path)) == ["f.assays.h5ad", "f.biosamples.h5ad"]
    for option in ("--raw", "--all"):
        done = export(option)
        assert done.exit_code == 2
        assert option in done.stderr


def test_genome_factors_without_a_model_are_refused(trained, tmp_path):
    done = CliRunner().invoke(app, ["export", str(trained.folder), "--factors", str(tmp_path / "f.zarr")])
    assert done.exit_code == 2
    assert "without --model; expected a name that ends with .h5ad" in " ".join(done.stderr.split())


def test_without_anndata_one_line_says_what_to_install(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(ConfigError, match="pip install anndata"):
        epixs.export_factors(trained, tmp_path / "f.h5ad")
