import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from epixs.errors import ConfigError
from epixs.evaluation.comparison import tables
from epixs.evaluation.ladder import LADDER
from epixs.evaluation.significance import bootstrap_interval, holm
from epixs.evaluation.species import species_differences

EXPERIMENTS = [(f"b{b}", f"m{a}", ("histone", "accessibility")[a % 2]) for b in range(6) for a in range(4)]


def rows(training_set, scores, *, model="avocado", method=None, seed="0", fold="1", role="excluded", **other):
    head = {"training_set": training_set, "model": model, "seed": seed, "fold": fold, "role": role}
    return [
        head
        | {
            "method": method or model,
            "species": "mouse",
            "biosample": b,
            "assay": a,
            "class": c,
            "mse": value,
        }
        | other
        for (b, a, c), value in zip(EXPERIMENTS, scores, strict=False)
    ]


def baseline(training_set, name, scores, **other):
    return rows(training_set, scores, model="-", method=name, seed="-", **other)


@pytest.fixture
def noise():
    rng = np.random.default_rng(0)
    return lambda mean: (mean * rng.lognormal(0, 0.1, len(EXPERIMENTS))).tolist()


@pytest.fixture
def scores(noise):
    average = noise(0.4)
    return pd.DataFrame(
        [
            *baseline("mouse", "average activity", average),
            *baseline("joint", "average activity", average),
            *rows("mouse", noise(0.3)), *rows("mouse", noise(0.3), seed="1"),
            *rows("joint", noise(0.2)), *rows("joint", noise(0.2), seed="1"),
        ]
    )  # fmt: skip


def test_a_difference_between_models_that_are_worse_than_average_activity_says_little(noise):
    worse = [
        (2.0 if a == "m1" else 0.5) * value for value, (_, a, _) in zip(noise(0.3), EXPERIMENTS, strict=True)
    ]
    for average, is_noted in ((0.1, True), (0.9, False)):
        table = pd.DataFrame(
            [
                *baseline("mouse", "average activity", noise(average)),
                *rows("mouse", noise(0.3)), *rows("joint", worse),
            ]
        )  # fmt: skip
        found = tables(table, draws=50)
        assert any("m1 seems to differ between the species by these fits" in note for note in found.notes)
        assert any("worse than average activity on m1" in note for note in found.notes) == is_noted


def test_intervals_of_two_biosamples_draw_experiments_and_say_so(scores):
    few = scores[scores["biosample"].isin(["b0", "b1"])]
    found = tables(few, draws=200)
    assert any("table 1 is of fewer than 3 biosamples" in note for note in found.notes)
    by_experiment = tables(few, draws=200, cluster="experiment")
    assert only(found.imputation, "joint")["low"] == only(by_experiment.imputation, "joint")["low"] > 0
    assert not any("fewer than" in note for note in by_experiment.notes)


def test_without_a_model_of_one_species_all_are_compared_with_the_best_fair_baseline(noise):
    head, best = {"role": "zero-shot"}, noise(0.2)
    table = pd.DataFrame(
        [
            *baseline("part", "assay regression", noise(0.3), **head),
            *baseline("all", "assay regression", noise(0.31), **head),
            *baseline("part", "biosample mean", best, **head), *baseline("all", "biosample mean", best, **head),
            *rows("part", noise(0.1), **head), *rows("all", noise(0.1), **head),
        ]
    )  # fmt: skip
    table.attrs["plan"] = {
        "config": {"training_sets": {name: {"others": ["human.zarr"]} for name in ("part", "all")}},
        "fits": [],
    }
    found = tables(table, draws=50)
    assert {only(found.zero_shot, name)["against"] for name in ("part", "all")} == {"biosample mean"}
    found = tables(table, draws=50, baseline="assay regression (part)")
    assert {only(found.zero_shot, name)["against"] for name in ("part", "all")} == {"assay regression (part)"}


def only(table, training_set, group="overall"):
    (row,) = table.query("model != '-' and training_set == @training_set and group == @group").to_dict(
        "records"
    )
    return row


def test_a_row_is_the_mean_over_seeds_and_experiments_and_its_test_is_scipys(scores):
    table = tables(scores, draws=300).imputation
    assert table.query("group == 'overall'")["method"].tolist() == ["average activity", "avocado", "avocado"]
    wide = scores[scores["model"] != "-"].pivot_table(
        index=["biosample", "assay", "class"], columns="training_set", values="mse"
    )
    joint = only(table, "joint")
    assert joint["mean"] == pytest.approx(wide["joint"].mean())
    assert (joint["against"], joint["pairs"], joint["experiments"]) == ("mouse, avocado", 24, 24)
    assert joint["p"] == stats.wilcoxon(wide["joint"], wide["mouse"]).pvalue
    assert joint["difference"] == pytest.approx((wide["joint"] - wide["mouse"]).mean())
    assert joint["effect"] == -1.0
    clusters = list(wide.index.get_level_values("biosample"))
    expected = bootstrap_interval(wide["joint"], clusters=clusters, draws=300)
    assert (joint["low"], joint["high"]) == pytest.approx((expected.low, expected.high))
    histone = wide.query("`class` == 'histone'")
    assert only(table, "joint", "histone")["mean"] == pytest.approx(histone["joint"].mean())
    for family in (table["model"] == "-", table["model"] != "-"):
        part = table[family]
        assert part["p_corrected"].tolist() == pytest.approx(holm(part["p"]).tolist(), nan_ok=True)
    single = only(table, "mouse")
    assert single["against"] == ""
    assert np.isnan(single["p"])


def test_the_mean_by_assay_weighs_assays_the_same_and_tests_their_means(scores):
    few = scores[~((scores["assay"] == "m0") & (scores["biosample"] > "b1"))]
    row = only(tables(few, draws=50).imputation, "joint", "by assay")
    wide = few[few["model"] != "-"].pivot_table(index=["assay"], columns="training_set", values="mse")
    assert row["mean"] == pytest.approx(wide["joint"].mean())
    assert row["pairs"] == 4
    assert row["p"] == stats.wilcoxon(wide["joint"], wide["mouse"]).pvalue


def test_a_baseline_stands_once_unless_training_sets_give_different_ones(scores, noise):
    extra = [*baseline("mouse", "constant", noise(0.5)), *baseline("joint", "constant", noise(0.5))]
    found = tables(pd.concat([scores, pd.DataFrame(extra)]), draws=50).imputation
    names = found.query("group == 'overall' and model == '-'")[["training_set", "method"]].to_numpy().tolist()
    assert names == [["mouse", "constant"], ["joint", "constant"], ["-", "average activity"]]


def test_all_methods_are_averaged_over_the_same_experiments_and_those_left_out_are_counted(scores):
    lacking = scores.copy()
    lacking.loc[(lacking["training_set"] == "joint") & (lacking["assay"] == "m3"), "mse"] = np.nan
    found = tables(lacking, draws=50)
    assert set(found.imputation.query("group == 'overall'")["experiments"]) == {18}
    assert "6 of 24 experiments are left out, where there is no score of joint, avocado" in found.notes[0]


def test_zero_shot_experiments_have_their_own_table_and_baselines_are_marked(scores, noise):
    zero = [
        *baseline("joint", "assay regression", noise(0.3), role="zero-shot"),
        *baseline("joint", "average activity (unfair)", noise(0.1), role="zero-shot"),
        *rows("joint", noise(0.2), role="zero-shot"),
    ]
    table = pd.DataFrame(zero).assign(assay="new " + pd.DataFrame(zero)["assay"])
    for one in (pd.concat([scores, table]), pd.concat([scores, table]).drop(columns="role")):
        found = tables(one, draws=50)
        second = found.zero_shot.query("group == 'overall'").set_index("method")
        marks = {"assay regression": "yes", "average activity (unfair)": "no", "avocado": "yes"}
        assert second["zero_shot_user"].to_dict() == marks
        assert second["against"].to_dict()["avocado"] == "assay regression"  # mouse alone knows nothing of it
        assert len(found.imputation.query("group == 'overall'")) == 3
    known = {baseline.name for baseline in LADDER}
    assert set(marks) - {"avocado"} <= known


def test_another_baseline_can_be_asked_for(scores):
    found = tables(scores, baseline="average activity", draws=50).imputation
    assert only(found, "joint")["against"] == "average activity"
    assert only(found, "mouse")["effect"] < 0
    with pytest.raises(ConfigError, match="baseline; got 'averag' .did you mean"):
        tables(scores, baseline="averag")


def test_what_cannot_be_compared_is_said(scores):
    seeds = scores[~((scores["training_set"] == "joint") & (scores["seed"] == "1"))]
    assert "1 of 4 fits have no scores: joint, avocado, seed 1, fold 1" in tables(seeds, draws=50).notes[0]
    units = scores.assign(same_units=scores["assay"] != "m0")
    found = tables(units, draws=50)
    assert only(found.imputation, "joint")["experiments"] == 18
    assert "6 experiments were observed in other units" in found.notes[0]
    ranked = tables(units.assign(spearman=1 - units["mse"]), metric="spearman", draws=50)
    assert only(ranked.imputation, "joint")["experiments"] == 24
    strange = scores.assign(same_units=False, spearman=1 - scores["mse"])
    by_rank = tables(strange, draws=50)
    assert by_rank.metric == "spearman"
    assert "all experiments were observed in other units" in by_rank.notes[0]
    assert by_rank.imputation.equals(tables(strange, metric="spearman", draws=50).imputation)
    with pytest.raises(ConfigError, match="no score is left"):
        tables(strange, metric="mse")
    trained = scores.assign(role=np.where(scores["assay"] == "m1", "training", "excluded"))
    assert "6 experiments that were trained on are in no table" in tables(trained, draws=50).notes
    with pytest.raises(ConfigError, match="a row twice; got b0 / m0 by average activity"):
        tables(pd.concat([scores, scores]))
    with pytest.raises(ConfigError, match=r"metric; got 'mes' .did you mean 'mse'"):
        tables(scores, metric="mes")
    with pytest.raises(ConfigError, match="column mse of the scores; got 'much'; expected numbers"):
        tables(scores.astype({"mse": object}).replace({"mse": {scores["mse"].iloc[0]: "much"}}))
    with pytest.raises(ConfigError, match="no score is left"):
        tables(scores.assign(role="training"))


def test_biosamples_are_taken_by_how_much_of_them_was_trained_on(scores):
    tracks = scores["biosample"].str[1:].astype(int)
    found = tables(scores.assign(biosample_tracks=tracks), draws=50).characterised
    assert found.query("training_set == 'joint'")["group"].tolist() == ["0", "1", "2 to 3", "4 to 7"]
    expected = scores[(tracks.isin([2, 3])) & (scores["training_set"] == "joint") & (scores["model"] != "-")]
    assert only(found, "joint", "2 to 3")["mean"] == pytest.approx(expected["mse"].mean())
    assert tables(scores, draws=50).characterised.empty  # nobody says how many


def test_a_run_is_read_from_its_folder_and_its_plan_says_which_training_set_is_of_one_species(
    scores, tmp_path
):
    scores.iloc[::-1].to_csv(tmp_path / "scores.tsv", sep="\t", index=False, na_rep="NA")
    assert only(tables(tmp_path, draws=50).imputation, "mouse")["against"] == "joint, avocado"  # the first
    sets = {"joint": {"others": ["h.zarr"]}, "mouse": {"others": []}}
    fits = [
        {"training_set": name, "model": "avocado", "seed": seed, "fold": "1"}
        for name in sets
        for seed in (0, 1)
    ]
    plan = {"config": {"training_sets": sets}, "fits": fits}
    (tmp_path / "crossvalidation.json").write_text(json.dumps(plan))
    found = tables(tmp_path, draws=50)
    assert only(found.imputation, "joint")["against"] == "mouse, avocado"
    assert only(found.imputation, "joint")["mean"] == pytest.approx(
        only(tables(scores, draws=50).imputation, "joint")["mean"], rel=1e-15
    )
    first = scores["seed"].isin(["-", "0"])
    scores[first].to_csv(tmp_path / "scores.tsv", sep="\t", index=False, na_rep="NA")
    assert "2 of 4 fits have no scores" in tables(tmp_path, draws=50).notes[0]
    plan["fits"] = [fit for fit in fits if fit["seed"] == 0]
    (tmp_path / "crossvalidation.json").write_text(json.dumps(plan))
    assert not any("no scores" in note for note in tables(tmp_path, draws=50).notes)
    (tmp_path / "crossvalidation.json").write_text("{")
    with pytest.raises(ConfigError, match=r"crossvalidation\.json is damaged; got JSONDecodeError"):
        tables(tmp_path)
    (tmp_path / "crossvalidation.json").write_text(
        json.dumps({"config": {"training_sets": {"joint": []}}, "fits": []})
    )
    with pytest.raises(
        ConfigError, match=r"damaged: config\.training_sets\[\.\.\.\]; got array; expected object"
    ):
        tables(tmp_path)


def test_one_evaluation_is_a_run_too(scores):
    one = scores[scores["training_set"] == "joint"].query("seed != '1'")
    table = one.drop(columns=["training_set", "model", "seed", "fold", "species"])
    table = table.rename(columns={"class": "assay_class"}).replace({"method": {"avocado": "imputed"}})
    found = tables(table, draws=50)
    overall = found.imputation.query("group == 'overall'").set_index("method")
    assert overall["against"].to_dict() == {"average activity": "imputed", "imputed": ""}
    assert overall.loc["average activity", "effect"] == 1.0
    assert found.assays.empty


def test_an_assay_on_which_joint_training_harms_is_named_and_no_other(scores):
    is_planted = (scores["assay"] == "m2") & (scores["training_set"] == "joint") & (scores["model"] != "-")
    differs = scores.assign(mse=scores["mse"] * np.where(is_planted, 2.0, 1.0))
    found = species_differences(differs, draws=50)
    assert found.loc[found["differs"], "assay"].tolist() == ["m2"]
    mine = found.set_index("assay").loc["m2"]
    wide = differs[differs["model"] != "-"].pivot_table(
        index=["assay", "biosample"], columns="training_set", values="mse"
    )
    change = np.log(wide["joint"] / wide["mouse"])
    test = stats.mannwhitneyu(change["m2"], change.drop("m2"), alternative="greater")
    assert mine["p"] == test.pvalue
    assert mine["p_corrected"] == pytest.approx(4 * test.pvalue)
    assert mine["change"] == pytest.approx(np.expm1(change["m2"].mean()))
    assert "joint, avocado beside mouse, avocado: m2 seems to differ" in tables(differs, draws=50).notes[-1]
    assert not species_differences(scores, draws=50)["differs"].any()
    ranked = differs.assign(spearman=1 - differs["mse"]).drop(columns="mse")
    by_rank = species_differences(ranked, metric="spearman", draws=50)
    assert by_rank.loc[by_rank["differs"], "assay"].tolist() == ["m2"]


def test_assays_with_too_few_experiments_are_said_to_be_unable_to_stand_out(scores):
    few = scores[(scores["assay"] != "m0") | (scores["biosample"] == "b0")]
    assert "1 of 4 assays have too few experiments ever to stand out: m0" in tables(few, draws=50).notes[-1]
    with pytest.raises(ConfigError, match=r"single; got 'mous' .did you mean 'mouse'"):
        species_differences(scores, single="mous")


def test_an_experiment_that_is_zero_shot_to_some_models_only_is_in_no_table(noise):
    joint = pd.DataFrame(rows("joint", noise(0.2)))
    joint.loc[:2, "role"] = "zero-shot"
    both = pd.concat([pd.DataFrame(rows("mouse", noise(0.3))), joint], ignore_index=True)
    for table in (both, both[::-1]):
        made = tables(table)
        assert "3 experiments are in no table" in " ".join(made.notes)
        assert only(made.imputation, "mouse")["experiments"] == len(EXPERIMENTS) - 3
        assert made.zero_shot.empty


def test_experiments_that_chose_when_training_stopped_are_noted(scores):
    scores.loc[scores["biosample"] == "b0", "role"] = "held out"
    assert "4 experiments are held out" in " ".join(tables(scores).notes)


def test_a_metric_that_nothing_has_is_refused_and_a_method_without_it_named(scores):
    scores["pearson"] = np.nan
    with pytest.raises(ConfigError, match="no experiment has a pearson"):
        tables(scores, metric="pearson")
    scores.loc[scores["model"] != "-", "pearson"] = 0.5
    assert "no pearson on any experiment, and in no table: average activity" in " ".join(
        tables(scores, metric="pearson").notes
    )


def test_skill_is_not_averaged_over_other_units(scores):
    scores["skill"], scores["same_units"] = 0.5, scores["biosample"] != "b0"
    scores.loc[scores["biosample"] == "b0", "skill"] = -200.0
    made = tables(scores, metric="skill")
    assert only(made.imputation, "mouse")["mean"] == 0.5
    assert "4 experiments were observed in other units" in " ".join(made.notes)
