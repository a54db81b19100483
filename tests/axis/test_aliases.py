import subprocess

import numpy as np
import pytest

from epixs.axis.aliases import Alias, alias_command, near_names, read_aliases
from epixs.axis.join import joint_axis
from epixs.axis.serialize import axis_from_dict, axis_to_dict
from epixs.compendium.read import open_compendium
from epixs.errors import AxisError, EpixsWarning
from epixs.evaluation.scores import evaluate
from epixs.factors.selection import plan_factors
from epixs.imputation.write import impute
from epixs.models.folder import open_model
from epixs.models.settings import make_settings
from epixs.report.plot import plot
from epixs.training.extension import plan_extension
from epixs.training.run import train
from tests.worlds import planted, write_store

TABLE = [Alias("A_signal_p-value", "A"), Alias("B_signal_p-value", "B", "mouse")]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("aliases")
    human = [(b, f"{a}_signal_p-value") for b in ("h1", "h2", "h3") for a in "ABC"]
    mouse = [(b, a) for b in ("m1", "m2") for a in "AB"]
    return [
        write_store(folder / "human.zarr", planted(5, 3, 3), labels=human, species="human"),
        write_store(folder / "mouse.zarr", planted(6, 2, 2), labels=mouse, species="mouse"),
    ]


@pytest.fixture(scope="module")
def trained(stores, tmp_path_factory):
    excluded = [("mouse", "m1", "A"), ("mouse", "m2", "A_signal_p-value")]  # by either name
    axis = joint_axis(stores, excluded, TABLE)
    folder = tmp_path_factory.mktemp("model") / "m"
    train(axis, make_settings("avocado", hidden=(16, 16), epochs=4, batch_size=500, held_out=0.1), folder)
    return open_model(folder)


def test_aliases_join_assays(stores):
    with pytest.warns(EpixsWarning, match=r"human shares no assay.*A_signal_p-value .human. and A .mouse."):
        apart = joint_axis(stores)
    assert apart.assays == ("A", "A_signal_p-value", "B", "B_signal_p-value", "C_signal_p-value")
    axis = joint_axis(stores, aliases=TABLE)
    assert axis.assays == ("A_signal_p-value", "B_signal_p-value", "C_signal_p-value")
    assert axis.part("mouse").aliases == {"A": "A_signal_p-value", "B": "B_signal_p-value"}
    assert axis.part("human").aliases == {}
    again = axis_from_dict(axis_to_dict(axis))
    assert again.part("mouse").aliases == axis.part("mouse").aliases
    other_way = joint_axis(stores, aliases=[Alias("A", "A_signal_p-value")])
    assert other_way.assays == ("A", "B", "B_signal_p-value", "C_signal_p-value")


def test_what_is_imputed_has_the_names_of_its_species_store(trained, stores, tmp_path):
    _, mouse = stores
    impute(trained, mouse, tmp_path / "i.zarr")
    labels = open_compendium(tmp_path / "i.zarr")
    pairs = set(zip(labels.biosample.to_numpy().tolist(), labels.assay.to_numpy().tolist(), strict=True))
    assert pairs == {("m1", "A"), ("m2", "A"), ("m1", "C_signal_p-value"), ("m2", "C_signal_p-value")}
    impute(trained, mouse, tmp_path / "one.zarr", pairs=[("mouse", "m1", "A_signal_p-value")])
    alone = open_compendium(tmp_path / "one.zarr")
    assert alone.assay.to_numpy().tolist() == ["A"]
    at = (labels.biosample.to_numpy() == "m1") & (labels.assay.to_numpy() == "A")
    np.testing.assert_allclose(alone.signal.to_numpy(), labels.signal.to_numpy()[at], atol=1e-3)


def test_scores_and_baselines_see_the_same_assay_in_both_species(trained, stores, tmp_path):
    _, mouse = stores
    impute(trained, mouse, tmp_path / "i.zarr")
    scores = evaluate(tmp_path / "i.zarr", mouse).scores
    assert set(scores["assay"]) == {"A"}
    assert set(scores["role"]) == {"zero-shot"}
    assert {"imputed", "nearest assay", "assay regression"} <= set(scores["method"])
    pytest.importorskip("matplotlib")
    plot(tmp_path / "i.zarr", mouse, biosample="m1", assay="A", locus="chr1", out=tmp_path / "p.png")


def test_models_know_their_aliases_when_stores_are_read_again(trained, stores):
    _, mouse = stores
    plan, _ = plan_factors(trained, mouse)
    assert set(plan.axis.parts[0].training["assay"]) == {"B_signal_p-value"}
    with pytest.raises(AxisError, match="no new biosample, assay or species"):
        plan_extension(trained, mouse)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([Alias("A_signal_p-value", "AA")], r"alias that no store has; got 'AA'"),
        ([Alias("X", "A", "rat")], "alias of a species that no store has; got 'rat'"),
        ([Alias("B", "A")], "aliases make two experiments of mouse one; got m1 / B twice"),
    ],
)
def test_aliases_that_cannot_be_meant(stores, rows, message):
    with pytest.raises(AxisError, match=message):
        joint_axis(stores, aliases=rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("assay\tother\nA\tB\n", "missing column alias"),
        ("assay\talias\nA\tB\nC\tB\n", "'B' is given two assays; got C; expected A"),
        ("assay\talias\nA\tB\nB\tC\n", "'B' is both an assay and an alias"),
        ("assay\talias\nA\t\n", "an empty name"),
    ],
)
def test_tables_of_aliases(tmp_path, text, message):
    (tmp_path / "a.tsv").write_text(text)
    with pytest.raises(AxisError, match=message):
        read_aliases(tmp_path / "a.tsv")


def test_names_that_may_mean_the_same():
    names = {
        "human": [
            "ChIP-seq_H3K4me3_signal_p-value",
            "ChIP-seq_H3K4me1_signal_p-value",
            "shared",
            "RNA-seq_plus",
        ],
        "mouse": ["ChIP-seq_H3K4me3", "h3k4me1", "shared", "RNA-seq", "ChIP-seq_H3K9ac"],
        "rat": ["ChIP-seq_H3K9ac_fold_change_over_control", "RNA-seq_plus", "RNA-seq_minus"],
    }
    assert near_names(names) == [
        ("human", "ChIP-seq_H3K4me1_signal_p-value", "mouse", "h3k4me1"),
        ("human", "ChIP-seq_H3K4me3_signal_p-value", "mouse", "ChIP-seq_H3K4me3"),
        ("human", "RNA-seq_plus", "mouse", "RNA-seq"),
        ("mouse", "ChIP-seq_H3K9ac", "rat", "ChIP-seq_H3K9ac_fold_change_over_control"),
    ]  # RNA-seq of mouse may be either of the two strands of rat
    assert near_names({"a": ["H3K4me1"], "b": ["H3K4me3"]}) == []


def test_the_offered_command_writes_the_table(tmp_path):
    pairs = [("human", "it's A", "mouse", "A $(touch x)"), ("human", "B_signal", "mouse", "B")]
    subprocess.run(["bash", "-c", alias_command(pairs, "a.tsv")], cwd=tmp_path, check=True)
    assert read_aliases(tmp_path / "a.tsv") == [Alias("it's A", "A $(touch x)"), Alias("B_signal", "B")]
    assert not (tmp_path / "x").exists()
