"""Splits: folds share nothing, depend only on labels and seed, and leave enough to train on."""

import dataclasses
from collections import Counter

import pandas as pd
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from epixs.axis.axis import SpeciesAxis
from epixs.axis.join import joint_axis
from epixs.axis.splits import split, split_parts
from epixs.catalog.pairs import read_pairs
from epixs.errors import ConfigError
from epixs.genome.regions import Regions
from tests.worlds import planted, write_store

CLASSES = ("histone", "protein")

LABELS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=12, max_size=36, unique=True)
"""Experiments as numbers of a biosample and an assay."""


def species(labels, regions=4):
    """Make a species' axis with some experiments; assays with odd numbers are of another class."""
    names = [(f"b{b}", f"a{a}", CLASSES[a % 2]) for b, a in labels]
    table = pd.DataFrame(names, columns=["biosample", "assay", "assay_class"])
    count = range(regions)
    where = Regions(
        "mm10", tuple(f"r{i}" for i in count), ("chr1",) * regions,
        tuple(20_000 * i for i in count), tuple(20_000 * i + 10_000 for i in count),
    )  # fmt: skip
    return SpeciesAxis("mouse", "mouse.zarr", "plan", where, tuple(sorted({*table["biosample"]})), table)


def pairs_of(labels):
    return {("mouse", f"b{b}", f"a{a}") for b, a in labels}


def split_if_possible(labels, by, folds, seed):
    """Make a split; hypothesis skips examples with too few experiments for the folds."""
    try:
        return split_parts([species(labels)], by, folds, "", seed)
    except ConfigError:
        return reject()


@settings(max_examples=60)
@given(
    labels=LABELS,
    folds=st.integers(2, 4),
    seed=st.integers(0, 9),
    by=st.sampled_from(["experiment", "assay", "biosample"]),
)
def test_folds_partition_the_experiments(labels, folds, seed, by):
    made = split_if_possible(labels, by, folds, seed)
    pairs = [pair for fold in made.folds for pair in fold.pairs] + list(made.kept)
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == pairs_of(labels)
    if by == "assay":
        assert not made.kept
        assert sum(len({pair[2] for pair in fold.pairs}) for fold in made.folds) == len(
            {a for _, a in labels}
        )


@settings(max_examples=60)
@given(
    labels=LABELS,
    folds=st.integers(2, 4),
    seed=st.integers(0, 9),
    by=st.sampled_from(["experiment", "biosample"]),
)
def test_no_assay_or_biosample_loses_its_last_experiment(labels, folds, seed, by):
    made = split_if_possible(labels, by, folds, seed)
    for fold in made.folds:
        left = pairs_of(labels) - set(fold.pairs)
        for column in (1, 2):
            assert {pair[column] for pair in left} == {pair[column] for pair in pairs_of(labels)}
    if by == "biosample":  # each held-out biosample keeps one experiment, and none is in two folds
        held = [{pair[1] for pair in fold.pairs} for fold in made.folds]
        assert sum(map(len, held)) == len(set().union(*held))


@settings(max_examples=30)
@given(labels=LABELS, seed=st.integers(0, 9), data=st.data())
def test_the_order_of_experiments_is_nothing(labels, seed, data):
    other = data.draw(st.permutations(labels))
    made = [split_parts([species(order)], "experiment", 3, "", seed) for order in (labels, other)]
    assert made[0] == made[1]
    assert made[0].fingerprint == made[1].fingerprint


def test_experiments_are_spread_over_assays_and_biosamples():
    """With six biosamples x six assays, each fold has two of each assay, and folds are equally large."""
    every = [(b, a) for b in range(6) for a in range(6)]
    made = split_parts([species(every)], "experiment", 3, "", 0)
    assert [len(fold.pairs) for fold in made.folds] == [12, 12, 12]
    for fold in made.folds:
        assert set(Counter(pair[2] for pair in fold.pairs).values()) == {2}
        assert max(Counter(pair[1] for pair in fold.pairs).values()) <= 3
    assert split_parts([species(every)], "experiment", 3, "", 1).fingerprint != made.fingerprint


def test_assays_of_a_class_are_held_out_whole_and_the_others_kept():
    every = [(b, a) for b in range(4) for a in range(6)]
    made = split_parts([species(every)], "assay", 3, "protein", 0)
    held = [{pair[2] for pair in fold.pairs} for fold in made.folds]
    assert sorted(map(sorted, held)) == [["a1"], ["a3"], ["a5"]]
    assert all(len(fold.pairs) == 4 for fold in made.folds)


@settings(max_examples=30)
@given(labels=LABELS, more=LABELS, folds=st.integers(2, 4), seed=st.integers(0, 9))
def test_assays_of_two_species_are_held_out_of_one_at_a_time(labels, more, folds, seed):
    parts = [species(labels), dataclasses.replace(species(more), species="human")]
    try:
        made = split_parts(parts, "assay", folds, "", seed)
    except ConfigError:
        reject()
    assert made == split_parts(parts[::-1], "assay", folds, "", seed)
    both = {a for _, a in labels} & {a for _, a in more}
    for fold in made.folds:
        held = {name: {a for s, _, a in fold.pairs if s == name} for name in ("mouse", "human")}
        assert not held["mouse"] & held["human"]
    alone = {f"a{a}" for _, a in [*labels, *more] if a not in both}
    assert {assay for _, assay in made.lost} == alone


def test_a_class_of_several_species_is_lost_and_named(tmp_path):
    parts = [species([(0, 0), (1, 1)]), dataclasses.replace(species([(2, 0), (1, 3)]), species="human")]
    assert set(split_parts(parts, "class", None, "", 0).lost) == {
        ("histone", "a0"), ("protein", "a1"), ("protein", "a3")
    }  # fmt: skip
    assert split_parts(parts[:1], "class", None, "", 0).lost == ()


def test_classes_are_folds():
    every = [(b, a) for b in range(2) for a in range(4)]
    made = split_parts([species(every)], "class", None, "", 0)
    assert [(fold.name, {pair[2] for pair in fold.pairs}) for fold in made.folds] == [
        ("histone", {"a0", "a2"}),
        ("protein", {"a1", "a3"}),
    ]
    (one,) = split_parts([species(every)], "class", None, "protein", 0).folds
    assert one == made.folds[1]


def test_a_biosample_keeps_the_experiment_of_its_most_widespread_assay():
    labels = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 2), (1, 2)]
    made = split_parts([species(labels)], "biosample", 3, "", 0)
    assert made.kept == (("mouse", "b0", "a0"), ("mouse", "b1", "a0"), ("mouse", "b2", "a0"))


@pytest.mark.parametrize(("regions", "folds"), [(4, 2), (1, 2), (2, 2)])
def test_regions_are_withheld_once_each(regions, folds):
    part = species([(b, a) for b in range(4) for a in range(4)], regions)
    made = split_parts([part], "region", folds, "", 0)
    covered = sorted((start, end) for fold in made.folds for _, _, start, end, _ in fold.regions)
    if regions == 1:
        assert covered == [(0, 5_000), (5_000, 10_000)]
    else:
        assert covered == [(20_000 * i, 20_000 * i + 10_000) for i in range(regions)]
    assert [fold.pairs for fold in made.folds] == [
        fold.pairs for fold in split_parts([part], "experiment", folds, "", 0).folds
    ]


def test_a_region_too_short_for_the_folds_is_refused():
    part = species([(b, a) for b in range(4) for a in range(4)], 1)
    with pytest.raises(ConfigError, match=r"region r0 of mouse; got 10,000 bp.*15,000 bp, or 3 regions"):
        split_parts([part], "region", 3, "", 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "asay"}, r"--by; got 'asay' \(did you mean 'assay'\?\)"),
        ({"folds": 1}, "number of folds; got 1; expected 2 to 1,000"),
        ({"by": "class", "folds": 3}, "each class is a fold"),
        ({"assay_class": "histones"}, r"got 'histones' \(did you mean 'histone'\?\)"),
        ({"by": "assay", "folds": 9}, "fold 4 would hold no experiment"),
    ],
)
def test_what_cannot_be_split_is_refused(options, message):
    part = species([(b, a) for b in range(3) for a in range(3)])
    arguments = {"by": "experiment", "folds": None, "assay_class": "", "seed": 0} | options
    with pytest.raises(ConfigError, match=message):
        split_parts([part], **arguments)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    labels = [(f"b{b}", f"a{a}") for b in range(3) for a in range(3)]
    return write_store(tmp_path_factory.mktemp("splits") / "mouse.zarr", planted(1, 3, 3), labels=labels)


def test_tables_are_what_exclude_reads(store, tmp_path):
    made = split(store, folds=3, out=tmp_path / "folds")
    for number, fold in enumerate(made.folds, 1):
        path = tmp_path / "folds" / f"fold-{number}.tsv"
        assert read_pairs(path) == list(fold.pairs)
        assert joint_axis(store, read_pairs(path)).n_training == 9 - len(fold.pairs)
        assert set(pd.read_csv(path, sep="\t")["split"]) == {made.fingerprint}
    assert split(store, folds=3, out=tmp_path / "folds") == made  # the same again changes nothing
    with pytest.raises(ConfigError, match="not empty"):
        split(store, folds=2, out=tmp_path / "folds")


def test_withheld_regions_are_written_as_bed(store, tmp_path):
    split(store, by="region", folds=3, out=tmp_path)
    texts = [(tmp_path / f"fold-{number}.bed").read_text() for number in (1, 2, 3)]
    assert sorted("".join(texts).splitlines()) == [
        "chr1\t0\t25000\tr0-1", "chr1\t25000\t50000\tr0-2", "chr1\t50000\t75000\tr0-3"
    ]  # fmt: skip


def test_a_split_whose_writing_was_interrupted_is_completed(store, tmp_path):
    made = split(store, folds=3, out=tmp_path)
    text = (tmp_path / "fold-2.tsv").read_text()
    (tmp_path / "fold-2.tsv").unlink()
    assert split(store, folds=3, out=tmp_path) == made
    assert (tmp_path / "fold-2.tsv").read_text() == text


def test_quotes_in_labels_are_read_back(tmp_path):
    labels = [(f'b{b} 8"', f"a{a}") for b in range(3) for a in range(3)]
    write_store(tmp_path / "quoted.zarr", planted(0, 3, 3), labels=labels)
    made = split(tmp_path / "quoted.zarr", folds=3, out=tmp_path / "folds")
    assert read_pairs(tmp_path / "folds" / "fold-1.tsv") == list(made.folds[0].pairs)


def test_the_order_of_regions_is_nothing():
    labels = [(b, a) for b in range(4) for a in range(4)]
    one = species(labels, regions=6)
    turned = dataclasses.replace(
        one,
        regions=Regions("mm10", *(tuple(reversed(x)) for x in
                        (one.regions.name, one.regions.chrom, one.regions.start, one.regions.end))),
    )  # fmt: skip
    first, second = (split_parts([part], "region", 3, "", 0) for part in (one, turned))
    for a, b in zip(first.folds, second.folds, strict=True):
        assert set(a.regions) == set(b.regions)
