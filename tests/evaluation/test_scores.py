import numpy as np
import pandas as pd
import pytest

from epixs.compendium.read import open_compendium, provenance_of
from epixs.errors import AxisError
from epixs.evaluation.ladder import LADDER
from epixs.evaluation.metrics import METRICS
from epixs.evaluation.scores import evaluate
from epixs.evaluation.table import (
    AVERAGE,
    IMPUTED,
    UNFAIR,
    ZERO_SHOT,
    Evaluation,
    method_means,
    missing_correlations,
    partly_scored,
)
from epixs.imputation.write import impute, open_imputed


@pytest.fixture(scope="module")
def imputed(world, trained, held_out):
    path = world.folder / "held.imputed.zarr"
    impute(trained, world.store("mouse"), path, pairs=held_out)
    return path


@pytest.fixture(scope="module")
def evaluation(world, imputed):
    return evaluate(imputed, world.store("mouse"))


def test_scores_are_those_of_the_stored_tracks(world, imputed, evaluation, held_out):
    predicted, observed = open_compendium(imputed), open_compendium(world.store("mouse"))
    _, biosample, assay = held_out[-1]
    mine = evaluation.scores.query("biosample == @biosample and assay == @assay").set_index("method")
    assert set(mine["role"]) == {"excluded"}

    def row(dataset, b, a):
        at = (dataset.biosample.to_numpy() == b) & (dataset.assay.to_numpy() == a)
        return dataset.signal.to_numpy()[at][0].astype(float)

    truth = row(observed, biosample, assay)
    guess = row(predicted, biosample, assay)
    assert mine.loc[IMPUTED, "mse"] == pytest.approx(((truth - guess) ** 2).mean(), rel=1e-5)
    assert mine.loc[IMPUTED, "pearson"] == pytest.approx(np.corrcoef(truth, guess)[0, 1], rel=1e-5)
    trained = [
        row(observed, b, a)
        for b, a in provenance_of(predicted)["training"]["mouse"]["experiments"]
        if a == assay
    ]
    average = np.mean(trained, axis=0)
    assert mine.loc[AVERAGE, "mse"] == pytest.approx(((truth - average) ** 2).mean(), rel=1e-4)


def test_zero_shot_assays_get_the_baselines_a_zero_shot_user_has(evaluation):
    zero = evaluation.scores[evaluation.scores["role"] == "zero-shot"]
    assert set(zero["assay"]) == {"ChIP-seq_EP300_signal_p-value"}
    methods = set(zero["method"])
    assert {IMPUTED, *ZERO_SHOT} <= methods
    assert AVERAGE not in methods  # no mouse experiment of it was trained on
    if len(set(zero["biosample"])) > 1:
        assert UNFAIR in methods


def test_a_training_track_is_scored_against_the_average_of_the_others(world, trained, tmp_path):
    part = trained.axis.part("mouse")
    counts = part.training["assay"].value_counts()
    assay = min(counts.index[counts == counts.max()])
    biosample = part.training.loc[part.training["assay"] == assay, "biosample"].iloc[0]
    impute(trained, world.store("mouse"), tmp_path / "i.zarr", pairs=[("mouse", biosample, assay)])
    scores = evaluate(tmp_path / "i.zarr", world.store("mouse")).scores
    assert set(scores["role"]) == {"training"}
    assert scores.loc[scores["method"] == AVERAGE, "mse"].iloc[0] > 0


def test_summary_is_the_mean_over_experiments(evaluation):
    summary = evaluation.summary()
    overall = summary[(summary["role"] == "zero-shot") & (summary["assay_class"] == "overall")].set_index(
        "method"
    )
    zero = evaluation.scores[evaluation.scores["role"] == "zero-shot"]
    shared = zero.pivot_table(index=["assay", "biosample"], columns="method", values="mse").dropna()
    expected = shared[IMPUTED].mean()
    assert overall.loc[IMPUTED, "mse"] == pytest.approx(expected)
    assert overall.loc[IMPUTED, "experiments"] == len(set(zero["biosample"]))


def row(biosample, method, **values):
    names = {"role": "excluded", "assay_class": "histone", "assay": "m1", "biosample": biosample}
    return names | {"method": method, "bins": 9} | dict.fromkeys(METRICS, 1.0) | values


def test_means_of_all_methods_are_over_the_same_tracks():
    rows = [
        row("A", IMPUTED, pearson=0.1), row("A", AVERAGE, pearson=0.2),
        row("B", IMPUTED, pearson=np.nan), row("B", AVERAGE, pearson=0.9),
    ]  # fmt: skip
    summary = Evaluation(pd.DataFrame(rows), []).summary()
    overall = summary[summary["assay_class"] == "overall"].set_index("method")
    assert overall["pearson"].to_dict() == {IMPUTED: 0.1, AVERAGE: 0.2}
    assert overall["correlated"].tolist() == [1, 1]
    assert overall["scored"].tolist() == [2, 2]


def test_a_method_that_no_other_track_has_leaves_the_others_their_tracks():
    rows = [row("A", IMPUTED, mse=0.1), row("B", IMPUTED, mse=0.3), row("A", AVERAGE, mse=0.5)]
    means = {entry["method"]: entry for entry in method_means(pd.DataFrame(rows))}
    assert (means[IMPUTED]["mse"], means[IMPUTED]["scored"]) == (0.1, 1)
    rows += [row("B", "nearest assay", mse=0.7)]
    means = {entry["method"]: entry for entry in method_means(pd.DataFrame(rows))}
    assert (means[IMPUTED]["mse"], means[AVERAGE]["mse"]) == (0.1, 0.5)
    assert means["nearest assay"]["scored"] == 0
    assert np.isnan(means["nearest assay"]["mse"])


def test_tracks_that_are_scored_on_few_bins_are_named():
    rows = [row("A", IMPUTED, bins=30, observed_bins=3000), row("B", IMPUTED, bins=99, observed_bins=100)]
    (note,) = partly_scored(pd.DataFrame(rows))
    assert note.startswith("WARNING: 1 of 2 tracks are scored on fewer bins than were observed")
    assert "as few as 1.0% (A / m1)" in note
    assert partly_scored(pd.DataFrame(rows[1:])) == []


def test_tracks_without_a_correlation_are_named():
    rows = [row("A", IMPUTED), row("A", AVERAGE), row("B", IMPUTED, pearson=np.nan), row("B", AVERAGE)]
    (note,) = missing_correlations(pd.DataFrame(rows))
    assert note.startswith("no correlation on 1 of 2 excluded tracks")
    assert note.endswith("B / m1 (imputed)")
    assert missing_correlations(pd.DataFrame(rows[:2])) == []


def test_on_how_many_tracks_imputed_is_better_than_average_activity():
    rows = [
        ("excluded", "A", "x", IMPUTED, 0.1), ("excluded", "A", "x", AVERAGE, 0.2),
        ("excluded", "A", "y", IMPUTED, 0.3), ("excluded", "A", "y", AVERAGE, 0.2),
        ("excluded", "B", "x", IMPUTED, 0.3), ("excluded", "B", "x", AVERAGE, 0.3),
        ("excluded", "B", "y", IMPUTED, 0.1),  # no other biosample has B
        ("zero-shot", "C", "x", IMPUTED, 0.1), ("zero-shot", "C", "x", UNFAIR, 0.3),
        ("training", "A", "z", IMPUTED, 0.1), ("training", "A", "z", AVERAGE, 0.3),
    ]  # fmt: skip
    scores = pd.DataFrame(rows, columns=["role", "assay", "biosample", "method", "mse"])
    assert Evaluation(scores, []).better_than(UNFAIR) == {"zero-shot": (1, 1)}
    assert Evaluation(scores, []).better_than() == {"excluded": (1, 3), "training": (1, 1)}
    assert Evaluation(scores[scores["method"] == IMPUTED], []).better_than() == {}


def test_imputed_is_beside_the_best_fair_baseline(evaluation):
    found = evaluation.beside_the_best()
    means = evaluation.summary()
    means = means[(means["assay_class"] == "overall") & (means["role"] == "zero-shot")]
    pearson = means.set_index("method")["pearson"]
    fair = pearson[["biosample mean", "nearest assay", "assay regression"]]
    assert found["zero-shot"] == (pearson[IMPUTED], fair.idxmax(), fair.max())
    alone = Evaluation(pd.DataFrame([row("A", IMPUTED, mse=0.1, pearson=0.2)]), [])
    assert alone.beside_the_best()["excluded"][:2] == (0.2, "")


def test_tracks_in_other_units_are_compared_by_rank_alone():
    rows = [
        row("A", IMPUTED, mse=0.1, spearman=0.2, same_units=False),
        row("A", AVERAGE, mse=0.5, spearman=0.9, same_units=False),
        row("B", IMPUTED, mse=0.1, spearman=0.8, same_units=True),
        row("B", AVERAGE, mse=0.5, spearman=0.3, same_units=True),
    ]
    evaluation = Evaluation(pd.DataFrame(rows), [])
    assert evaluation.better_than(AVERAGE) == {"excluded": (1, 1)}
    assert evaluation.better_than(AVERAGE, "spearman") == {"excluded": (1, 2)}
    other = Evaluation(pd.DataFrame(rows[:2]), [])
    assert other.better_than(AVERAGE) == {}
    assert other.better_than(AVERAGE, "spearman") == {"excluded": (0, 1)}


def test_a_moved_store_leaves_its_baselines_out_and_says_so(world, imputed, monkeypatch, evaluation):
    moved = world.store("human").rename(world.folder / "moved.zarr")
    try:
        scores = evaluate(imputed, world.store("mouse"))
        assert "assay regression" not in set(scores.scores["method"])
        assert "learn from human are left out" in scores.notes[0]
        again = evaluate(imputed, world.store("mouse"), others=[moved])
        assert again.notes == []
        assert len(again.scores) == len(evaluation.scores)
    finally:
        moved.rename(world.store("human"))


def test_stores_must_fit(world, imputed, trained, tmp_path):
    with pytest.raises(AxisError, match="is imputed; expected an observed"):
        evaluate(imputed, imputed)
    with pytest.raises(AxisError, match="is observed; expected an imputed"):
        evaluate(world.store("mouse"), world.store("mouse"))
    with pytest.raises(AxisError, match="differ in species; got mouse; expected human"):
        evaluate(imputed, world.store("human"))
    never = [p for p in trained.axis.missing_pairs("mouse") if "H3K9me3" in p[2]]
    impute(trained, world.store("mouse"), tmp_path / "never.zarr", pairs=never)
    with pytest.raises(AxisError, match=r"share no experiment.*--exclude"):
        evaluate(tmp_path / "never.zarr", world.store("mouse"))


def test_the_constant_baseline_is_not_named_for_having_no_correlation():
    rows = [row("A", IMPUTED), row("A", "constant", pearson=np.nan)]
    assert missing_correlations(pd.DataFrame(rows)) == []


def test_a_lazy_imputation_is_scored_as_the_store_that_it_would_be(
    world, trained, imputed, evaluation, held_out
):
    lazy = open_imputed(trained, world.store("mouse"), pairs=held_out)
    again = evaluate(lazy, open_compendium(world.store("mouse")))
    pd.testing.assert_frame_equal(again.scores, evaluation.scores, rtol=1e-3)


def test_a_dataset_that_is_no_compendium_is_refused(world, imputed):
    with pytest.raises(AxisError, match="no kind, species"):
        evaluate(imputed, open_compendium(world.store("mouse")).drop_attrs())
    with pytest.raises(AxisError, match="no status"):
        evaluate(imputed, open_compendium(world.store("mouse")).drop_vars("status"))


def test_the_challenge_mode_has_its_own_columns_and_the_ladder_can_be_asked_for(world, imputed):
    found = evaluate(imputed, world.store("mouse"), mode="challenge", baselines=LADDER)
    assert {"gwcorr", "gwspear", "mse1obs"} <= set(found.scores.columns)
    assert "pearson" not in found.scores.columns
    zero = found.scores[found.scores["role"] == "zero-shot"]
    assert {"constant", "nearest assay"} <= set(zero["method"])
    assert found.better_than(AVERAGE, "gwspear")


def test_skill_is_the_share_of_the_error_of_average_activity_that_is_gone(evaluation):
    rows = evaluation.scores[evaluation.scores["role"] == "excluded"].set_index("method")
    expected = 1 - rows.loc[IMPUTED, "mse"] / rows.loc[AVERAGE, "mse"]
    assert rows.loc[IMPUTED, "skill"] == pytest.approx(expected)
    assert rows.loc[AVERAGE, "skill"] == 0


def test_noise_in_the_place_of_scored_tracks_reaches_no_baseline(world, imputed, held_out):
    """The variance of each prediction's error would show it: a baseline that saw noise would go along with it."""
    observed = open_compendium(world.store("mouse")).load()
    hidden = {(biosample, assay) for _, biosample, assay in held_out}
    labels = zip(observed.biosample.to_numpy(), observed.assay.to_numpy(), strict=True)
    at = np.array([label in hidden for label in labels])
    noise = np.random.default_rng(0).random((int(at.sum()), observed.sizes["bin"]))
    observed["signal"] = observed.signal.copy(data=observed.signal.to_numpy().copy())
    observed.signal.to_numpy()[at] = noise
    scores = evaluate(imputed, observed).scores
    fair = scores[scores["method"] != UNFAIR]
    assert len(fair) > 4
    assert fair["pearson"].abs().max() < 0.1  # bins of noise go with nothing


def test_peaks_of_experiments_that_are_not_scored_are_named(world, imputed, held_out, tmp_path):
    (tmp_path / "a.bed").write_text("chr1\t0\t1000000\n")
    (_, biosample, assay), rows = held_out[-1], ["biosample\tassay\tpath"]
    for name in (assay, "H3K4me9"):
        rows.append(f"{biosample}\t{name}\ta.bed")
    (tmp_path / "peaks.tsv").write_text("\n".join(rows) + "\n")
    found = evaluate(imputed, world.store("mouse"), peaks=tmp_path / "peaks.tsv")
    named = f"the peaks of 1 of 2 experiments are not used, since no such experiment is scored: {biosample} / H3K4me9"
    assert any(named in note for note in found.notes)


def test_a_selection_without_training_tracks_is_noted(world, imputed):
    observed = open_compendium(world.store("mouse"))
    chosen = observed.isel(experiment=(observed.biosample != observed.biosample[0]).to_numpy())
    notes = evaluate(imputed, chosen).notes
    (note,) = [note for note in notes if "training experiments are not among the observed ones" in note]
    assert note.startswith("WARNING")
    assert str(observed.biosample.to_numpy()[0]) in note


def test_what_is_left_out_and_which_files_were_used_is_noted(world, imputed, tmp_path):
    chrom = str(open_compendium(imputed)["region_chrom"].to_numpy()[0])
    start = int(open_compendium(imputed)["region_start"].to_numpy()[0])
    (tmp_path / "black.bed").write_text(f"{chrom}\t{start + 10}\t{start + 60}\n")
    found = evaluate(imputed, world.store("mouse"), blacklist=tmp_path / "black.bed", baselines="all")
    assert any(note.startswith("3 of ") and "touch the blacklist" in note for note in found.notes)
    assert found.annotations == {"blacklist": str(tmp_path / "black.bed")}
    assert {baseline.name for baseline in LADDER} - {"carried-over average"} <= set(found.scores["method"])


def test_a_track_where_imputed_has_no_value_is_one_of_the_experiments():
    rows = [("b1", IMPUTED, 1.0), ("b1", AVERAGE, 2.0), ("b2", AVERAGE, 3.0)]
    head = {"assay": "a", "assay_class": "histone", "role": "excluded", "pearson": 0.5}
    scores = pd.DataFrame([head | {"biosample": b, "method": m, "mse": e} for b, m, e in rows])
    summary = Evaluation(scores, []).summary().set_index(["assay_class", "method"])
    assert summary.loc[("overall", IMPUTED), ["experiments", "scored"]].tolist() == [2, 1]


def test_tracks_of_two_species_with_the_same_names_are_not_one():
    head = {"role": "excluded", "assay_class": "histone", "assay": "a", "biosample": "b"}
    scores = pd.DataFrame(
        [
            head | {"species": species, "method": method, "mse": mse, "pearson": 0.5}
            for species, mse in (("human", 0.1), ("mouse", 0.5))
            for method, mse in (("imputed", mse), ("average activity", 0.3))
        ]
    )
    evaluation = Evaluation(scores, [])
    assert evaluation.better_than() == {"excluded": (1, 2)}
    overall = evaluation.summary().query("method == 'imputed' and assay_class == 'overall'").iloc[0]
    assert overall["scored"] == overall["experiments"] == 2
