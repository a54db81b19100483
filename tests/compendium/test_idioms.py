"""Common xarray code on each documented way of opening a store; the first two ways work without epixs."""

import importlib.util
import re
from pathlib import Path

import pytest
import xarray as xr

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WITHOUT_MASKS = {
    'observed.isel(experiment=observed.assay == "H3K4me3")',
    'observed.where(observed.assay == "H3K4me3", drop=True)',
    "observed.query(experiment=\"assay == 'H3K4me3'\")",
    'observed.signal.groupby("assay").mean()',
    'observed.to_zarr("a.zarr")',
}
"""Operations that xarray refuses to do with Dask arrays."""


@pytest.fixture(scope="module")
def idioms():
    spec = importlib.util.spec_from_file_location("make_idioms", ROOT / "docs" / "make_idioms.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(idioms, tmp_path_factory):
    folder = tmp_path_factory.mktemp("idioms")
    idioms.make_stores(folder)
    return folder


@pytest.fixture(scope="module")
def found(idioms, folder):
    return {way: idioms.run_apart(way, folder) for way in idioms.OPEN_WAYS}


def test_all_works_but_masks_and_groups_of_dask_arrays(found):
    plain, *others = found
    assert {idiom for idiom, problem in found[plain].items() if problem} == WITHOUT_MASKS
    for way in others:
        assert not any(found[way].values()), {way: [text for text in found[way].values() if text]}


def test_the_page_is_up_to_date(idioms, found):
    assert idioms.page(found) == idioms.PAGE.read_text(encoding="utf-8"), "run `python docs/make_idioms.py`"


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")  # Zarr's own
def test_the_snippet_without_epixs_loads_the_labels(idioms, folder, tmp_path, monkeypatch):
    """The tests of all pages check that its snippets run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mouse.zarr").symlink_to(folder / "observed.zarr")
    code, *_ = re.findall(r"```python\n(.*?)```", idioms.PAGE.read_text(encoding="utf-8"), re.S)
    scope = {}
    exec(code, scope)
    observed = scope["observed"]
    assert observed.signal.chunks
    assert observed.signal.groupby("assay").mean().sizes["assay"] == 5
    assert xr.open_zarr("copy.zarr").signal.equals(observed.signal)
