"""Kind `context` from stores to imputed stores: trained, resumed, saved, imputed over other regions."""

import json

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from epixs.axis.join import joint_axis
from epixs.checks.verify import verify
from epixs.cli.app import app
from epixs.compendium.read import open_compendium
from epixs.evaluation.scores import evaluate
from epixs.exports.run import export
from epixs.genome.assembly import Assembly
from epixs.imputation.write import impute, open_imputed
from epixs.models.context.kind import Context
from epixs.models.folder import new_model, open_model
from epixs.models.kinds import kind_named
from epixs.models.settings import make_settings
from epixs.sampling.intervals import COVERED, HALF_WIDTH
from epixs.training.plan import plan_run
from epixs.training.run import train
from tests.worlds import BINS, planted, write_store

LABELS = [(f"b{b}", f"a{a}") for b in range(5) for a in range(4)]
HIDDEN = ("mouse", "b1", "a2")
SETTINGS = make_settings(
    "context", token=8, heads=2, hidden=(16,), members=2, assay_factors=4, epochs=4, batch_size=1_024, learning_rate=5e-3,
    seed=2
)  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("context")
    here = write_store(folder / "here.zarr", planted(0, 5, 4), labels=LABELS)
    there = planted(0, 5, 4, where=2)
    there = write_store(folder / "there.zarr", there, labels=LABELS, regions=[("chr2", 0, 25 * BINS)])
    return here, there


@pytest.fixture(scope="module")
def trained(stores, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "m"
    axis = joint_axis([stores[0]], [HIDDEN])
    return train(axis, SETTINGS, folder), open_model(folder)


@pytest.fixture(autouse=True, scope="module")
def few_entries():
    """Epochs of 128 steps, and not of a million entries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("epixs.models.context.kind.ENTRIES_PER_EPOCH", 1 << 17)
        yield


def error_of(imputed, store):
    truth = open_compendium(store).signal.to_numpy()[LABELS.index(HIDDEN[1:])]
    return float(np.mean((imputed - truth) ** 2))


def average_of(store):
    signal = open_compendium(store).signal.to_numpy()
    others = [n for n, (b, a) in enumerate(LABELS) if a == HIDDEN[2] and b != HIDDEN[1]]
    return signal[others].mean(axis=0)


def test_a_hidden_track_is_better_imputed_than_by_its_assays_average(stores, trained, tmp_path):
    done, model = trained
    (group,) = [error for error in done["errors"] if not error.assay]
    assert group.model < group.average_activity
    impute(model, stores[0], tmp_path / "i.zarr", pairs=[HIDDEN])
    imputed = open_compendium(tmp_path / "i.zarr").signal.to_numpy()[0]
    assert error_of(imputed, stores[0]) < 0.7 * error_of(average_of(stores[0]), stores[0])


def test_the_spread_is_written_beside_the_signal_and_covers_what_was_hidden(stores, trained, tmp_path):
    out = tmp_path / "spread.zarr"
    impute(trained[1], stores[0], out, pairs=[HIDDEN])
    plain = xr.open_zarr(out)  # without epixs
    signal, spread = plain.signal.to_numpy()[0], plain.spread.to_numpy()[0]
    assert (spread > 0).all()
    trust = json.loads(plain.attrs["provenance"])["trust_in_networks"]
    assert trust == pytest.approx(float(trained[1].model.trust), abs=1e-4)
    truth = open_compendium(stores[0]).signal.to_numpy()[LABELS.index(HIDDEN[1:])]
    error = np.abs(truth - signal)
    assert np.mean(error <= HALF_WIDTH * spread) > COVERED - 0.15  # of one track; of many, docs/accuracy.md
    lazy = open_imputed(trained[1], stores[0], pairs=[("mouse", "b0", "a0"), HIDDEN], everything=True)
    np.testing.assert_array_equal(lazy.spread[-1, 700:1_900].to_numpy(), spread[700:1_900])
    assert verify(out) == []


def test_the_expected_correlation_is_written_and_is_that_of_what_was_hidden(stores, trained, tmp_path):
    out = tmp_path / "expected.zarr"
    table = impute(trained[1], stores[0], out, pairs=[HIDDEN])
    plain = xr.open_zarr(out)  # without epixs
    truth = open_compendium(stores[0]).signal.to_numpy()[LABELS.index(HIDDEN[1:])]
    reached = np.corrcoef(truth, plain.signal.to_numpy()[0])[0, 1]
    assert plain.expected_pearson.to_numpy() == pytest.approx([reached], abs=0.15)
    assert table["expected_pearson"].tolist() == plain.expected_pearson.to_numpy().tolist()
    lazy = open_imputed(trained[1], stores[0], pairs=[("mouse", "b0", "a0"), HIDDEN], everything=True)
    assert lazy.expected_pearson.to_numpy()[-1] == plain.expected_pearson.to_numpy()[0]
    both = xr.concat([xr.open_zarr(stores[0]), plain], "experiment")
    assert np.isfinite(both.expected_pearson.to_numpy()).tolist() == [False] * len(LABELS) + [True]
    scores = evaluate(out, stores[0]).scores
    assert scores["expected_pearson"].to_numpy() == pytest.approx(plain.expected_pearson.to_numpy()[0])
    assert verify(out) == []


def test_a_model_and_what_it_wrote_give_the_same_interval_as_files(stores, trained, tmp_path):
    impute(trained[1], stores[0], tmp_path / "imputed.zarr", pairs=[HIDDEN])
    lazy = open_imputed(trained[1], stores[0], pairs=[HIDDEN])
    options = {"interval": True, "assembly": Assembly("mm10", {"chr1": 25 * BINS})}
    stored = export(tmp_path / "imputed.zarr", bigwig=tmp_path / "stored", **options)
    live = export(lazy, bigwig=tmp_path / "live", **options)
    assert stored["file"].tolist() == live["file"].tolist()
    assert stored["line"].tolist() == ["signal", "lower", "upper"]
    for file in stored["file"]:
        assert (tmp_path / "stored" / file).read_bytes() == (tmp_path / "live" / file).read_bytes()


def test_a_damaged_spread_is_found_and_written_again(stores, trained, tmp_path):
    out = tmp_path / "spread.zarr"
    impute(trained[1], stores[0], out, pairs=[HIDDEN])
    whole = open_compendium(out).load()
    (out / "spread/c/0/0").unlink()
    assert np.isnan(open_compendium(out).spread.to_numpy()).any()  # never zeros
    (fault,) = verify(out, repair=True)
    assert "spread" in fault.what
    impute(trained[1], stores[0], out, pairs=[HIDDEN])
    xr.testing.assert_equal(open_compendium(out).load(), whole)


def test_a_model_that_held_nothing_out_says_nothing_of_its_errors(stores, trained, tmp_path):
    model = new_model(joint_axis([stores[0]], [HIDDEN]), SETTINGS)
    dataset = open_imputed(model, stores[0], pairs=[HIDDEN])
    assert "spread" not in dataset
    assert "expected_pearson" not in dataset
    assert "spread" not in json.loads(dataset.attrs["provenance"])


def test_other_regions_of_the_same_experiments_need_no_further_fit(stores, trained):
    imputed = open_imputed(trained[1], stores[1], pairs=[HIDDEN]).signal.to_numpy()[0]
    assert error_of(imputed, stores[1]) < 0.7 * error_of(average_of(stores[1]), stores[1])


def test_any_stretch_is_imputed_as_in_the_whole(stores, trained):
    lazy = open_imputed(trained[1], stores[0], pairs=[HIDDEN]).signal
    np.testing.assert_allclose(
        lazy[:, 1_234:1_300].to_numpy(), lazy.to_numpy()[:, 1_234:1_300], atol=1 / 1024
    )


@pytest.mark.slow
def test_the_bits_do_not_depend_on_stretches_threads_or_rows(stores, trained, tmp_path, monkeypatch):
    pairs = [HIDDEN, ("mouse", "b1", "a1"), ("mouse", "b4", "a2")]
    impute(trained[1], stores[0], tmp_path / "whole.zarr", pairs=pairs, everything=True)
    whole = open_compendium(tmp_path / "whole.zarr").signal.to_numpy()
    lazy = open_imputed(trained[1], stores[0], pairs=pairs, everything=True).signal
    np.testing.assert_array_equal(lazy[:, 1_234:1_300].to_numpy(), whole[:, 1_234:1_300])
    for threads in (1, 3):
        with monkeypatch.context() as patch:
            patch.setattr("epixs.cluster.client.cores", lambda threads=threads: threads)
            for name in ("CHUNK_BINS", "FEWEST_BINS", "MOST_BINS"):
                patch.setattr(f"epixs.models.context.predict.{name}", 77)
            np.testing.assert_array_equal(lazy[2].to_numpy(), whole[2])
            impute(trained[1], stores[0], tmp_path / f"{threads}.zarr", pairs=pairs, everything=True)
        parts = open_compendium(tmp_path / f"{threads}.zarr").signal.to_numpy()
        np.testing.assert_array_equal(parts, whole)


def test_the_statistics_travel_with_the_model(stores, trained):
    """What the model keeps of the tracks says the same as the stores: it reads them as training did."""
    model = trained[1]
    kept = open_imputed(model, stores[0], pairs=[HIDDEN]).signal.to_numpy()
    values = model.model.statistics.numpy()
    assert values.any()
    try:
        model.model.statistics.assign(np.zeros_like(values))
        anew = open_imputed(model, stores[0], pairs=[HIDDEN]).signal.to_numpy()
    finally:
        model.model.statistics.assign(values)
    np.testing.assert_allclose(kept, anew, atol=1 / 1024)


def test_parameters_are_counted_without_building_the_model(stores, trained):
    axis = joint_axis([stores[0]], [HIDDEN])
    kind = kind_named("context")
    assert kind.build(axis, SETTINGS).count_params() == kind.parameters(axis, SETTINGS)


@pytest.mark.parametrize("members", [3, 8])
def test_members_share_a_step(stores, members):
    axis, kind = joint_axis([stores[0]], [HIDDEN]), kind_named("context")
    settings = make_settings("context", token=8, heads=2, hidden=(16,), members=members)
    assert new_model(axis, settings).members == members
    with kind.sampler(axis, settings, batch_size=4_096) as sampler:
        batch = sampler.batch(0, 0)
    assert batch.value.shape[0] % members == 0
    assert 3_900 < batch.value.size <= 4_096


@pytest.mark.slow
def test_what_is_kept_besides_weights_is_that_of_the_last_epoch(stores, tmp_path, monkeypatch):
    worked_out = []
    work_out = Context.after_epoch

    def after_epoch(kind, model, sampler):
        work_out(kind, model, sampler)
        worked_out.append(model.factors.numpy().copy())

    monkeypatch.setattr(Context, "after_epoch", after_epoch)
    monkeypatch.setattr("epixs.models.context.kind.ENTRIES_PER_EPOCH", 1 << 13)
    train(joint_axis([stores[0]], [HIDDEN]), SETTINGS.replace(epochs=8), tmp_path / "m")
    assert len(worked_out) == 3  # after the first, the sixth and the last epoch
    np.testing.assert_array_equal(worked_out[-1], open_model(tmp_path / "m").model.factors.numpy())


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_bit(stores, trained, tmp_path):
    """Stopped in its third epoch and resumed, it has the weights of the run that was not stopped."""
    axis = joint_axis([stores[0]], [HIDDEN])
    settings = SETTINGS.replace(checkpoint_minutes=0.0)

    class Stop(Exception):
        pass

    def report(now):
        if now.epoch == 3:
            raise Stop

    with pytest.raises(Stop):
        train(axis, settings, tmp_path / "m", report=report)
    assert plan_run(axis, settings, tmp_path / "m", resume=True).state.epoch >= 2
    train(axis, settings, tmp_path / "m", resume=True)
    for one, two in zip(open_model(tmp_path / "m").model.weights, trained[1].model.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


@pytest.mark.slow
def test_by_the_command_line(stores, tmp_path):
    (tmp_path / "pairs.tsv").write_text("species\tbiosample\tassay\n" + "\t".join(HIDDEN) + "\n")
    (tmp_path / "s.toml").write_text(
        '[model]\nkind = "context"\nmembers = 2\ntoken = 8\nhidden = [16]\n\n[training]\nepochs = 1\n'
    )
    model, pairs = str(tmp_path / "m"), str(tmp_path / "pairs.tsv")
    verbs = [
        ["train", str(stores[0]), "--out", model, "--exclude", pairs, "--config", str(tmp_path / "s.toml")],
        ["info", model],
        ["impute", model, str(stores[1]), "--out", str(tmp_path / "i.zarr"), "--pairs", pairs],
    ]
    for arguments in verbs:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        if arguments[0] == "info":
            assert "model (context)" in result.output
    result = CliRunner().invoke(app, ["fit-genome", model, str(stores[1]), "--out", str(tmp_path / "f.zarr")])
    assert result.exit_code == 2
    assert "one of kind context, which has no factors per position" in result.output


def test_epochs_grow_with_tracks_but_not_for_zero_shot(stores, tmp_path):
    kind, settings = kind_named("context"), make_settings("context")

    def epochs(tracks, excluded=()):
        labels = [(f"b{n // 10}", f"a{n % 10}") for n in range(tracks)]
        store = write_store(tmp_path / f"{tracks}.zarr", np.ones((tracks, 8)), labels=labels, species="many")
        axis = joint_axis([store, stores[0]] if excluded else [store], excluded)
        return kind.schedule(axis, settings).epochs

    assert [epochs(tracks) for tracks in (15, 30, 45, 80)] == [16, 16, 24, 28]
    assert epochs(90, [("many", f"b{n}", "a2") for n in range(9)]) == 16
