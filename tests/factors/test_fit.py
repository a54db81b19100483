"""Stage 2: factors of other regions, each block reproducible, resumed, and as good as a joint fit."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr
import zarr
from typer.testing import CliRunner

from epixs.axis.join import joint_axis
from epixs.cli.app import app
from epixs.cluster.client import open_client
from epixs.errors import AxisError, StoreError
from epixs.evaluation.scores import evaluate
from epixs.evaluation.table import AVERAGE, IMPUTED
from epixs.factors import selection
from epixs.factors.fit import fit_genome
from epixs.factors.selection import plan_factors
from epixs.factors.store import open_factors
from epixs.imputation.write import impute, open_imputed
from epixs.models.folder import open_model
from epixs.models.settings import make_settings
from epixs.sampling import Sampler
from epixs.storage.ledger import forget_records
from epixs.storage.store import open_store
from epixs.storage.tiling import Layout
from epixs.training.dataset import dataset_of
from epixs.training.run import train
from tests.worlds import BINS, planted, write_store

CONFIG = make_settings(
    "avocado",
    hidden=(64, 64), batch_size=4_000, experiments_per_position=8, epochs=100, held_out=0.1, patience=0,
    biosample_factors=4, assay_factors=8, genome_factors=(6, 6, 6), genome_dropout=0.0, learning_rate=3e-3,
    genome_multiplier=3.0, precision="float32",
)  # fmt: skip
LABELS = [(f"b{b}", f"a{a}") for b in range(5) for a in range(4)]
HERE = [("chr1", 0, 25 * 1_999), ("chr2", 0, 25 * 1_001)]
ELSEWHERE = [("chr1", 100_000, 100_000 + 25 * 1_333), ("chr3", 50, 50 + 25 * 1_667)]
HIDDEN = ("mouse", "b1", "a2")
EPOCHS = 15
"""Enough to beat average activity; by default it would be 400, which only the comparison with a joint fit needs."""


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "BLOCK_POSITIONS", 4)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model of some regions, a store of others, and its factors."""
    folder = tmp_path_factory.mktemp("genome")
    values = planted(1, 5, 4), planted(1, 5, 4, where=2)
    for name, signal, regions in (("here", values[0], HERE), ("elsewhere", values[1], ELSEWHERE)):
        write_store(
            folder / f"{name}.zarr", signal, labels=LABELS, regions=regions, layout=Layout(3, 256, 512)
        )
    both = np.concatenate(values, axis=1)
    write_store(folder / "both.zarr", both, labels=LABELS, regions=HERE + ELSEWHERE)
    train(joint_axis([folder / "here.zarr"], [HIDDEN]), CONFIG, folder / "model")
    fit_genome(open_model(folder / "model"), folder / "elsewhere.zarr", folder / "factors", epochs=EPOCHS)
    return folder


def arrays(path):
    root = zarr.open_group(str(path), mode="r")
    return [root[name][:] for name in ("factors_25bp", "factors_250bp", "factors_5kbp")]


def same(one, other):
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(arrays(one), arrays(other), strict=True))


@pytest.mark.slow
def test_stage_two_is_as_good_as_a_joint_fit(made, tmp_path):
    """Held-out entries of the other regions: joint fit of both against stage 2."""
    done = fit_genome(open_model(made / "model"), made / "elsewhere.zarr", tmp_path / "factors")
    train(joint_axis([made / "both.zarr"], [HIDDEN]), CONFIG, tmp_path / "joint")
    joint = open_model(tmp_path / "joint")
    joint.model.compile(loss="mse")
    entries = Sampler(joint.axis, held_out=CONFIG.training.held_out).held_out_entries(200_000)
    there = entries.position[:, 0] >= BINS
    second = entries.take(there)
    together = joint.model.evaluate(dataset_of(second), verbose=0)
    spread = float(second.value.var())
    assert 1 - done["held_out_mse"] / spread > 0.97 * (1 - together / spread)


def test_imputation_reads_them(made, tmp_path):
    model, factors = open_model(made / "model"), open_factors(made / "factors")
    impute(model, made / "elsewhere.zarr", tmp_path / "i.zarr", pairs=[HIDDEN], factors=factors)
    scores = evaluate(tmp_path / "i.zarr", made / "elsewhere.zarr").scores
    mse = scores.set_index("method")["mse"]
    assert scores["role"].unique().tolist() == ["excluded"]
    assert mse[IMPUTED] < 0.7 * mse[AVERAGE]
    lazy = open_imputed(model, made / "elsewhere.zarr", pairs=[HIDDEN], factors=factors)
    assert lazy.sizes["bin"] == 3_000
    assert np.isfinite(lazy.signal[0, 1_300:1_400].to_numpy()).all()
    with pytest.raises(AxisError, match=r"do not fit together: regions .*`epixs fit-genome`"):
        impute(model, made / "elsewhere.zarr", tmp_path / "j.zarr", pairs=[HIDDEN])
    with pytest.raises(AxisError, match="do not fit together: regions"):
        impute(model, made / "here.zarr", tmp_path / "j.zarr", pairs=[HIDDEN], factors=factors)


@pytest.mark.slow
def test_factors_lie_where_their_bins_do(made):
    """Slow oracle: each bin's 5 kbp position and its place in it, counted within its region."""
    store = open_factors(made / "factors")
    small, middle, large = arrays(made / "factors")
    expected, position, start = [], 0, 0
    for _, low, high in ELSEWHERE:
        n_bins = (high - low) // 25
        for offset in range(n_bins):
            at = position + offset // 200
            expected.append(
                np.concatenate([small[at, offset % 200], middle[at, offset % 200 // 10], large[at]])
            )
        position, start = position + -(-n_bins // 200), start + n_bins
    assert len(small) == position
    assert np.array_equal(store.read(0, start), np.stack(expected))
    assert np.array_equal(store.read(1_300, 1_900), np.stack(expected[1_300:1_900]))
    beyond = 1_333 - 6 * 200  # of the first region's last position
    assert np.isnan(small[6, beyond:]).all()
    assert not np.isnan(small[6, :beyond]).any()


@pytest.mark.slow
def test_each_block_is_made_again_alone_to_the_bit(made, tmp_path):
    copy = tmp_path / "factors"
    shutil.copytree(made / "factors", copy)
    for block in (2, 0):
        forget_records(open_store(copy), {(0, block)})
        shutil.rmtree(copy / "factors_25bp" / "c" / str(block))
    with pytest.raises(StoreError, match="lacks factors of bins"):
        open_factors(copy).read(0, 100)

    def unfinished(progress):
        if progress.tiles_done == 2:  # before the first of them is made again
            with pytest.raises(StoreError, match="is unfinished"):
                open_factors(copy)

    fit_genome(open_model(made / "model"), made / "elsewhere.zarr", copy, epochs=EPOCHS, progress=unfinished)
    assert same(copy, made / "factors")


@pytest.mark.slow
def test_threads_of_one_worker_take_turns(made, tmp_path):
    copy = tmp_path / "factors"
    shutil.copytree(made / "factors", copy)
    for block in (0, 2):
        forget_records(open_store(copy), {(0, block)})
    seen = []
    with ThreadPoolExecutor(2) as threads:
        fit_genome(
            open_model(made / "model"),
            made / "elsewhere.zarr",
            copy,
            epochs=EPOCHS,
            client=threads,
            progress=seen.append,
        )
    assert [progress.tiles_done for progress in seen] == [2, 3, 4]
    assert same(copy, made / "factors")


@pytest.mark.slow
def test_an_interrupted_fit_resumes(made, tmp_path):
    class Stop(Exception):
        pass

    def stop(progress):
        if progress.tiles_done == 2:
            raise Stop

    task = open_model(made / "model"), made / "elsewhere.zarr", tmp_path / "f"
    with pytest.raises(Stop):
        fit_genome(*task, epochs=EPOCHS, progress=stop)
    with pytest.raises(StoreError, match="is unfinished"):
        open_factors(tmp_path / "f")
    seen = []
    fit_genome(*task, epochs=EPOCHS, progress=lambda p: seen.append(p.tiles_done))
    assert seen[0] == 2
    assert same(tmp_path / "f", made / "factors")


@pytest.mark.slow
def test_on_dask_workers(made, tmp_path):
    model, store = open_model(made / "model"), made / "elsewhere.zarr"
    with open_client(workers=2) as client:
        done = fit_genome(model, store, tmp_path / "f", epochs=EPOCHS, client=client)
    alone = fit_genome(model, store, made / "factors", epochs=EPOCHS)  # nothing to do
    assert done["held_out_mse"] == pytest.approx(alone["held_out_mse"], rel=0.05)
    for mine, theirs in zip(arrays(tmp_path / "f"), arrays(made / "factors"), strict=True):
        known = ~np.isnan(theirs)
        assert np.corrcoef(mine[known], theirs[known])[0, 1] > 0.98


@pytest.mark.slow
def test_what_takes_no_part(made, tmp_path):
    labels = [*LABELS, ("stranger", "a0")]
    values = np.concatenate([planted(1, 5, 4, where=2), np.ones((1, BINS))])
    store = write_store(tmp_path / "s.zarr", values, labels=labels, regions=ELSEWHERE)
    plan, notes = plan_factors(open_model(made / "model"), store, exclude=(("mouse", "b0", "a0"),))
    used = plan.part.training[["biosample", "assay"]].to_numpy().tolist()
    assert len(used) == len(LABELS) - 2
    assert ["b1", "a2"] not in used  # excluded from the model's training
    assert ["b0", "a0"] not in used
    assert any("1 experiment takes no part: of biosamples or assays that" in note for note in notes)
    cow = write_store(tmp_path / "c.zarr", values[:2], labels=LABELS[:2], regions=ELSEWHERE, species="cow")
    with pytest.raises(AxisError, match=r"does not know.*epixs extend"):
        plan_factors(open_model(made / "model"), cow)


@pytest.mark.slow
def test_stores_of_other_fits_and_other_things_are_refused(made, tmp_path):
    model = open_model(made / "model")
    with pytest.raises(StoreError, match="holds other genome factors: settings"):
        fit_genome(model, made / "elsewhere.zarr", made / "factors", epochs=3)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.docx").write_text("precious")
    with pytest.raises(StoreError, match="is not empty"):
        fit_genome(model, made / "elsewhere.zarr", tmp_path / "thesis")
    with pytest.raises(StoreError, match="holds no genome factors"):
        open_factors(made / "here.zarr")
    train(joint_axis([made / "here.zarr"]), CONFIG.replace(epochs=1), tmp_path / "other")
    with pytest.raises(AxisError, match="belongs to another model"):
        impute(
            open_model(tmp_path / "other"),
            made / "elsewhere.zarr",
            tmp_path / "i.zarr",
            factors=open_factors(made / "factors"),
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda attrs: attrs["identity"].update(block_positions=0),
        lambda attrs: attrs["identity"].update(sizes=[10**9, 1, 1]),
        lambda attrs: attrs["identity"].update(sizes="abc"),
        lambda attrs: attrs["axis"]["species"][0].update(regions=[["r", "chr1", 0, 25 * 10**12]]),
        lambda attrs: attrs.pop("axis"),
    ],
)
def test_damaged_stores_are_refused(made, tmp_path, change):
    copy = tmp_path / "factors"
    shutil.copytree(made / "factors", copy)
    attributes = put_json_as_it_is(copy)
    change(attributes)
    zarr.open_group(str(copy), mode="r+").attrs.put(attributes)
    with pytest.raises(StoreError, match="is damaged"):
        open_factors(copy)


def put_json_as_it_is(path):
    """Attributes as stores of earlier versions have them."""
    root = zarr.open_group(str(path), mode="r+")
    attributes = dict(root.attrs)
    for name in ("identity", "axis"):
        attributes[name] = json.loads(attributes[name])
    root.attrs.put(attributes)
    return attributes


@pytest.mark.slow
def test_stores_of_earlier_versions_open(made, tmp_path):
    shutil.copytree(made / "factors", tmp_path / "factors")
    new = open_factors(tmp_path / "factors")
    put_json_as_it_is(tmp_path / "factors")
    assert open_factors(tmp_path / "factors").fingerprint == new.fingerprint
    resumed = fit_genome(
        open_model(made / "model"), made / "elsewhere.zarr", tmp_path / "factors", epochs=EPOCHS
    )
    assert resumed["loss"] > 0


@pytest.mark.slow
def test_plain_xarray_reads_factors_and_their_tree(made, tmp_path):
    with xr.open_zarr(made / "factors", consolidated=False) as dataset:
        assert dataset.factors_5kbp.dims == ("position", "factor_factors_5kbp")
        assert dataset.factors_25bp.dims == ("position", "inner_factors_25bp", "factor_factors_25bp")
        dataset[["factors_5kbp"]].to_netcdf(tmp_path / "a.nc", engine="scipy")
    assert "shared" in xr.open_datatree(made / "factors", engine="zarr", consolidated=False).children


@pytest.mark.slow
def test_the_verbs(made, tmp_path):
    run = CliRunner().invoke
    fit = ["fit-genome", str(made / "model"), str(made / "elsewhere.zarr"), "--out", str(tmp_path / "f")]
    planned = run(app, [*fit, "--dry-run"])
    assert planned.exit_code == 0, planned.output
    assert "4 of 4 positions" in planned.output
    assert not (tmp_path / "f").exists()
    made_it = run(app, [*fit, "--epochs", "2", "--workers", "1"])
    assert made_it.exit_code == 0, made_it.output
    assert "held-out MSE" in made_it.output
    imputed = run(
        app,
        ["impute", str(made / "model"), str(made / "elsewhere.zarr"), "--out", str(tmp_path / "i.zarr"),
         "--factors", str(tmp_path / "f"), "--workers", "1"],
    )  # fmt: skip
    assert imputed.exit_code == 0, imputed.output
    shown = run(app, ["info", str(tmp_path / "f")])
    assert shown.exit_code == 0
    assert "genome factors" in shown.output
    assert open_model(made / "model").fingerprint in shown.output
    assert "complete, 4 of 4 blocks fitted" in run(app, ["status", str(tmp_path / "f")]).output
    zarr.open_group(str(tmp_path / "f"), mode="r+").attrs["status"] = "unfinished"
    assert "it resumes where it stopped" in run(app, ["status", str(tmp_path / "f")]).output
    wrong = run(app, ["verify", str(tmp_path / "f")])
    assert wrong.exit_code == 2
    assert "holds genome factors, not signal" in wrong.output
