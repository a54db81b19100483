import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from epixs.axis.join import joint_axis
from epixs.compendium.read import open_compendium
from epixs.errors import ConfigError
from epixs.sampling import Sampler
from epixs.sampling.draws import MISSING, PACKED_LIMIT, is_held_out
from epixs.sampling.memory import memory_needed, pack


@pytest.fixture(scope="module")
def axis(world):
    return joint_axis([world.store("mouse"), world.store("human")])


def entries(axis, batch):
    """Name every entry of a batch: (species, bin, row in the store, value)."""
    rows = {
        (part.species, row.biosample, row.assay): int(row.row)
        for part in axis.parts
        for row in part.training.itertuples()
    }
    found = []
    for position, biosamples, assays, values, weights in zip(
        batch.position, batch.biosample, batch.assay, batch.value, batch.weight, strict=True
    ):
        species = next(s for s in reversed(axis.species) if position[0] >= axis.offsets(s)[0])
        part = axis.part(species)
        for b, a, value, weight in zip(biosamples, assays, values, weights, strict=True):
            name = part.biosamples[b - axis.biosample_index(species, [part.biosamples[0]])[0]]
            row = rows[species, name, axis.assays[a]]
            found.append((species, int(position[0] - axis.offsets(species)[0]), row, value, weight))
    return found


@pytest.mark.parametrize("width", [1, 4])
def test_every_value_drawn_is_the_stores(axis, width):
    sampler = Sampler(axis, batch_size=800, experiments_per_position=width, held_out=0.05, seed=3)
    signal = {part.species: open_compendium(part.source).signal.to_numpy() for part in axis.parts}
    for species, bin_, row, value, weight in entries(axis, sampler.batch(0, 1)):
        assert weight == 1
        assert value == pytest.approx(signal[species][row, bin_], abs=1e-6)


def test_an_epoch_visits_every_position_once_and_each_epoch_in_another_order(axis):
    sampler = Sampler(axis, batch_size=700, seed=0)
    assert sampler.n_positions == 5_010
    assert sampler.steps_per_epoch == 8
    batches = [sampler.batch(0, step) for step in range(8)]
    seen = np.concatenate([batch.position[:, 0] for batch in batches])
    assert sorted(seen[:5_010]) == list(range(5_010))
    assert not np.array_equal(sampler.entries.order(0)[0], sampler.entries.order(1)[0])
    # the last step is filled up with second visits, which draw anew
    again = seen[5_010:]
    assert set(again) == set(sampler.entries.order(0)[0][: again.size])
    drawn = np.concatenate([batch.biosample[:, 0] * 100 + batch.assay[:, 0] for batch in batches])
    before = dict(zip(seen[:5_010], drawn[:5_010], strict=True))
    assert np.mean([before[b] != d for b, d in zip(again, drawn[5_010:], strict=True)]) > 0.5
    # a batch runs along the genome, its second visits after the first ones
    assert all((np.diff(batch.position[:, 0]) > 0).all() for batch in batches[:-1])
    assert (np.diff(again) > 0).all()
    # a batch is never larger than the axis
    assert Sampler(axis, batch_size=40_000).positions_per_step == 5_010


def test_a_batch_is_a_pure_function_of_seed_epoch_and_step(axis):
    first, second = (Sampler(axis, batch_size=700, seed=5) for _ in range(2))
    second.batch(2, 1)  # whatever was drawn before
    for name in ("position", "biosample", "assay", "value", "weight"):
        assert np.array_equal(getattr(first.batch(1, 3), name), getattr(second.batch(1, 3), name))
    other = Sampler(axis, batch_size=700, seed=6).batch(1, 3)
    assert not np.array_equal(first.batch(1, 3).position, other.position)


def test_every_experiment_of_a_species_is_equally_likely(axis):
    """Chi-square over (species, experiment) and over bins x experiments; sizes divide nothing here."""
    sampler = Sampler(axis, batch_size=5_010, held_out=0.0, seed=1)
    counts: dict[str, dict[tuple[int, int], int]] = {s: {} for s in axis.species}
    for epoch in range(60):
        batch = sampler.batch(epoch, 0)
        for position, b, a in zip(
            batch.position[:, 0], batch.biosample[:, 0], batch.assay[:, 0], strict=True
        ):
            species = "human" if position >= 2_000 else "mouse"
            counts[species][int(b), int(a)] = counts[species].get((int(b), int(a)), 0) + 1
    for part in axis.parts:
        assert len(counts[part.species]) == len(part.training)
        assert stats.chisquare(list(counts[part.species].values())).pvalue > 1e-4
    # one position, many epochs: all of its species' experiments, equally often
    drawn = [sampler.entries.draw(np.array([17], np.int32), seed).biosample[0, 0] for seed in range(4_000)]
    part = axis.parts[0]
    share = part.training["biosample"].value_counts()
    expected = [share[name] / len(part.training) * 4_000 for name in part.biosamples]
    got = np.bincount(drawn, minlength=3)
    assert stats.chisquare(got, expected).pvalue > 1e-4


def test_held_out_entries_are_never_trained_on(axis):
    sampler = Sampler(axis, batch_size=5_010, held_out=0.2, seed=2)
    held = {(species, bin_, row) for species, bin_, row, *_ in entries(axis, sampler.held_out_entries(3_000))}
    assert len(held) > 500
    trained = set()
    for epoch in range(4):
        trained |= {(species, bin_, row) for species, bin_, row, *_ in entries(axis, sampler.batch(epoch, 0))}
    assert not held & trained
    # the held-out share is what was asked for
    blocks = [
        is_held_out(np.uint64(2), block, experiment, 0.2) for block in range(200) for experiment in range(50)
    ]
    assert np.mean(blocks) == pytest.approx(0.2, abs=0.02)


def test_held_out_entries_are_drawn_uniformly(axis):
    sampler = Sampler(axis, batch_size=500, held_out=0.1, seed=4)
    expected = {
        (index, bin_, e)
        for index, signal in enumerate(sampler.entries.signals)
        for bin_ in range(signal.values.shape[0])
        for e in range(signal.biosample.size)
        if is_held_out(np.uint64(4), signal.block[bin_], e, 0.1)
    }
    drawn = sampler.held_out_entries(20 * len(expected))
    keys = drawn.position[:, 0].astype(np.int64) * 10_000 + drawn.biosample[:, 0] * 100 + drawn.assay[:, 0]
    counts = np.unique(keys, return_counts=True)[1]
    assert len(counts) == len(expected)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_held_out_entries_of_a_sparse_track(axis):
    sampler = Sampler(axis, held_out=0.2)
    for signal in sampler.entries.signals:
        signal.values[:, :] = MISSING
    with pytest.raises(Exception, match="no entry is held out"):
        sampler.held_out_entries(100)
    sampler.entries.signals[0].values[::5] = 7
    entries = sampler.held_out_entries(100)
    assert 20 <= entries.value.size <= 100
    assert (entries.value == np.float32(7 / 2048)).all()


def test_excluded_experiments_are_not_even_read(world, axis):
    pair = ("human", *axis.part("human").experiments[["biosample", "assay"]].to_numpy()[0])
    less = axis.exclude([pair])
    sampler = Sampler(less, batch_size=500)
    assert sampler.entries.signals[1].values.shape[1] == len(axis.part("human").experiments) - 1
    assert memory_needed(less) < memory_needed(axis)


def test_missing_values_are_never_drawn(axis):
    sampler = Sampler(axis, batch_size=2_000, experiments_per_position=3, held_out=0.0)
    sampler.entries.signals[0].values[:, 1:] = MISSING
    sampler.entries.signals[0].values[5] = MISSING
    batch = sampler.entries.draw(np.arange(2_000, dtype=np.int32), draw_seed=1)
    known = np.arange(2_000) != 5
    assert (batch.weight[known] == 1).all()
    assert (batch.weight[5] == 0).all()
    part = axis.parts[0]
    only = axis.assay_index(part.training["assay"].iloc[:1])[0]
    assert (batch.assay[known] == only).all()


def test_nothing_held_out_is_an_error(axis):
    with pytest.raises(Exception, match="no entry is held out"):
        Sampler(axis, held_out=0.0).held_out_entries(10)


@given(st.floats(-100, 100, width=32))
def test_packing_is_exact_to_the_stored_grid_and_clips_far_out(value):
    packed = pack(np.array([value, np.nan], np.float32))
    assert packed[1] == MISSING
    assert packed[0] != MISSING
    assert abs(packed[0] / 2048 - np.clip(value, -PACKED_LIMIT, PACKED_LIMIT)) <= 0.5 / 2048


def test_positions_are_those_of_the_axis(axis):
    sampler = Sampler(axis, batch_size=4_000, seed=3)
    batch = sampler.batch(0, 0)
    ends = np.cumsum([part.n_positions[0] for part in axis.parts])
    for bin_, got in zip(batch.position[:, 0].tolist(), batch.position, strict=True):
        part = axis.parts[int(np.searchsorted(ends, bin_, side="right"))]
        local = np.array([bin_ - axis.offsets(part.species)[0]])
        assert np.array_equal(got, (part.positions(local) + axis.offsets(part.species))[0])


@pytest.mark.parametrize("weight", ["balanced", "human=1, mouse=7"])
def test_species_weights(axis, weight):
    sampler = Sampler(axis, batch_size=700, species_weight=weight, held_out=0.0)
    end = {part.species: part.n_positions[0] for part in axis.parts}
    first = np.concatenate([sampler.batch(0, step).position[:, 0] for step in range(sampler.steps_per_epoch)])
    visited = first[: sampler.n_positions]
    last = np.cumsum(list(end.values()))
    counts = np.bincount(np.searchsorted(last, visited, side="right"), minlength=len(last))
    shares = {"balanced": {"human": 1, "mouse": 1}, "human=1, mouse=7": {"human": 1, "mouse": 7}}[weight]
    wanted = np.array([shares[part.species] for part in axis.parts])
    np.testing.assert_allclose(counts / counts.sum(), wanted / wanted.sum(), atol=1e-3)
    times = np.bincount(visited, minlength=last[-1])
    for low, high in zip([0, *last[:-1]], last, strict=True):
        assert np.ptp(times[low:high]) <= 1  # all bins come before any comes again
    again = sampler.entries.draw(np.repeat(visited[:1], 50).astype(np.int32), 1, np.arange(50))
    assert len(np.unique(again.assay * 1000 + again.biosample)) > 1


@pytest.mark.parametrize(
    "weight",
    [
        "",
        "even",
        "mouse=1",
        "mouse=1, human=0",
        "mouse=1, human=2, cow=3",
        "mouse=., human=1",
        "mouse=nan, human=1",
    ],
)
def test_species_weights_that_are_none(axis, weight):
    with pytest.raises(ConfigError, match=r"species_weight; got .*by_bins, balanced, or a positive number"):
        Sampler(axis, batch_size=700, species_weight=weight).steps_per_epoch  # noqa: B018
