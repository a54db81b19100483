"""Assays that are hidden from a species: what is read then, and which targets they are."""

import numpy as np
import pytest

from epixs.axis.join import joint_axis
from epixs.sampling.context import ContextSampler
from epixs.sampling.kriging import weights_of
from tests.worlds import planted, write_store

LABELS = [(f"b{b}", f"a{a}") for b in range(3) for a in range(3)]
REGIONS = [("chr1", 0, 25 * 2000), ("chr2", 0, 25 * 900), ("chr2", 50_000, 50_000 + 25 * 100)]


def write(path, species="mouse", labels=LABELS, seed=0):
    values = planted(seed, 3, 3)[: len(labels)]
    return write_store(path, values, labels=labels, regions=REGIONS, species=species)


@pytest.fixture(scope="module")
def axis(tmp_path_factory):
    return joint_axis([write(tmp_path_factory.mktemp("episodes") / "mouse.zarr")])


def test_in_episodes_an_assay_is_hidden_from_its_whole_species(axis, tmp_path):
    second = write(tmp_path / "human.zarr", species="human", seed=1)
    joint = joint_axis([axis.parts[0].source, second])
    with ContextSampler(joint, targets=200, bins=8, episodes=0.999999, held_share=0) as hidden:
        inputs = hidden.batch(0, 0).inputs
    assays = np.concatenate([inputs["own_assay"], inputs["others_assay"]], axis=1)
    assert not (assays == inputs["target"][:, None]).any()
    with ContextSampler(joint, targets=200, bins=8, episodes=0.0, held_share=0) as shown:
        inputs = shown.batch(0, 0).inputs
    assert (inputs["others_assay"] == inputs["target"][:, None]).any(axis=1).all()


def test_a_hidden_assay_is_read_in_regions_as_long_as_where_it_is_absent(axis, tmp_path):
    """Of regions of 8 bins, means over 10 and over 5,000 bins to each side are all the same."""
    labels = [label for label in LABELS if label[1] != "a0"]
    short = [("chr1", start, start + 25 * 8) for start in range(0, 25 * 3000, 25 * 8)]
    values = planted(1, 3, 3)[: len(labels)]
    lacking = write_store(tmp_path / "short.zarr", values, labels=labels, regions=short, species="human")
    joint = joint_axis([axis.parts[0].source, lacking])
    with ContextSampler(
        joint, targets=200, bins=8, episodes=0.999999, held_share=0, focus=["a0"], seed=1
    ) as made:
        inputs = made.batch(0, 0).inputs
    wanted = inputs["target"] == joint.assay_index(["a0"])[0]
    far = np.abs(inputs["own"][..., 2] - inputs["own"][..., -1]).max(axis=(1, 2))
    hidden = wanted & ~(inputs["others_assay"] == inputs["target"][:, None]).any(axis=1)
    assert hidden.sum() > 20
    np.testing.assert_allclose(far[hidden], 0, atol=1e-5)
    assert (far[~wanted] > 0.01).any()
    assert not inputs["base"][hidden].any()  # what is known of long regions does not hold for short ones


def test_weighted_sums_of_an_absent_assay_come_from_species_with_like_regions(axis, tmp_path):
    """And those of an assay that is hidden from a species that will be told of it."""
    lacking = write(tmp_path / "human.zarr", seed=1, species="human", labels=LABELS[:2] + LABELS[3:5])
    joint = joint_axis([axis.parts[0].source, lacking])
    with ContextSampler(joint, targets=200, bins=8, episodes=0.999999, held_share=0, seed=1) as made:
        inputs = made.batch(0, 0).inputs
        assay = joint.assay_index(["a2"])
        absent = made.species[1].targets(np.array([0], np.int32), assay)[0]
    hidden = ~(inputs["others_assay"] == inputs["target"][:, None]).any(axis=1)
    assert hidden.sum() > 190
    has_sum, is_lacked = inputs["base"].any(axis=(1, 2)), inputs["target"] == assay
    assert has_sum[hidden & is_lacked].mean() > 0.9
    assert 0.35 < has_sum[hidden & ~is_lacked].mean() < 0.65  # nobody knows which species will lack it
    own, others = weights_of(absent.equations, absent.own, absent.others)
    assert (own[absent.own >= 0] != 0).any()
    assert (others[absent.others >= 0] != 0).any()


def test_targets_are_tracks_of_each_assay_that_others_of_their_biosample_tell_of(axis, tmp_path):
    alone = write(tmp_path / "human.zarr", species="human", seed=1, labels=[LABELS[0], *LABELS[4:]])
    joint = joint_axis([axis.parts[0].source, alone])
    with ContextSampler(joint, members=2) as made:
        every, few = (made.hiding.targets(most, 0) for most in (100, 1))
        labels = [(one.at, one.biosample, one.assay) for one in every]
        human = made.species[1].part.biosamples
        assert labels.count((1, human.index("b0"), 0)) == 0  # the only track of its biosample
        assert len(labels) == len({*labels}) == 9 + 5
        assert {(at, assay) for at, _, assay in labels} == {(one.at, one.assay) for one in few}
        assert len(few) == len({(one.at, one.assay) for one in few})
        for one in every:
            panel = made.species[one.at].panel
            read = np.append(one.own, one.others)
            assert not (panel.assay[read[read >= 0]] == one.assay).any()
            known = made.species[one.at].target(one.track).scale
            assert not np.allclose(one.scale, known)  # nor do they tell of its mean and spread
