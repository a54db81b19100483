"""Results that were wrong without a word, each as an audit of the whole code found it."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from epixs.axis.join import joint_axis
from epixs.catalog.portal import select_experiments
from epixs.checks.qc import quality
from epixs.cli.app import app
from epixs.compendium.remove import remove_experiments
from epixs.errors import AxisError, ConfigError, StoreError, TrainingError
from epixs.evaluation.runs import read_run
from epixs.evaluation.scores import evaluate
from epixs.factors.selection import plan_factors
from epixs.imputation.pairs import choose_pairs
from epixs.imputation.write import impute
from epixs.models.folder import open_model
from epixs.models.settings import make_settings, read_settings
from epixs.report.plot import plot
from epixs.sampling.order import species_shares
from epixs.training.extension import plan_extension
from epixs.training.history import read_history
from epixs.training.run import train
from tests.worlds import planted, write_store

LABELS = [(f"b{b}", f"a{a}") for b in range(4) for a in range(3)]
CONFIG = make_settings("avocado", hidden=(8, 8), epochs=2, batch_size=500, held_out=0.1, precision="float32")


def epixs(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def said(result):
    return " ".join(result.stderr.split())


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("silent") / "s.zarr", planted(1, 4, 3), labels=LABELS)


@pytest.fixture(scope="module")
def model(store):
    """A model of `store`, for tests that only read it."""
    return model_of(store.with_name("m"), store)


def model_of(folder, *stores, exclude=(), aliases=(), config=CONFIG):
    train(joint_axis(stores, exclude, aliases), config, folder)
    return open_model(folder)


def test_files_with_audit_errors_are_taken_last_and_named(tmp_path):
    columns = ["File accession", "Experiment accession", "Lab", "Audit ERROR", "Experiment target"]
    rows = [("F1", "E1", "x", "low depth", "H3K4me3-human"), ("F2", "E2", "x", "", "H3K27ac-human"),
            ("F3", "E3", "y", "", "H3K4me3-human"), ("F4", "E4", "y", "low depth", "H3.3-human")]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns).assign(
        **{
            "File format": "bigWig", "Output type": "signal p-value", "File assembly": "GRCh38", "Assay": "ChIP-seq",
            "Biosample term name": "K562", "Biosample organism": "Homo sapiens", "Biological replicate(s)": "1",
            "File download URL": "/f", "File Status": "released",
        }
    )  # fmt: skip
    table.to_csv(tmp_path / "m.tsv", sep="\t", index=False)
    selection = select_experiments(tmp_path / "m.tsv")
    assert set(selection.table["accession"]) == {"F2", "F3", "F4"}
    assert selection.audited == ("F4",)
    assert selection.others["Audit ERROR"].tolist() == ["low depth"]
    classes = selection.table.set_index("accession")["assay_class"]
    assert classes["F4"] == "histone"


@pytest.mark.slow
def test_files_that_changed_or_have_another_size_are_said(write_bigwig, tmp_path):
    for name, value in (("F1", 1.0), ("F2", 2.0)):
        write_bigwig(f"{name}.bw", [("chr1", 0, 10_000, value)])
    size = (tmp_path / "F2.bw").stat().st_size
    rows = ["species\tassembly\tbiosample\tassay\tassay_class\taccession\toutput_type\tpath\tsize"]
    rows += [
        f"toy\ttoy\t{b}\tA\thistone\t{n}\tsignal\t{n}.bw\t{s}"
        for b, n, s in (("x", "F1", 12), ("y", "F2", size))
    ]
    (tmp_path / "c.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "toy.chrom.sizes").write_text("chr1\t10010\nchr2\t5000\n")
    (tmp_path / "r.bed").write_text("chr1\t0\t10010\n")
    run = [
        "ingest",
        tmp_path / "c.tsv",
        "--regions",
        tmp_path / "r.bed",
        "--out",
        tmp_path / "o.zarr",
        "--workers",
        1,
    ]
    first = epixs(*run)
    assert "warning: 1 file of another size than the catalog gives: F1" in said(first)
    assert "read again" not in said(first)
    write_bigwig("F1.bw", [("chr1", 0, 5_000, 7.0), ("chr1", 5_000, 10_000, 3.0)])
    assert "1 experiment read again: their files had changed" in said(epixs(*run))
    assert epixs("remove", tmp_path / "o.zarr", "F2").exit_code == 0
    last = epixs(*run)
    assert "1 of 2 experiments readable, 1 removed" in last.stdout
    assert "the catalog names removed experiments, which stay removed: F2" in said(last)


def test_the_loss_is_over_entries_that_have_a_value(tmp_path):
    values = np.full((4, 3_000), 2.0)
    values[:, :2_000] = np.nan
    values[0, 2_000] = 2.5
    store = write_store(tmp_path / "s.zarr", values, labels=[(b, a) for b in "xy" for a in "AB"])
    config = CONFIG.replace(epochs=1, learning_rate=1e-12, held_out=0.3)
    train(joint_axis([store]), config, tmp_path / "m")
    model, axis = open_model(tmp_path / "m").model, joint_axis([store])
    inputs = {
        "position": np.zeros((1, 3), "i4"),
        "biosample": np.zeros((1, 1), "i4"),
        "assay": np.zeros((1, 1), "i4"),
    }
    error = (float(model(inputs).numpy()[0, 0, 0]) - 2.0) ** 2
    loss = read_history(tmp_path / "m")["loss"][0]
    assert abs(loss - error) < 0.02  # and not a third of it, as two thirds of the positions are empty
    assert axis.n_training == 4


def test_extensions_are_checked_as_training_is(model, tmp_path):
    values = np.concatenate([planted(1, 4, 3), planted(3, 1, 3) + 60])
    labels = [*LABELS, *[("new", f"a{a}") for a in range(3)]]
    large = write_store(tmp_path / "large.zarr", values, labels=labels)
    done = epixs("extend", model.folder, large, "--out", tmp_path / "n")
    assert done.exit_code == 2
    assert "new / a0 (new-a0) has a mean of" in said(done)
    assert "values of another order of magnitude" in said(done)
    assert "a0: new tracks reach from" in said(done)
    with pytest.raises(TrainingError, match="another order of magnitude"):
        plan_factors(model, write_store(
            tmp_path / "all.zarr", planted(1, 4, 3) + 60, labels=LABELS))  # fmt: skip
    assert model.axis.n_training == 12


def test_another_file_of_a_known_name_is_refused_by_extensions(model, tmp_path):
    other = write_store(
        tmp_path / "o.zarr", planted(1, 4, 3), labels=LABELS, accessions=["NEW", *"bcdefghijkl"]
    )
    with pytest.raises(AxisError, match=r"has 12 other files .*got b0 / a0: NEW; expected b0-a0"):
        plan_extension(model, other)


def test_pairs_of_other_species_are_not_dropped_in_silence(store, tmp_path):
    rat = write_store(tmp_path / "rat.zarr", planted(2, 4, 3), labels=LABELS, species="rat")
    trained = model_of(tmp_path / "m", store, rat)
    with pytest.raises(AxisError, match=r"got 'Mouse' \(did you mean 'mouse'\?\)"):
        choose_pairs(trained.axis, "mouse", pairs=[("mouse", "b0", "a0"), ("Mouse", "b1", "a1")])
    (tmp_path / "p.tsv").write_text("species\tbiosample\tassay\nmouse\tb0\ta0\nrat\tb1\ta1\n")
    done = epixs("impute", tmp_path / "m", store, "--out", tmp_path / "i.zarr", "--pairs", tmp_path / "p.tsv")
    assert "1 pair of other species than mouse not imputed" in said(done)


def test_roles_are_those_of_the_files_that_training_saw(tmp_path):
    values = planted(1, 4, 3)
    store = write_store(tmp_path / "s.zarr", values, labels=LABELS)
    excluded = [("mouse", "b0", "a0"), ("mouse", "b1", "a0")]
    config = CONFIG.replace(held_out_tracks=2)
    trained = model_of(tmp_path / "m", store, exclude=excluded, config=config)
    impute(trained, store, tmp_path / "i.zarr", everything=True)
    roles = evaluate(tmp_path / "i.zarr", store).scores.drop_duplicates(["assay", "biosample"])["role"]
    assert roles.value_counts().to_dict() == {"training": 8, "excluded": 2, "held out": 2}
    accessions = [f"{b}-{a}" for b, a in LABELS]
    accessions[-1] = "NEW"  # the same name and regions, another file
    other = write_store(tmp_path / "o.zarr", values, labels=LABELS, accessions=accessions)
    again = evaluate(tmp_path / "i.zarr", other)
    before = (
        evaluate(tmp_path / "i.zarr", store)
        .scores.query("biosample == 'b3' and assay == 'a2'")["role"]
        .iloc[0]
    )
    now = again.scores.query("biosample == 'b3' and assay == 'a2'")["role"].iloc[0]
    if before == "training":
        assert now == "replaced"
        assert (
            "1 experiments have other files than in training, and are 'replaced': b3 / a2" in again.notes[0]
        )
        assert "1 experiments that were trained on, from another file, are in no table" in " ".join(
            read_run(again.scores).notes
        )
    impute(trained, store, tmp_path / "few.zarr", pairs=excluded[:1])
    assert (
        "3 observed experiments that training never saw were not imputed"
        in evaluate(tmp_path / "few.zarr", store).notes[0]
    )


@pytest.mark.slow
def test_removed_rows_of_other_species_are_in_no_baseline(tmp_path):
    human_labels = [(b, a) for b in ("h1", "h2") for a in ("a0", "a1", "a2")]
    human = write_store(tmp_path / "h.zarr", planted(2, 2, 3), labels=human_labels, species="human")
    mouse = write_store(tmp_path / "m.zarr", planted(1, 4, 3), labels=LABELS)
    excluded = [("mouse", f"b{i}", "a2") for i in range(4)]
    trained = model_of(tmp_path / "model", mouse, human, exclude=excluded)
    impute(trained, mouse, tmp_path / "i.zarr", pairs=excluded)
    whole = evaluate(tmp_path / "i.zarr", mouse)
    remove_experiments(human, ["h1-a2", "h2-a2"], "wrong antibody")
    less = evaluate(tmp_path / "i.zarr", mouse)
    assert "2 experiments of human that training saw are removed now" in less.notes[0]
    assert "assay regression" in set(whole.scores["method"])
    assert "assay regression" not in set(less.scores["method"])


def test_plots_find_a_track_by_either_of_its_assays_names(tmp_path):
    from epixs.axis.aliases import Alias

    labels = [("x", "A1"), ("w", "A1"), ("y", "A"), ("z", "A"), ("x", "B"), ("y", "B")]
    store = write_store(tmp_path / "s.zarr", planted(1, 3, 2), labels=labels)
    trained = model_of(tmp_path / "m", store, aliases=[Alias("A", "A1")])
    impute(trained, store, tmp_path / "i.zarr", everything=True)
    pytest.importorskip("matplotlib")
    for name in ("A", "A1"):
        assert plot(
            tmp_path / "i.zarr", store, biosample="y", assay=name, locus="chr1:0-25,000", out=tmp_path / "p.png"
        ) == []  # fmt: skip


def test_peaks_name_an_assay_by_either_of_its_names(tmp_path):
    from epixs.axis.aliases import Alias

    labels = [("x", "A1"), ("w", "A1"), ("y", "A"), ("z", "A")]
    store = write_store(tmp_path / "s.zarr", planted(1, 2, 2), labels=labels)
    trained = model_of(tmp_path / "m", store, aliases=[Alias("A", "A1")])
    impute(trained, store, tmp_path / "i.zarr", everything=True)
    (tmp_path / "a.bed").write_text("chr1\t0\t500\n")
    for name in ("A", "A1"):
        (tmp_path / "peaks.tsv").write_text(f"biosample\tassay\tpath\ny\t{name}\ta.bed\n")
        found = evaluate(tmp_path / "i.zarr", store, peaks=tmp_path / "peaks.tsv")
        assert found.scores.dropna(subset="auprc")["biosample"].unique().tolist() == ["y"]
        assert not any("not used" in note for note in found.notes)


def test_the_class_of_an_assay_is_no_matter_of_the_order_of_the_stores(tmp_path):
    one = write_store(tmp_path / "m.zarr", planted(1, 4, 3), labels=LABELS)
    other = write_store(
        tmp_path / "r.zarr", planted(1, 2, 3), labels=LABELS[:6], species="rat", assay_class="other"
    )
    for stores in ([one, other], [other, one]):
        assert set(joint_axis(stores).assay_classes.values()) == {"histone"}


def test_settings_outside_their_table_are_refused(tmp_path):
    (tmp_path / "c.toml").write_text("seed = 7\n[training]\nepochs = 3\n")
    with pytest.raises(ConfigError, match=r"settings outside \[model\] and \[training\]; got seed"):
        read_settings(tmp_path / "c.toml")
    (tmp_path / "c.toml").write_text("[other]\nseed = 7\n[training]\nepochs = 3\n")
    assert read_settings(tmp_path / "c.toml").training.epochs == 3


def test_a_species_weight_that_comes_twice_is_refused():
    with pytest.raises(ConfigError, match="species_weight"):
        species_shares("mouse=1,human=1,mouse=9", ["mouse", "human"], np.array([1.0, 1.0]))


def test_quality_is_of_what_was_observed(model, store, tmp_path):
    impute(model, store, tmp_path / "i.zarr", pairs=[("mouse", "b0", "a0")])
    with pytest.raises(StoreError, match="is imputed; expected a store of observed"):
        quality(tmp_path / "i.zarr")
