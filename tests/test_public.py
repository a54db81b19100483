"""The public list: stub, names, documentation page and command line say the same."""

import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import epixs
from epixs.cli.app import VERBS
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[1]


def page_maker(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_api():
    return page_maker("make_api")


def python(code, **environment):
    arguments = [sys.executable, "-c", code]
    return subprocess.run(
        arguments, capture_output=True, text=True, check=False, env={**ENVIRONMENT, **environment}
    )


ENVIRONMENT = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}


def test_names_are_those_of_the_stub():
    names = [name for group in make_api().groups().values() for name in group]
    assert sorted(names) == sorted(epixs.__all__)
    assert len(set(names)) == len(names) > 35
    assert sorted(epixs.__all__) == sorted(dir(epixs))


def test_the_page_is_up_to_date():
    api = make_api()
    assert api.PAGE.read_text(encoding="utf-8") == api.page(), "run `python docs/make_api.py`"
    assert api.REFERENCE.read_text(encoding="utf-8") == api.reference(), "run `python docs/make_api.py`"
    rows = [line for line in api.page().splitlines() if line.startswith("| `")]
    assert len(rows) == len(epixs.__all__)
    assert all(line.split("|")[2].strip().endswith((".", ":")) for line in rows)


def test_each_verb_is_documented_beside_its_function():
    page = make_api().page()
    for verb in VERBS:
        assert f"| `epixs {verb.__name__.replace('_', '-')}` |" in page


# What the command line reads from files, opens or makes a client of, and hands over as a value: per verb, its
# options -> the argument that gets what they say. None: what the verb does with it is another public call.
EVERYWHERE = {"json": None, "quiet": None, "workers": "client", "scheduler": "client", "dry_run": None}
BY_VERB = {
    "ingest": {"out": "path", "tile": "part"},
    "verify": {"store": "path", "chrom_sizes": "assembly"},
    "train": dict.fromkeys(["stores", "exclude", "assay_alias"], "axis")  # epixs.joint_axis
    | dict.fromkeys(
        ["config", "model", "target", "hidden", "max_minutes", "epochs", "seed"], "settings"
    ),  # epixs.read_settings, epixs.make_settings
    "extend": {"model_dir": "trained", "assay_alias": "aliases"},
    "fit_genome": {"model_dir": "trained"},
    "impute": {"model_dir": "model"},
    "curves": {"model_dir": "model"},
    "plan": {"other": "others"},
    "tables": {"format": None},  # epixs.typeset
    # With --model, what is exported is the Dataset of `epixs.open_imputed`.
    "export": {
        # epixs.export_locus, epixs.export_factors
        **dict.fromkeys(["bedgraph", "parquet", "locus"]),
        "biosample": "biosamples",
        "assay": "assays",
        "chrom_sizes": "assembly",
        **dict.fromkeys(["stores", "model", "everything", "factors"], "compendia"),
    },
    "browse": {"chrom_sizes": "assembly", **dict.fromkeys(["stores", "model", "factors"], "compendia")},
    "evaluate": {
        "other": "others",
        "baseline": "baselines",
        "report": None,
        "model": None,
        "locus": None,
    },  # epixs.write_report
}
ONLY_FROM_PYTHON = {
    "axis", "bins", "progress", "report", "on_probe", "devices", "console", "plan", "ready", "until", "draws", "settings",
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_a_verb_has_the_arguments_of_its_function(verb):
    name = {"catalog": "make_catalog"}.get(verb.__name__, verb.__name__)
    renamed = EVERYWHERE | BY_VERB.get(verb.__name__, {})
    mine = {renamed.get(option, option) for option in inspect.signature(verb).parameters} - {None}
    theirs = set(inspect.signature(getattr(epixs, name)).parameters)
    assert mine <= theirs
    assert theirs - mine <= ONLY_FROM_PYTHON | ({"backend"} if name == "ingest" else set())


def test_help_imports_next_to_nothing():
    command = [sys.executable, "-X", "importtime", "-m", "epixs.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    imported = set(re.findall(r"\| +([\w.]+)$", done.stderr, re.M))
    assert "epixs.cli.app" in imported
    assert not imported & {"tensorflow", "keras", "xarray", "pandas", "numpy", "dask", "zarr", "numba"}


def test_importing_epixs_imports_no_tensorflow():
    done = python("import sys, epixs\nassert not {'tensorflow', 'keras'} & set(sys.modules)")
    assert done.returncode == 0, done.stderr


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        _ = epixs.nothing


@pytest.mark.slow
def test_models_are_registered_with_keras_once_they_are_looked_at():
    registered = "keras.saving.get_registered_object('epixs>DeepTensorFactorization') is not None"
    done = python(f"import keras\nfrom epixs import DeepTensorFactorization\nassert {registered}")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_another_backend_of_keras_is_refused_in_words():
    done = python("from epixs import build_model", KERAS_BACKEND="numpy")
    assert "got KERAS_BACKEND=numpy; expected tensorflow" in done.stderr
    assert python("from epixs import build_model").returncode == 0
