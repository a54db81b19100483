import pandas as pd

from epixs.compendium.differences import different_experiments, different_provenance
from epixs.compendium.plan import LABELS


def table(*rows):
    return pd.DataFrame([[*row, "histone", "fold change", "", ""] for row in rows], columns=list(LABELS))


def test_what_one_table_lacks_is_named():
    planned = table(("A1", "liver", "CTCF"), ("A2", "heart", "CTCF"))
    stored = table(("A1", "liver", "CTCF"), ("A3", "lung", "CTCF"), ("A4", "lung", "DNase"))
    assert different_experiments(planned, stored) == [
        "1 experiment that the store lacks: A2 (heart / CTCF)",
        "2 experiments that only the store has: A3 (lung / CTCF), A4 (lung / DNase)",
    ]


def test_many_names_are_cut_short():
    rows = [(f"A{n}", "liver", f"assay{n}") for n in range(5)]
    (text,) = different_experiments(table(*rows), table())
    assert text.startswith("5 experiments that the store lacks: A0 (liver / assay0), ")
    assert text.endswith("A2 (liver / assay2), ...")


def test_another_label_and_another_order_are_named():
    one, two = ("A1", "liver", "CTCF"), ("A2", "heart", "CTCF")
    assert different_experiments(table(one, two), table(two, one)) == [
        "the same experiments in another order"
    ]
    assert different_experiments(table(("A1", "lung", "CTCF")), table(one)) == [
        "A1 with biosample 'lung', the store has 'liver'"
    ]


def test_models_are_told_apart():
    held = {"model": "a", "model_fingerprint": "1", "training": {"human": 1}}
    assert different_provenance({**held, "model_fingerprint": "2"}, held) == [
        "model_fingerprint 2, the store has 1"
    ]
    assert different_provenance({**held, "training": {}}, held) == ["another training"]
    assert different_provenance({**held, "factors": "f.zarr"}, held) == ["factors f.zarr, the store has none"]
    assert different_provenance(held, "gone")[0] == "model a, the store has none"
