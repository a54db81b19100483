"""Choose the species and assays for which zero-shot imputation is meant."""

import pytest

from epixs.axis.join import joint_axis
from epixs.axis.targets import choose_targets, lacking_assays, targets_of, wanted_assays
from epixs.errors import AxisError
from tests.worlds import planted, write_store


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Make an axis on which human has a0 to a3, and mouse a0 to a2."""
    folder = tmp_path_factory.mktemp("targets")
    made = []
    for species, assays in (("human", 4), ("mouse", 3)):
        labels = [(f"b{b}", f"a{a}") for b in range(2) for a in range(assays)]
        made.append(
            write_store(folder / f"{species}.zarr", planted(1, 2, assays), labels=labels, species=species)
        )
    return made


def test_an_assay_excluded_as_a_whole_is_what_is_wanted(stores):
    axis = joint_axis(stores, [("mouse", f"b{b}", "a1") for b in range(2)])
    assert choose_targets(axis)[0] == ("mouse",)
    assert lacking_assays(axis, ("mouse",)) == ["a1", "a3"]
    assert wanted_assays(axis, "") == ["a1"]


def test_of_a_species_that_is_named_all_that_it_lacks_is_wanted(stores):
    axis = joint_axis(stores)
    assert targets_of(axis, "mouse") == (("mouse",), "as asked for")
    assert wanted_assays(axis, "mouse") == ["a3"]
    with pytest.raises(AxisError, match="did you mean 'mouse'"):
        wanted_assays(axis, "mose")


def test_else_nothing_is_known_to_be_wanted(stores):
    assert wanted_assays(joint_axis(stores), "") == []
    assert wanted_assays(joint_axis(stores, [("mouse", "b0", "a1")]), "") == []
    assert wanted_assays(joint_axis(stores[:1]), "") == []
