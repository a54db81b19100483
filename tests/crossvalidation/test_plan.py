"""Which fits a configuration asks for, decided before anything is trained."""

import pandas as pd
import pytest

from epixs.axis.join import joint_axis
from epixs.crossvalidation.plan import outside_core, plan_crossvalidation
from epixs.errors import AxisError, ConfigError, RegionError, TrainingError
from tests.crossvalidation.worlds import ALONE, AVOCADO, JOINT, write_config, write_stores
from tests.worlds import planted, write_store


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return write_stores(tmp_path_factory.mktemp("plan"))


def test_folds_x_training_sets_x_models_x_seeds(stores):
    other = AVOCADO.replace('"paper"', '"wide"').replace("[8, 8]", "[16, 16]")
    plan = plan_crossvalidation(write_config(stores, ALONE, JOINT, AVOCADO, other, run="seeds = [0, 7]"))
    found = [(fit.training_set, fit.fold.name, fit.model, fit.seed) for fit in plan.fits]
    assert found == [
        (one, fold, model, seed)
        for one in ("mouse only", "mouse + human")
        for fold in ("1", "2")
        for model in ("paper", "wide")
        for seed in (0, 7)
    ]
    assert [fit.number for fit in plan.fits] == list(range(16))
    assert [fit.number for fit in plan.fits if fit.has_baselines] == [0, 4, 8, 12]
    assert len({fit.fingerprint for fit in plan.fits}) == 16
    for fit in plan.fits:
        assert set(fit.pairs) == set(fit.fold.pairs)
        assert set(fit.exclude) == set(fit.fold.pairs)
        trained = {
            ("mouse", b, a) for b, a in fit.axis().parts[0].training[["biosample", "assay"]].to_numpy()
        }
        assert not trained & set(fit.pairs)
        assert fit.settings.training.seed == fit.seed


def test_an_assay_held_out_whole_needs_another_species(stores):
    plan = plan_crossvalidation(write_config(stores, ALONE, JOINT, AVOCADO, split='by = "assay"'))
    assert {fit.training_set for fit in plan.fits} == {"mouse + human"}
    assert {name for name, _, _ in plan.not_imputed} == {"mouse only"}
    assert len(plan.not_imputed) == 16
    with pytest.raises(ConfigError, match=r"nothing can be imputed.*others = "):
        plan_crossvalidation(write_config(stores, ALONE, AVOCADO, split='by = "assay"'))


def test_memory_is_checked_before_anything_begins(stores):
    with pytest.raises(TrainingError, match="model paper on mouse only: training would need more memory"):
        plan_crossvalidation(write_config(stores, ALONE, AVOCADO + "memory_gb = 0.1\n"))


def test_what_decides_the_scores_is_in_the_fingerprint(stores):
    first = plan_crossvalidation(write_config(stores, ALONE, AVOCADO)).fits[0]
    again = plan_crossvalidation(write_config(stores, ALONE, AVOCADO, run='keep = "all"')).fits[0]
    other = plan_crossvalidation(write_config(stores, ALONE, AVOCADO.replace("2\n", "3\n", 1))).fits[0]
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_the_core_is_dense_and_as_large_as_can_be(stores):
    part = joint_axis(stores / "human.zarr").parts[0]
    labels = [("b0", "a0"), ("b0", "a1"), ("b1", "a0"), ("b1", "a1"), ("b2", "a1"), ("b0", "a3")]
    table = pd.DataFrame(labels, columns=["biosample", "assay"])
    sparse = type(part)("human", "", "", part.regions, ("b0", "b1", "b2"), table)
    # b2 has one assay, a3 one biosample: without them, two x two are left
    assert outside_core(sparse, 2) == [("human", "b2", "a1"), ("human", "b0", "a3")]
    assert outside_core(sparse, 1) == []
    assert len(outside_core(sparse, 3)) == 6


def test_a_core_that_nothing_is_in_is_refused(stores):
    path = write_config(stores, JOINT + "core = 5\n", AVOCADO)
    with pytest.raises(
        ConfigError, match=r"training_set.core of mouse \+ human; got 5, which nothing of human"
    ):
        plan_crossvalidation(path)


def test_a_training_set_may_leave_out_more(stores):
    (stores / "some.tsv").write_text("species\tbiosample\tassay\nhuman\tb0\ta0\n")
    plan = plan_crossvalidation(write_config(stores, JOINT + 'exclude = "some.tsv"\n', AVOCADO))
    assert all(("human", "b0", "a0") in fit.exclude for fit in plan.fits)
    assert all(("human", "b0", "a0") not in fit.pairs for fit in plan.fits)


def test_an_assay_of_two_names_is_held_out_whole(tmp_path):
    labels = [(f"b{b}", f"old a{a}" if b == 0 else f"a{a}") for b in range(4) for a in range(4)]
    write_store(tmp_path / "mouse.zarr", planted(1, 4, 4, where=1), labels=labels, species="mouse")
    write_store(tmp_path / "human.zarr", planted(0, 4, 4, where=0), species="human",
                labels=[(f"b{b}", f"a{a}") for b in range(4) for a in range(4)])  # fmt: skip
    (tmp_path / "alias.tsv").write_text("assay\talias\n" + "".join(f"a{a}\told a{a}\n" for a in range(4)))
    run = 'assay_alias = "alias.tsv"'
    plan = plan_crossvalidation(write_config(tmp_path, JOINT, AVOCADO, split='by = "assay"', run=run))
    assert plan.fits
    for fit in plan.fits:
        mouse = fit.axis().parts[0]
        assert not set(mouse.training["assay"]) & {assay for _, _, assay in fit.pairs}


def test_an_alias_of_another_species_is_no_error_of_one_species_alone(tmp_path):
    labels = [(f"b{b}", f"a{a}") for b in range(4) for a in range(4)]
    write_store(tmp_path / "mouse.zarr", planted(1, 4, 4, where=1), labels=labels, species="mouse")
    theirs = [(b, f"their {a}") for b, a in labels]
    write_store(tmp_path / "human.zarr", planted(0, 4, 4, where=0), labels=theirs, species="human")
    (tmp_path / "alias.tsv").write_text("assay\talias\n" + "".join(f"a{a}\ttheir a{a}\n" for a in range(4)))
    plan = plan_crossvalidation(
        write_config(tmp_path, ALONE, JOINT, AVOCADO, run='assay_alias = "alias.tsv"')
    )
    assert {len(fit.axis().assays) for fit in plan.fits} == {4}
    (tmp_path / "alias.tsv").write_text("assay\talias\na0\tnobody's\n")
    with pytest.raises(AxisError, match="alias that no store has"):
        plan_crossvalidation(write_config(tmp_path, ALONE, JOINT, AVOCADO, run='assay_alias = "alias.tsv"'))


def test_the_content_of_annotation_files_decides_the_scores(stores):
    (stores / "black.bed").write_text("chr1\t0\t25\n")
    table = '[evaluation]\nblacklist = "black.bed"\n'
    first = plan_crossvalidation(write_config(stores, ALONE, AVOCADO, table)).fits[0]
    (stores / "black.bed").write_text("chr1\t0\t50\n")
    second = plan_crossvalidation(write_config(stores, ALONE, AVOCADO, table)).fits[0]
    assert first.fingerprint != second.fingerprint
    (stores / "peaks.tsv").write_text("biosample\tassay\tpath\nb0\ta0\tnone.bed\n")
    with pytest.raises(RegionError, match=r"none\.bed does not exist"):
        plan_crossvalidation(write_config(stores, ALONE, AVOCADO, '[evaluation]\npeaks = "peaks.tsv"\n'))
