"""Splits: every experiment once, nothing left without a training experiment, the same for the same seed."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epixs.axis.axis import SpeciesAxis
from epixs.axis.splits import split, split_parts
from epixs.catalog.pairs import read_pairs
from epixs.errors import ConfigError
from epixs.genome.regions import Regions
from tests.worlds import planted, write_store

CLASSES = ("histone", "protein_binding")
REGIONS = Regions("mm10", ("r1",), ("chr1",), (0,), (25 * 2_000,), {"chr1": 25 * 2_000})


def species(labels, name="mouse", regions=REGIONS):
    table = pd.DataFrame(
        {
            "biosample": [f"b{b}" for b, _ in labels],
            "assay": [f"a{a}" for _, a in labels],
            "assay_class": [CLASSES[a % 2] for _, a in labels],
            "excluded": False,
            "held_out": False,
        }
    )
    return SpeciesAxis(name, f"{name}.zarr", "p", regions, tuple(sorted({*table["biosample"]})), table)


panels = st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=4, max_size=30).map(sorted)


@given(panels, st.sampled_from(["experiment", "biosample"]), st.integers(2, 4), st.integers(0, 3))
@settings(deadline=None)
def test_every_experiment_is_held_out_once_or_said_to_be_kept_and_nothing_loses_its_last(
    labels, by, folds, seed
):
    part = species(labels)
    try:
        found = split_parts([part], by, folds, "", seed)
    except ConfigError:  # too few to have one in each fold
        return
    pairs = [pair for fold in found.folds for pair in fold.pairs]
    every = [("mouse", f"b{b}", f"a{a}") for b, a in labels]
    assert sorted([*pairs, *found.kept]) == sorted(every)
    assert len(set(pairs)) == len(pairs)
    for fold in found.folds:
        left = set(every) - set(fold.pairs)
        for column in (1, 2):
            assert {pair[column] for pair in left} == {pair[column] for pair in every}
    shuffled = species(np.random.default_rng(seed).permutation(labels).tolist())
    assert split_parts([shuffled], by, folds, "", seed).fingerprint == found.fingerprint


@given(panels, st.integers(2, 3))
@settings(deadline=None)
def test_by_assay_all_experiments_of_an_assay_are_in_one_fold(labels, folds):
    try:
        found = split_parts([species(labels)], "assay", folds, "", 0)
    except ConfigError:
        assert len({a for _, a in labels}) < folds
        return
    homes = {}
    for number, fold in enumerate(found.folds):
        for pair in fold.pairs:
            assert homes.setdefault(pair[2], number) == number
    assert not found.kept


FULL = [(b, a) for b in range(4) for a in range(6)]


def test_folds_of_experiments_are_spread_over_assays_and_biosamples():
    found = split_parts([species(FULL)], "experiment", 3, "", 0)
    assert [len(fold.pairs) for fold in found.folds] == [8, 8, 8]
    for fold in found.folds:
        assert {pair[2] for pair in fold.pairs} == {f"a{a}" for a in range(6)}


def test_a_class_is_held_out_whole_or_split_by_assay():
    whole = split_parts([species(FULL)], "class", None, "protein_binding", 0)
    assert [fold.name for fold in whole.folds] == ["protein_binding"]
    assert {pair[2] for pair in whole.folds[0].pairs} == {"a1", "a3", "a5"}
    parts = split_parts([species(FULL)], "assay", 3, "protein_binding", 0)
    assert sorted(fold.pairs[0][2] for fold in parts.folds) == ["a1", "a3", "a5"]
    assert all(len({pair[2] for pair in fold.pairs}) == 1 for fold in parts.folds)


def test_withheld_regions_are_all_regions_once_on_the_grid_of_positions():
    found = split_parts([species(FULL)], "region", 3, "", 0)
    places = sorted(place for fold in found.folds for place in fold.regions)
    assert places[0][2] == 0
    assert places[-1][3] == 25 * 2_000
    assert all(a[3] == b[2] for a, b in itertools.pairwise(places))


def test_files_are_read_as_exclusions_and_another_split_is_not_written_over(tmp_path):
    labels = [(f"b{b}", f"a{a}") for b, a in FULL]
    store = write_store(tmp_path / "mouse.zarr", planted(0, 4, 6), labels=labels)
    made = split(store, folds=2, out=tmp_path / "folds")
    assert set(read_pairs(tmp_path / "folds/fold-1.tsv")) == set(made.folds[0].pairs)
    assert made.fingerprint in (tmp_path / "folds/fold-2.tsv").read_text()
    split(store, folds=2, out=tmp_path / "folds")  # the same one
    with pytest.raises(ConfigError, match="folds"):
        split(store, folds=3, out=tmp_path / "folds")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "tissue"}, "--by"),
        ({"folds": 1}, "number of folds"),
        ({"by": "class", "folds": 2}, "each class is a fold"),
        ({"assay_class": "histones"}, "assay class"),
        ({"folds": 100}, "would hold no experiment"),
    ],
)
def test_what_cannot_be_split_is_said(options, message):
    chosen = {"by": "experiment", "folds": None, "assay_class": "", "seed": 0} | options
    with pytest.raises(ConfigError, match=message):
        split_parts([species(FULL)], **chosen)
