import pytest

from epixs.axis.axis import JointAxis
from epixs.axis.join import joint_axis
from epixs.errors import AxisError, EpixsWarning
from epixs.models.avocado.network import build_model
from epixs.models.avocado.zero_shot import plan_zero_shot
from tests.worlds import planted, write_store


def store(folder, species, labels):
    values = planted(len(labels), len(labels), 1)
    return write_store(folder / f"{species}.zarr", values, labels=labels, species=species)


@pytest.fixture
def axis(tmp_path):
    """Human has assays A to D; mouse A and B, and M of its own."""
    human = [(b, a) for b in ("h1", "h2") for a in "ABCD"]
    mouse = [(b, a) for b in ("m1", "m2") for a in "ABM"]
    return joint_axis([store(tmp_path, "human", human), store(tmp_path, "mouse", mouse)])


def pairs(species, assay):
    first = species[0]
    return [(species, f"{first}{i}", assay) for i in (1, 2)]


def turned(axis):
    return JointAxis(axis.parts[::-1], axis.assays, axis.assay_classes)


def test_the_target_is_the_species_with_the_fewest_experiments(axis):
    for order in (axis, turned(axis)):  # never a matter of the order
        plan = plan_zero_shot(order)
        assert plan.targets == ("mouse",)
        assert plan.reason == "has the fewest experiments to train on"
        assert plan.detached == ("C", "D")
        assert plan.shaping == {"human": 4, "mouse": 6}
        assert plan.exempt == ()


def test_or_the_one_that_loses_an_assay_as_a_whole(axis):
    one = [("mouse", "m1", "A")]
    for order in (axis, turned(axis)):
        plan = plan_zero_shot(order.exclude([*pairs("human", "B"), *one]))
        assert (plan.targets, plan.reason) == (("human",), "an assay of it is excluded as a whole")
        assert plan.detached == ("B", "M")
        assert plan_zero_shot(order.exclude([("human", "h1", "A")])).targets == ("human",)
        # M is in no other species: nothing could be learnt for it
        assert plan_zero_shot(order.exclude([*pairs("mouse", "M"), ("human", "h1", "A")])).targets == (
            "mouse",
        )
        both = plan_zero_shot(order.exclude([*pairs("human", "A"), *pairs("mouse", "B")]))
        assert set(both.targets) == {"human", "mouse"}
        assert both.detached == ("A", "B", "C", "D", "M")


def test_or_the_one_that_was_asked_for(axis):
    assert plan_zero_shot(axis, target="human").targets == ("human",)
    assert plan_zero_shot(axis, target="human").detached == ("M",)
    assert plan_zero_shot(axis, target="mouse, human").targets == ("mouse", "human")
    with pytest.raises(
        AxisError, match=r"target species; got 'mose' \(did you mean 'mouse'\?\); expected one"
    ):
        plan_zero_shot(axis, target="mose")
    assert plan_zero_shot(axis, enabled=False).detached == ()


def test_no_species_is_left_without_tracks_that_shape_its_genome_factors(tmp_path):
    human = [("h1", "A"), ("h2", "A"), ("h1", "B")]
    mouse = [("m1", "a"), ("m2", "a"), ("m2", "b")]
    with pytest.warns(EpixsWarning, match="shares no assay"):
        axis = joint_axis([store(tmp_path, "human", human), store(tmp_path, "mouse", mouse)])
    axis = axis.exclude([("human", "h1", "A"), ("mouse", "m1", "a")])
    for target in ("", "human", "mouse", "human,mouse"):
        plan = plan_zero_shot(axis, target=target)
        assert plan.shaping == {"human": 2, "mouse": 2}
        assert set(plan.exempt) == {"human", "mouse"} - set(plan.targets) or target == "human,mouse"
        model = build_model(axis, hidden=(4, 4), target=target)
        for name in plan.exempt:
            numbers = axis.biosample_index(name, axis.part(name).biosamples)
            assert set(numbers.tolist()) <= set(model.settings["exempt_biosamples"])


def test_one_species_has_nothing_to_detach(tmp_path):
    plan = plan_zero_shot(joint_axis([store(tmp_path, "human", [("h1", "A")])]))
    assert (plan.targets, plan.detached, plan.shaping) == (("human",), (), {"human": 1})
