import json

import pytest

from epixs.axis.join import joint_axis
from epixs.axis.serialize import axis_from_dict, axis_to_dict
from epixs.errors import AxisError


@pytest.fixture
def axis(world):
    return joint_axis([world.store("mouse"), world.store("human")])


def test_json_round_trip(axis):
    again = axis_from_dict(json.loads(json.dumps(axis_to_dict(axis))))
    assert axis_to_dict(again) == axis_to_dict(axis)
    assert again.part("human").regions == axis.part("human").regions
    with pytest.raises(AxisError, match="axis is damaged"):
        axis_from_dict({"species": [{}]})


def test_a_window_of_a_species_has_labels_without_experiments(axis):
    part = axis.part("mouse")
    assay = part.experiments["assay"].iloc[0]
    content = axis_to_dict(axis)
    content["species"] = content["species"][:1]
    content["species"][0]["experiments"] = [
        e for e in content["species"][0]["experiments"] if e["assay"] != assay
    ]
    assert assay in axis_from_dict(content, whole=False).assays
    with pytest.raises(AxisError, match="axis is damaged"):
        axis_from_dict(content)
