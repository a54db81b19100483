"""What somebody believes who sees only the last lines of a command."""

import json

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from epixs.axis.join import joint_axis
from epixs.cli.app import app
from epixs.cli.training_shown import say_how_it_ended
from epixs.models.settings import make_settings, read_settings
from epixs.sampling.mixture import PARTS
from epixs.training.run import train
from tests.worlds import planted, write_store


def epixs(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def said(result):
    return " ".join(result.stderr.split())


def last_lines(result, count):
    return " ".join(" ".join(result.output.splitlines()[-count:]).split())


LABELS = [(f"b{b}", f"a{a}") for b in range(4) for a in range(3)]


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "s.zarr", planted(1, 4, 3), labels=LABELS)


@pytest.fixture
def panel(tmp_path, write_bigwig):
    """A catalog of four tracks over chr1 and chr2: one covers 25 bases, one comes in other units."""
    rows = ["species\tassembly\tbiosample\tassay\tassay_class\taccession\toutput_type\tpath"]
    whole = [("chr1", 0, 10_000, 1.0), ("chr2", 0, 5_000, 2.0)]
    for name, biosample, unit, intervals in (
        ("F1", "h1", "signal p-value", whole),
        ("F2", "H1", "signal p-value", whole),
        ("F3", "liver", "fold change", whole),
        ("F4", "heart", "signal p-value", [("chr1", 100, 125, 3.0)]),
    ):
        write_bigwig(f"{name}.bw", intervals)
        rows.append(f"toy\ttoy\t{biosample}\tH3K4me3\thistone\t{name}\t{unit}\t{name}.bw")
    (tmp_path / "c.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "toy.chrom.sizes").write_text("chr1\t10010\nchr2\t5000\n")
    (tmp_path / "r.bed").write_text("chr1\t0\t10010\nchr2\t0\t5000\n")
    return tmp_path


@pytest.mark.slow
def test_ingest_info_and_qc_say_what_is_odd(panel):
    done = epixs(
        "ingest", panel / "c.tsv", "--regions", panel / "r.bed", "--out", panel / "o.zarr", "--workers", 1
    )
    shown = epixs("info", panel / "o.zarr")
    for result in (done, shown):
        assert result.exit_code == 0
        assert "warning: 1 of 4 experiments have values on less than 5% of the bases" in said(result)
        assert "heart / H3K4me3 (F4)): the rest counts as 0" in said(result)
        assert "H3K4me3 comes in several units: fold change and signal p-value in toy" in said(result)
        assert "biosamples in several spellings, taken for different ones: 'H1' and 'h1'" in said(result)
    assert (
        done.output.rstrip().splitlines()[-1].startswith("note: biosamples in several spellings")
    )  # at the end
    assert "output_type" in shown.stdout
    assert "covered_fraction" in shown.stdout
    quality = epixs("qc", panel / "o.zarr", "--report", panel / "qc", "--workers", 1)
    assert "has values on 0.0017 of all bases" in " ".join(quality.stdout.replace("│", " ").split())


@pytest.mark.slow
def test_training_says_whether_it_is_any_good(store, tmp_path):
    options = ["--model", "avocado", "--hidden", "16,16", "--config", tmp_path / "c.toml"]
    (tmp_path / "c.toml").write_text("[training]\nbatch_size = 300\nheld_out = 0.1\nlearning_rate = 0.002\n")
    poor = epixs("train", store, "--out", tmp_path / "poor", "--epochs", 1, *options)
    assert poor.exit_code == 0
    assert "MSE on held-out blocks" in poor.output
    assert "warning: mouse: MSE" in last_lines(poor, 1)
    assert "is worse than" in last_lines(poor, 1) or "better than this model" in last_lines(poor, 1)
    last = poor.stdout.splitlines()[-1]  # of what is left where standard error goes elsewhere
    assert "in epoch 1 of 1; mouse: worse than" in last
    again = epixs("train", store, "--out", tmp_path / "poor", "--epochs", 1, *options, "--resume", "--json")
    assert again.exit_code == 0
    assert "this run has ended, nothing is left to do; epoch 1 of 1 is kept; mouse: worse than" in said(again)
    assert json.loads(again.stdout)["had_ended"] is True
    other = epixs("train", store, "--out", tmp_path / "poor", "--epochs", 2, *options, "--resume")
    assert other.exit_code == 2
    assert "is of another run: epochs; got epochs 2; expected epochs 1" in said(other)
    good = epixs("train", store, "--out", tmp_path / "good", "--epochs", 60, *options)
    assert "warning" not in last_lines(good, 1)
    assert "better than average activity on 3 of the 3 assays scored" in last_lines(good, 1)
    assert "; mouse: better than average activity" in good.stdout.splitlines()[-2]


@pytest.mark.slow
def test_resuming_says_where(store, tmp_path):
    (tmp_path / "c.toml").write_text(
        '[model]\nkind = "avocado"\nhidden = [8, 8]\n'
        "[training]\nbatch_size = 300\nheld_out = 0.1\nepochs = 3\ncheckpoint_minutes = 0.0\n"
    )
    command = ["train", store, "--out", tmp_path / "m", "--config", tmp_path / "c.toml", "--resume"]

    def stop(report):
        if report.epoch == 2 and report.step == report.steps_per_epoch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(joint_axis([store]), read_settings(tmp_path / "c.toml"), tmp_path / "m", report=stop)
    done = epixs(*command)
    assert done.exit_code == 0
    assert "goes on in epoch 3\n" in done.output
    begun = epixs(*command[:3], tmp_path / "n", *command[4:])
    assert "there is no run to resume, so a new one begins" in begun.output


@pytest.mark.slow
def test_training_says_that_time_ran_out(store, tmp_path):
    done = epixs(
        "train", store, "--out", tmp_path / "m", "--hidden", "8", "--epochs", 50_000, "--max-minutes", 0.05
    )
    assert "that would be planned without --max-minutes" in " ".join(
        done.output.split()
    ) or "time ran out" in said(done)


@pytest.mark.slow
def test_the_plan_counts_what_shapes_genome_factors_and_offers_aliases(store, tmp_path):
    labels = [(b, f"{a}_signal") for b, a in LABELS]
    other = write_store(tmp_path / "rat.zarr", planted(2, 4, 3), labels=labels, species="rat")
    done = epixs("train", store, other, "--out", tmp_path / "m", "--model", "avocado", "--dry-run")
    assert "12 tracks" in done.stdout
    assert "zero-shot target" in done.stdout
    assert "shares no assay with the others in training" in said(done)
    assert "did you mean the same assay by 'a0' (mouse) and 'a0_signal' (rat), and 2 other pairs?" in said(
        done
    )
    assert "printf '%s\\t%s\\n' assay alias a0 a0_signal" in said(done)
    (tmp_path / "a.tsv").write_text("assay\talias\n" + "".join(f"a{i}_signal\ta{i}\n" for i in range(3)))
    (tmp_path / "none.tsv").write_text("species\tbiosample\tassay\n")
    joined = epixs(
        "train", store, other, "--out", tmp_path / "m", "--model", "avocado", "--dry-run", "--assay-alias", tmp_path / "a.tsv",
        "--target", "rat", "--exclude", tmp_path / "none.tsv",
    )  # fmt: skip
    assert "did you mean" not in said(joined)
    assert "rat (as asked for)" in joined.stdout
    assert "none.tsv has no rows: nothing is excluded" in said(joined)
    assert "unknown" not in said(joined)
    wrong = epixs("train", store, other, "--out", tmp_path / "m", "--target", "rot", "--dry-run")
    assert wrong.exit_code == 2
    assert "did you mean 'rat'?" in said(wrong)


def test_one_track_a_factor_too_large_is_refused(tmp_path):
    values = planted(1, 4, 3)
    values[0] = np.arcsinh(np.sinh(values[0]) * 1e30)
    store = write_store(tmp_path / "s.zarr", values, labels=LABELS)
    done = epixs("train", store, "--out", tmp_path / "m", "--hidden", "8")
    assert done.exit_code == 2
    assert "b0 / a0 (b0-a0) has a mean of" in said(done)
    assert "error: mouse / b0 / a0: values of another order of magnitude" in said(done)
    assert not (tmp_path / "m").exists()


@pytest.mark.slow
def test_what_cannot_be_compared_is_said(tmp_path):
    human = write_store(tmp_path / "h.zarr", planted(1, 4, 3), labels=LABELS, species="human")
    mouse = write_store(tmp_path / "m.zarr", planted(2, 1, 3), labels=LABELS[:3])
    few = epixs("train", human, mouse, "--out", tmp_path / "few", "--model", "avocado", "--epochs", 1)
    assert "note: nothing of mouse was held out" in said(few)
    (tmp_path / "c.toml").write_text("[training]\nheld_out = 0.2\n")
    options = ["--model", "avocado", "--hidden", "8", "--epochs", 1, "--config", tmp_path / "c.toml"]
    done = epixs("train", human, mouse, "--out", tmp_path / "model", *options)
    assert "note: mouse: MSE" in last_lines(done, 2)
    assert "each of its assays has one training experiment: there is nothing to compare with" in last_lines(
        done, 2
    )
    assert "human: MSE" in last_lines(done, 3)


def test_an_extension_is_compared_with_all_that_its_model_knows(tmp_path):
    values = planted(1, 5, 3)
    labels = [(f"b{b}", f"a{a}") for b in range(5) for a in range(3)]
    small = write_store(tmp_path / "small.zarr", values[:12], labels=labels[:12])
    grown = write_store(tmp_path / "grown.zarr", values, labels=labels)
    options = ["--model", "avocado", "--hidden", "8", "--epochs", 2]
    assert epixs("train", small, "--out", tmp_path / "m", *options).exit_code == 0
    done = epixs("extend", tmp_path / "m", grown, "--out", tmp_path / "n", "--epochs", 1)
    assert "mouse: MSE" in last_lines(done, 1)  # one new biosample, beside averages of the known ones
    assert "assay" in last_lines(done, 1)


@pytest.mark.slow
def test_zero_shot_across_units_is_judged_by_rank(tmp_path):
    human = write_store(tmp_path / "h.zarr", planted(2, 4, 3), labels=LABELS, species="human", unit="p-value")
    mouse = write_store(tmp_path / "m.zarr", planted(1, 4, 3), labels=LABELS, unit="fold change")
    rows = "".join(f"mouse\tb{i}\ta0\n" for i in range(4))
    (tmp_path / "x.tsv").write_text("species\tbiosample\tassay\n" + rows)
    trained = epixs(
        "train",
        mouse,
        human,
        "--out",
        tmp_path / "m",
        "--hidden",
        "8",
        "--epochs",
        1,
        "--exclude",
        tmp_path / "x.tsv",
    )
    assert "a0 comes in several units: fold change in mouse; p-value in human" in said(trained)
    assert "not in this table, as mouse has no training experiment of them: a0" in said(trained)
    imputed = epixs(
        "impute", tmp_path / "m", mouse, "--out", tmp_path / "i.zarr", "--pairs", tmp_path / "x.tsv"
    )
    assert "in other units than the tracks of mouse (fold change): a0 (p-value)" in said(imputed)
    scored = epixs("evaluate", tmp_path / "i.zarr", mouse)
    verdicts = [line for line in scored.stdout.splitlines() if "imputed better than" in line]
    assert verdicts
    ways = {line.rpartition("(")[2] for line in verdicts}
    assert ways == {"by rank, Spearman)", "by MSE of the best affine fit, as units differ)"}
    assert "mse_affine" in scored.stdout
    shown = epixs("info", tmp_path / "m").stdout
    assert "zero-shot target" in shown


@pytest.mark.parametrize(("planned", "had_come_down"), [(7, True), (9, False)])
def test_time_that_ran_out_at_the_very_end_is_no_reason_to_warn(tmp_path, capsys, planned, had_come_down):
    axis = joint_axis([write_store(tmp_path / "s.zarr", planted(0, 4, 3), labels=LABELS)])
    done = {
        "epochs": 7, "planned_epochs": planned, "wanted_epochs": 16, "best_epoch": 7, "time_ran_out": True,
        "stopped_early": False, "keeps_last": True, "held_out_mse": 0.1, "held_out": "entries", "errors": [],
    }  # fmt: skip
    say_how_it_ended(tmp_path / "m", done, axis)
    printed = capsys.readouterr()
    said = " ".join((printed.out + printed.err).split())
    assert f"time ran out in epoch 7 of {planned} planned" in said
    assert ("had not come down" in said) != had_come_down


def test_what_zero_shot_tracks_are_mixed_from_is_said_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("epixs.models.context.kind.ENTRIES_PER_EPOCH", 1 << 14)
    stores = [
        write_store(tmp_path / f"{species}.zarr", planted(seed, 4, 3), labels=LABELS, species=species)
        for seed, species in enumerate(("mouse", "human"))
    ]
    (tmp_path / "x.tsv").write_text("species\tbiosample\tassay\nmouse\tb0\ta2\nmouse\tb1\ta2\n")
    hidden = [("mouse", f"b{b}", "a2") for b in range(4)]
    settings = make_settings("context", members=2, token=8, heads=2, hidden=(16,), epochs=2, batch_size=1024)
    train(joint_axis(stores, hidden), settings, tmp_path / "m")
    done = epixs(
        "impute", tmp_path / "m", stores[0], "--out", tmp_path / "i.zarr", "--pairs", tmp_path / "x.tsv"
    )
    assert "zero-shot tracks of mouse are sums of standardised parts, weighted by " in done.output, (
        done.output
    )
    mixture = json.loads(xr.open_zarr(tmp_path / "i.zarr").attrs["provenance"])["zero_shot_mixture"]
    assert list(mixture) == ["a2"]
    shares = mixture["a2"]
    assert list(shares) == [*PARTS]
    for part, share in shares.items():
        assert (f"{share:.2f} ({part})" in done.output.replace("\n", " ")) == (share > 0)
    assert shares["networks without unfamiliar assays"] == 0  # human has all assays of mouse


def test_evaluating_ends_with_the_rows_that_are_odd_counted_and_named(tmp_path):
    values = planted(1, 4, 3)
    values[0] = 1.0  # b0 / a0 is constant
    values[3, 10] = 17.0  # b1 / a0 is clipped
    values[6, 5:9] = np.nan  # b2 / a0 lacks bins
    store = write_store(tmp_path / "s.zarr", values, labels=LABELS)
    (tmp_path / "x.tsv").write_text(
        "species\tbiosample\tassay\n" + "".join(f"mouse\tb{i}\ta0\n" for i in range(3)) + "mouse\tb3\ta1\n"
    )
    (tmp_path / "p.tsv").write_text(
        "species\tbiosample\tassay\n" + "".join(f"mouse\tb{i}\ta0\n" for i in range(3))
    )
    trained = epixs("train", store, "--out", tmp_path / "m", "--model", "avocado", "--hidden", "8", "--epochs", 1, "--exclude", tmp_path / "x.tsv")  # fmt: skip
    assert trained.exit_code == 0, trained.output
    assert epixs("impute", tmp_path / "m", store, "--out", tmp_path / "i.zarr", "--pairs", tmp_path / "p.tsv").exit_code == 0  # fmt: skip
    scored = epixs("evaluate", tmp_path / "i.zarr", store)
    last = last_lines(scored, 1)
    assert last.startswith("note: odd rows, beside or among 3 scored tracks: 1 missing (b3 / a1); ")
    assert "constant (b0 / a0: observed" in last
    assert "1 NaN (b2 / a0: some bins)" in last
    found = json.loads(epixs("evaluate", tmp_path / "i.zarr", store, "--json").stdout)
    assert found["odd_rows"]["missing"] == ["b3 / a1"]
