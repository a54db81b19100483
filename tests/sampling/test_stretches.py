"""Stretches of the genome in memory: what is drawn from them is what the stores hold."""

import numpy as np

from epixs.axis.join import joint_axis
from epixs.compendium.read import open_signal
from epixs.sampling.context import ContextSampler
from epixs.sampling.species import signal_bytes, tracks_of
from epixs.sampling.stretches import EPOCHS_PER_POOL, STRETCH_BINS, Stretches, choose_spans
from tests.worlds import write_store

BINS = 20 * STRETCH_BINS + 100
LABELS = [(f"b{b}", f"a{a}") for b in range(3) for a in range(3)]


def make(folder, species="mouse", seed=0):
    generator = np.random.default_rng(seed)
    values = np.round(generator.gamma(1, 0.5, (9, BINS)) * 2048) / 2048
    regions = [("chr1", 0, 25 * 50_000), ("chr2", 0, 25 * (BINS - 50_000))]
    return write_store(folder / f"{species}.zarr", values, labels=LABELS, regions=regions, species=species)


def test_spans_fit_into_memory_and_differ_from_pool_to_pool():
    assert choose_spans(1000, 5, 10, 10**9, (0,)) == [(0, 1000)]
    each = 4 * 5 * (STRETCH_BINS + 20)
    first, second = (choose_spans(BINS, 5, 10, 7 * each, (0, pool)) for pool in range(2))
    assert len(first) == len(second) == 7
    assert first == sorted(first)
    assert first != second
    assert first == choose_spans(BINS, 5, 10, 7 * each, (0, 0))
    assert all(a % STRETCH_BINS == 0 and b == min(BINS, a + STRETCH_BINS) for a, b in first)
    assert len(choose_spans(BINS, 5, 10, 1, (0,))) == 1


def test_pools_come_by_epoch_and_are_read_once_each():
    asked = []

    def read(pool):
        asked.append(pool)
        return [pool]

    made = Stretches(read, changing=True)
    found = [made.of_epoch(epoch)[0] for epoch in range(3 * EPOCHS_PER_POOL)]
    made.close()
    assert found == [epoch // EPOCHS_PER_POOL for epoch in range(3 * EPOCHS_PER_POOL)]
    assert sorted(asked) == [*range(len(asked))]
    still = Stretches(read, changing=False)
    assert still.of_epoch(100) == [0]


def test_out_of_core_batches_hold_the_values_of_the_store(tmp_path):
    axis = joint_axis([make(tmp_path), make(tmp_path, "human", 1)]).hold_out(1, 0)
    memory = signal_bytes(axis) // 2
    options = {"members": 2, "targets": 4, "bins": 64, "seed": 3, "memory_bytes": memory}
    with ContextSampler(axis, **options) as made, ContextSampler(axis, **options) as again:
        late = made.batch(2 * EPOCHS_PER_POOL, 1)
        batches = [made.batch(0, 0), late, made.held_out_entries(300), made.held_out_tracks(300)]
        np.testing.assert_array_equal(late.value, again.batch(2 * EPOCHS_PER_POOL, 1).value)
        assert sum(one.windows.sums.nbytes for one in made.species) < memory / 4
    signals = [np.asarray(open_signal(part.source)[:]) for part in axis.parts]
    for batch in batches:
        for row in range(0, len(batch.value), 5):
            joint = int(batch.position[row, 0])
            at = int(np.searchsorted([part.n_positions[0] for part in axis.parts][:1], joint, side="right"))
            part = axis.parts[at]
            name = axis.biosample_index(part.species, part.biosamples)
            biosample = part.biosamples[int(np.flatnonzero(name == batch.biosample[row, 0])[0])]
            assay = axis.assays[batch.assay[row, 0]]
            table = part.experiments
            place = table.loc[(table["biosample"] == biosample) & (table["assay"] == assay), "row"].item()
            bin = joint - int(axis.offsets(part.species)[0])
            assert abs(batch.value[row, 0] - signals[at][place, bin]) <= 1 / 4096


def test_with_enough_memory_nothing_changes(tmp_path):
    axis = joint_axis([make(tmp_path)])
    options = {"members": 1, "targets": 2, "bins": 32, "seed": 3}
    memory = signal_bytes(axis)
    with (
        ContextSampler(axis, **options) as whole,
        ContextSampler(axis, memory_bytes=memory, **options) as same,
    ):
        one, two = whole.batch(9, 2), same.batch(9, 2)
    np.testing.assert_array_equal(one.inputs["own"], two.inputs["own"])
    assert len(tracks_of(axis.parts[0])) == 9
