import pandas as pd
import pytest

from epixs.imputation.roles import GAP_FILL, TRAINED_ON, ZERO_SHOT, roles_in

TABLE = pd.DataFrame(
    {"biosample": ["liver", "liver", "heart", "liver"], "assay": ["K4", "K27", "K4", "CTCF"]}
)


@pytest.mark.parametrize(
    ("experiments", "aliases", "expected"),
    [
        ([["liver", "K4"]], {}, [TRAINED_ON, ZERO_SHOT, GAP_FILL, ZERO_SHOT]),
        ([["liver", "H3K4"], ["heart", "K27"]], {"K4": "H3K4"}, [TRAINED_ON, GAP_FILL, GAP_FILL, ZERO_SHOT]),
        ([], {}, [ZERO_SHOT] * 4),
    ],
)
def test_roles(experiments, aliases, expected):
    assert (
        roles_in(TABLE, "mouse", {"training": {"mouse": {"experiments": experiments, "aliases": aliases}}})
        == expected
    )


def test_a_store_that_does_not_say_its_training_has_no_roles():
    assert roles_in(TABLE, "mouse", {"training": {"human": {"experiments": []}}}) == []
