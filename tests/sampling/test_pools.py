"""Out of core: the same entries as in memory, as often, whatever the chunks; memory bounded."""

import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest
from scipy import stats

from epixs.axis.axis import COARSE_BINS
from epixs.axis.join import joint_axis
from epixs.errors import ConfigError, TrainingError
from epixs.sampling import Sampler, pools
from epixs.sampling.draws import is_held_out
from epixs.sampling.pools import bytes_per_position
from epixs.storage.tiling import Layout
from tests.patience import PATIENCE
from tests.worlds import write_store

LABELS = {
    "mouse": [(f"b{i // 3}", f"a{i % 3}") for i in range(7)],
    "human": [(f"b{i // 5}", f"a{i % 5}") for i in range(11)],
}
REGIONS = {
    "mouse": [("chr1", 0, 25 * 311), ("chr2", 5_000, 5_000 + 25 * 202)],
    "human": [("chr1", 0, 25 * 450), ("chr2", 0, 25 * 250), ("chr3", 1_000, 1_000 + 25 * 7)],
}
SIZES = {"mouse": 513, "human": 707}


def coded(species, n_rows):
    """Values that name their species, row and bin: exact in steps of 1/2048 up to 16."""
    number = np.arange(n_rows)[:, None] * SIZES[species] + np.arange(SIZES[species])
    return (number / 2048 * (1 if species == "human" else -1)).astype(np.float32)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Chunks of 3 x 50 bins, shards of 100: 7 and 11 rows, 513 and 707 bins divide by nothing."""
    folder = tmp_path_factory.mktemp("pools")
    return [
        write_store(
            folder / f"{species}.zarr",
            coded(species, len(labels)),
            labels=labels,
            regions=REGIONS[species],
            species=species,
            layout=Layout(3, 50, 100),
        )
        for species, labels in LABELS.items()
    ]


@pytest.fixture(autouse=True)
def few_segments(monkeypatch):
    monkeypatch.setattr(pools, "FEWEST_SEGMENTS", 4)


def small(axis, width=1, positions=310, **settings):
    memory = 2 * positions * bytes_per_position(width)
    sampler = Sampler(axis, experiments_per_position=width, memory_bytes=memory, **settings)
    assert not sampler.in_memory
    return sampler


def named(sampler, batch):
    """(joint bin, experiment of all species) of each entry that may be trained on, from its value."""
    numbers = np.rint(batch.value * 2048).astype(int)
    mouse = batch.position[:, :1] < SIZES["mouse"]
    size = np.where(mouse, SIZES["mouse"], SIZES["human"])
    row, bins = np.divmod(np.abs(numbers), size)
    assert (np.where(mouse, bins, bins + SIZES["mouse"]) == batch.position[:, :1])[batch.weight > 0].all()
    experiment = np.where(mouse, row, row + len(LABELS["mouse"]))
    every = np.broadcast_to(batch.position[:, :1], experiment.shape)
    return np.stack([every, experiment], axis=-1)[batch.weight > 0]


def all_named(sampler, epoch):
    found = [named(sampler, sampler.batch(epoch, step)) for step in range(sampler.steps_per_epoch)]
    return np.concatenate(found)


@pytest.mark.parametrize("width", [1, 5])
def test_values_labels_and_places_are_those_of_the_store(stores, width):
    axis = joint_axis(stores)
    sampler = small(axis, width, batch_size=100 * width, held_out=0.0, seed=3)
    for step in range(sampler.steps_per_epoch):
        batch = sampler.batch(1, step)
        assert (batch.weight == 1).all()
        for (_, experiment), biosample, assay in zip(
            named(sampler, batch), batch.biosample.ravel(), batch.assay.ravel(), strict=True
        ):
            species = "mouse" if experiment < 7 else "human"
            label = LABELS[species][experiment - (0 if species == "mouse" else 7)]
            assert axis.biosample_index(species, [label[0]])[0] == biosample
            assert axis.assays[assay] == label[1]
    in_memory = Sampler(axis, held_out=0.0)
    places = in_memory.entries.draw(np.sort(batch.position[:, 0]), 0).position
    assert np.array_equal(batch.position[np.argsort(batch.position[:, 0])], places)


def test_an_epoch_visits_every_position_once_in_mixed_pools(stores):
    sampler = small(joint_axis(stores), batch_size=64, held_out=0.0)
    n = sum(SIZES.values())
    assert sampler.n_positions == n
    first, second = (
        np.concatenate([sampler.batch(epoch, step).position[:, 0] for step in range(sampler.steps_per_epoch)])
        for epoch in (0, 1)
    )
    assert sorted(first[:n]) == list(range(n))
    assert not np.array_equal(first, second)
    sizes = np.diff(sampler.entries.plan(0)[2][sampler.entries.plan(0)[1]])
    assert sizes.sum() == n
    assert len(sizes) > 3
    assert sizes.max() <= 310
    assert len(np.unique(first[:64] // 50)) >= 4  # a batch spans chunks


def test_a_batch_is_a_pure_function_of_seed_epoch_and_step(stores):
    axis = joint_axis(stores)
    one, other = (small(axis, batch_size=90, seed=5) for _ in range(2))
    wanted = [(epoch, step) for epoch in range(2) for step in range(one.steps_per_epoch)]
    forwards = {key: one.batch(*key) for key in wanted}
    for key in reversed(wanted):
        again = other.batch(*key)
        for name in ("position", "biosample", "assay", "value", "weight"):
            assert np.array_equal(getattr(forwards[key], name), getattr(again, name))


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("weight", ["by_bins", "mouse=3, human=1"])
def test_every_position_and_experiment_of_a_species_is_equally_likely(stores, width, weight):
    """Chi-square over all (position, experiment), over experiments, and over positions."""
    axis = joint_axis(stores)
    sampler = small(axis, width, batch_size=500, held_out=0.0, seed=1, species_weight=weight)
    counts = np.zeros((sum(SIZES.values()), 18))
    for epoch in range(60 if width == 1 else 20):
        found = np.concatenate(
            [named(sampler, sampler.batch(epoch, step)) for step in range(sampler.steps_per_epoch)]
        )[: sampler.n_positions * width]
        np.add.at(counts, (found[:, 0], found[:, 1]), 1)
    mouse, human = counts[:513, :7], counts[513:, 7:]
    assert counts.sum() == mouse.sum() + human.sum()
    for mine in (mouse, human):
        assert stats.chisquare(mine.ravel()).pvalue > 1e-4
        assert stats.chisquare(mine.sum(axis=1)).pvalue > 1e-4
        if weight == "by_bins":  # else the last pass takes a few chunks, whose entries come together
            assert stats.chisquare(mine.sum(axis=0)).pvalue > 1e-4


def test_the_same_chi_square_holds_in_memory(stores):
    sampler = Sampler(joint_axis(stores), batch_size=1_220, held_out=0.0, seed=1)
    counts = np.zeros((1_220, 18))
    for epoch in range(120):
        found = named(sampler, sampler.batch(epoch, 0))
        np.add.at(counts, (found[:, 0], found[:, 1]), 1)
    for mine in (counts[:513, :7], counts[513:, 7:]):
        assert stats.chisquare(mine.ravel()).pvalue > 1e-4
        assert stats.chisquare(mine.sum(axis=0)).pvalue > 1e-4


def test_what_is_held_out_is_the_same_as_in_memory_and_never_trained_on(stores):
    axis = joint_axis(stores)
    sampler = small(axis, batch_size=200, held_out=0.2, seed=9)
    held = named(sampler, sampler.held_out_entries(4 * COARSE_BINS))
    assert len(held) >= 2 * COARSE_BINS
    blocks = Sampler(axis).entries.draw(held[:, 0].astype(np.int32), 0).position[:, 2]
    for block, experiment in zip(blocks.tolist(), held[:, 1], strict=True):
        local = experiment if experiment < 7 else experiment - 7
        assert is_held_out(np.uint64(9), block, int(local), 0.2)
    trained = {tuple(entry) for epoch in range(5) for entry in all_named(sampler, epoch)}
    assert not trained & {tuple(entry) for entry in held}
    weights = np.concatenate([sampler.batch(0, step).weight for step in range(sampler.steps_per_epoch)])
    assert weights.mean() == pytest.approx(0.8, abs=0.1)


def test_missing_values_are_never_drawn(tmp_path):
    values = coded("mouse", 7)
    values[:, 5], values[2], values[4, ::2] = np.nan, np.nan, np.nan
    values[2, 0] = 0.0  # a row with one value is readable
    store = write_store(
        tmp_path / "m.zarr",
        values,
        labels=LABELS["mouse"],
        regions=REGIONS["mouse"],
        layout=Layout(3, 50, 100),
    )
    sampler = small(joint_axis([store]), batch_size=100, held_out=0.0)
    for step in range(sampler.steps_per_epoch):
        batch = sampler.batch(0, step)
        assert np.isfinite(batch.value).all()
        for position, experiment in named(sampler, batch):
            assert np.isfinite(values[experiment, position])


def test_excluded_experiments_are_never_drawn(stores):
    axis = joint_axis(stores, [("mouse", "b0", "a1"), ("human", "b2", "a0")])
    sampler = small(axis, batch_size=100, held_out=0.0)
    seen = {int(e) for epoch in range(6) for e in all_named(sampler, epoch)[:, 1]}
    assert seen == set(range(18)) - {1, 7 + 10}


def test_too_little_memory_to_mix_by_is_refused(stores):
    with pytest.raises(ConfigError, match=r"too little memory.*Raise memory_gb"):
        Sampler(joint_axis(stores), memory_bytes=100)


def test_a_store_that_is_damaged_stops_the_run(stores, tmp_path):
    copy = tmp_path / "copy.zarr"
    shutil.copytree(stores[0], copy)
    sampler = small(joint_axis([copy]), batch_size=100)
    for shard in (copy / "signal" / "c").rglob("*"):
        if shard.is_file():
            shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(TrainingError, match=r"cannot be read"):
        sampler.batch(0, 0)


COLLECTED_BY_A_READER = """
import gc, sys, time
from zarr.core.sync import sync
from epixs.training.dataset import training_dataset
from epixs.axis.join import joint_axis
from epixs.sampling import Sampler, pools
from epixs.sampling.chunks import Source

pools.FEWEST_SEGMENTS = 4
read = Source.read
Source.read = lambda *arguments: time.sleep(0.02) or read(*arguments)
gc.disable()  # as in training
sampler = Sampler(joint_axis(sys.argv[1:]), batch_size=100, memory_bytes=2 * 310 * 14)
stream = iter(training_dataset(sampler))
next(stream)
cycle = [stream]
cycle.append(cycle)
del stream, cycle
sampler.close()

async def collect():
    gc.collect()

sync(collect())
"""


@pytest.mark.slow
def test_an_iterator_may_be_collected_by_the_thread_that_reads_for_it(stores):
    ended = subprocess.run(
        [sys.executable, "-c", COLLECTED_BY_A_READER, *stores], timeout=PATIENCE, check=False
    )
    assert ended.returncode == 0


def test_closing_waits_for_batches_being_drawn_and_refuses_others(stores):
    sampler = small(joint_axis(stores), batch_size=100)
    begun, goes_on = threading.Event(), threading.Event()
    take = sampler.entries.take

    def slow(*arguments):
        begun.set()
        goes_on.wait()
        return take(*arguments)

    sampler.entries.take = slow
    with ThreadPoolExecutor(2) as threads:
        drawn = threads.submit(sampler.batch, 0, 0)
        begun.wait()
        closed = threads.submit(sampler.close)
        assert not wait([closed], timeout=0.2).done
        with pytest.raises(TrainingError, match="closed"):
            sampler.batch(0, 1)
        goes_on.set()
        closed.result()
        assert drawn.done()
