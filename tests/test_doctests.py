"""The examples of the public docstrings run as they stand, in an empty folder."""

import doctest

import pytest

import epixs

WITH_EXAMPLE = (
    "make_catalog", "open_tracks", "ingest", "open_compendium", "joint_axis", "Sampler", "build_model", "train",
    "impute", "evaluate",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_the_example_gives_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(epixs, name), name, globs={})
    said = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert result.attempted >= 4
    assert result.failed == 0, "".join(said)
