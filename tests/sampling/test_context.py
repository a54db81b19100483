"""What is read around a bin, against an oracle in plain NumPy; and what is never read."""

import dataclasses
import itertools

import numpy as np
import pytest

from epixs.axis.join import joint_axis
from epixs.errors import TrainingError
from epixs.sampling.around import Reading, read_context, without
from epixs.sampling.bins import Places, draw_bins, read_values
from epixs.sampling.context import HELD_ENTRIES, ContextSampler
from epixs.sampling.fill import RADII
from epixs.sampling.kriging import BAND_RADII, weights_of
from epixs.sampling.species import alike, tracks_of
from tests.worlds import planted, write_store

LABELS = [(f"b{b}", f"a{a}") for b in range(3) for a in range(3)]
REGIONS = [("chr1", 0, 25 * 2000), ("chr2", 0, 25 * 900), ("chr2", 50_000, 50_000 + 25 * 100)]


def write(path, values=None, species="mouse", labels=LABELS, seed=0):
    values = planted(seed, 3, 3)[: len(labels)] if values is None else values
    return write_store(path, values, labels=labels, regions=REGIONS, species=species)


@pytest.fixture(scope="module")
def axis(tmp_path_factory):
    return joint_axis([write(tmp_path_factory.mktemp("context") / "mouse.zarr")])


@pytest.fixture(scope="module")
def sampler(axis):
    with ContextSampler(axis, members=2, targets=4, bins=64, steps_per_epoch=3, seed=5) as made:
        yield made


def signal_of(axis):
    from epixs.compendium.read import open_signal

    part = axis.parts[0]
    return np.asarray(open_signal(part.source)[tracks_of(part)["row"].to_numpy()])


def around(values, bin, radius):
    """Mean of a track around a bin, as far as its region goes."""
    edges = [0, 2000, 2900, 3000]
    region = np.searchsorted(edges, bin, side="right") - 1
    return values[max(edges[region], bin - radius) : min(edges[region + 1], bin + radius + 1)].mean()


def test_what_is_read_is_what_plain_numpy_reads(axis, sampler):
    signal, species = signal_of(axis), sampler.species[0]
    target = sampler.species[0].targets(np.array([1], np.int32), np.array([2], np.int32))[0]
    bins = np.array([0, 3, 999, 1999, 2000, 2450, 2899, 2900, 2999])
    piece = np.searchsorted([2000, 2900, 3000], bins, side="right")
    offset = bins - np.array([0, 2000, 2900])[piece]
    reading = Reading(target, Places(piece, offset))
    own, others, base = read_context(species.panel, species.windows, reading)
    shares = weights_of(target.equations, target.own, target.others)
    assert {LABELS[track] for track in target.own if track >= 0} == {("b1", "a0"), ("b1", "a1")}
    z = (signal - signal.mean(axis=1, keepdims=True)) / signal.std(axis=1, keepdims=True)
    for i, bin in enumerate(bins):
        for s, radius in enumerate(RADII):
            expected = [around(z[track], bin, radius) if track >= 0 else 0 for track in target.own]
            np.testing.assert_allclose(own[i, :, s], expected, atol=1e-3)
            for slot, tracks in enumerate(target.others):
                known = tracks >= 0
                values = np.array([around(z[track], bin, radius) for track in tracks[known]])
                weights = target.weight[slot, known]
                summary = [values.mean(), np.average(values, weights=weights), values.std(), values.max()]
                np.testing.assert_allclose(others[i, slot, s :: RADII.size], summary, atol=2e-3)
        tracks = np.append(target.own, target.others)
        weights = np.concatenate([one.reshape(-1, len(BAND_RADII)) for one in shares])
        for band, radius in enumerate(BAND_RADII):
            total = 0.0
            for track, weight in zip(tracks[tracks >= 0], weights[tracks >= 0, band], strict=True):
                total += weight * around(z[track], bin, radius)
                if band + 1 < len(BAND_RADII):
                    total -= weight * around(z[track], bin, BAND_RADII[band + 1])
            np.testing.assert_allclose(base[i, band], total, atol=5e-3)
        assert np.abs(base[i]).max() > 0.01


def test_a_batch_depends_on_seed_epoch_and_step_alone(axis, sampler):
    with ContextSampler(axis, members=2, targets=4, bins=64, steps_per_epoch=3, seed=5) as again:
        again.batch(4, 0)
        one, two = sampler.batch(2, 1), again.batch(2, 1)
    for name in one.inputs:
        np.testing.assert_array_equal(one.inputs[name], two.inputs[name])
    np.testing.assert_array_equal(one.value, two.value)
    assert not np.array_equal(one.value, sampler.batch(2, 2).value)
    for name, spec in sampler.input_specs.items():
        assert one.inputs[name].dtype == spec.dtype
        assert one.inputs[name].shape[1:] == spec.shape[1:]


def test_values_are_those_of_the_store(axis, sampler):
    signal, part = signal_of(axis), axis.parts[0]
    batch = sampler.held_out_entries(500)
    track = {label: number for number, label in enumerate(LABELS)}
    for row in range(0, len(batch.value), 7):
        label = part.biosamples[batch.biosample[row, 0]], axis.assays[batch.assay[row, 0]]
        assert abs(batch.value[row, 0] - signal[track[label], batch.position[row, 0]]) <= 1 / 4096
    assert (batch.weight == 1).all()
    assert batch.value.shape[1] == 1


@pytest.mark.parametrize("label", [("b0", "a0"), ("b2", "a1")])
def test_nothing_of_a_target_is_read_for_it(axis, tmp_path, label):
    """Noise in the place of one track changes what is read for others, and nothing that is read for it."""
    values = signal_of(axis)
    track = LABELS.index(label)
    values[track] = np.round(np.random.default_rng(1).gamma(1, 3, 3000) * 2048) / 2048
    other = joint_axis([write(tmp_path / "noise.zarr", values)])
    options = {"targets": 200, "bins": 16, "held_share": 0.0, "seed": 1}
    with ContextSampler(axis, **options) as true, ContextSampler(other, **options) as noisy:
        one, two = true.batch(0, 0), noisy.batch(0, 0)
    mine = (one.biosample[:, 0] == int(label[0][1])) & (one.assay[:, 0] == int(label[1][1]))
    assert 4 < mine.sum() < 100
    np.testing.assert_array_equal(one.assay, two.assay)
    for name in ("own", "own_assay", "others", "others_assay", "base", "target"):
        np.testing.assert_allclose(one.inputs[name][mine], two.inputs[name][mine], atol=1e-5)
    np.testing.assert_allclose(one.inputs["scale"][mine], two.inputs["scale"][mine], rtol=1e-4)
    assert not np.allclose(one.inputs["own"][~mine], two.inputs["own"][~mine])
    assert not np.allclose(one.value[mine], two.value[mine])


def test_a_member_never_sees_the_tracks_that_it_holds_out(axis, sampler, tmp_path):
    """Noise in the place of the tracks that a member holds out changes no track that it reads, and no scale."""
    held = sampler.held[0]
    assert held.any(axis=1).all()
    values = signal_of(axis)
    noise = np.random.default_rng(2).gamma(1, 3, values.shape)
    values[held[0]] = (np.round(noise * 2048) / 2048)[held[0]]
    other = joint_axis([write(tmp_path / "noise.zarr", values)])
    options = {"members": 2, "targets": 4, "bins": 64, "steps_per_epoch": 3, "seed": 5}
    with ContextSampler(other, **options) as noisy:
        for step in range(3):
            one, two = sampler.batch(0, step), noisy.batch(0, step)
            np.testing.assert_allclose(one.inputs["own"][:2], two.inputs["own"][:2], atol=1e-5)
            np.testing.assert_array_equal(one.value[:2], two.value[:2])
            np.testing.assert_allclose(one.inputs["scale"][:2], two.inputs["scale"][:2], atol=1e-5)
            assert not np.allclose(one.inputs["scale"][2:], two.inputs["scale"][2:], atol=1e-2)
            tracks = one.biosample[:2, 0] * 3 + one.assay[:2, 0]
            assert not held[0][tracks].any()


def test_held_out_entries_are_those_that_each_member_never_sees(sampler):
    batch = sampler.held_out_entries(10**6)
    assert len(batch.value) <= HELD_ENTRIES + 8
    for member in range(2):
        mine = batch.inputs["member"] == member
        tracks = set((batch.biosample[mine, 0] * 3 + batch.assay[mine, 0]).tolist())
        assert tracks == set(np.flatnonzero(sampler.held[0][member]).tolist())


def test_a_target_has_the_same_bins_however_it_is_read_and_others_have_others(sampler):
    one, other = (sampler.species[0].target(track) for track in (1, 2))
    without_any = without(one, np.zeros(9, np.bool_))
    first, read_otherwise, second = (sampler.known_entries(0, of, 50) for of in (one, without_any, other))
    np.testing.assert_array_equal(first.position, read_otherwise.position)
    assert not read_otherwise.inputs["own"].any()
    assert first.inputs["own"].any()
    assert (first.position != second.position).mean() > 0.3
    both = sampler.entries_of([other, without_any], 100)
    np.testing.assert_array_equal(both.position[50:], sampler.entries_of([one], 50).position)


def test_too_few_tracks_cannot_be_held_out(tmp_path):
    few = joint_axis([write(tmp_path / "few.zarr", labels=LABELS[:3])])
    with ContextSampler(few) as made, pytest.raises(TrainingError, match="too few tracks") as caught:
        made.held_out_entries(100)
    assert "average activity" in str(caught.value)


def test_whole_tracks_are_held_out_of_everything(axis):
    with ContextSampler(axis.hold_out(2, 0), targets=4) as made:
        batch = made.held_out_tracks(1000)
        held = made.axis.parts[0].experiments.query("held_out")
    names = {(f"b{b}", f"a{a}") for b, a in zip(batch.biosample[:, 0], batch.assay[:, 0], strict=True)}
    assert names == set(zip(held["biosample"], held["assay"], strict=True))
    assert (batch.inputs["member"] == -1).all()


def test_missing_bins_have_no_weight(tmp_path):
    values = planted(0, 3, 3)
    values[:, 100:1900] = np.nan
    with ContextSampler(joint_axis([write(tmp_path / "holes.zarr", values)]), targets=8, bins=64) as made:
        batch = made.batch(0, 0)
    missing = (batch.position[:, 0] >= 100) & (batch.position[:, 0] < 1900)
    assert 0 < batch.weight.mean() < 1
    assert all(
        np.isfinite(array).all() for array in (batch.value, batch.inputs["own"], batch.inputs["others"])
    )
    assert missing.any()


def test_reading_within_some_bins_is_reading_a_region_of_them(sampler):
    """Bin 700 of a region, of which 600 to 899 are read, is bin 100 of a region of 300 bins."""
    species = sampler.species[0]
    target = sampler.species[0].targets(np.array([1], np.int32), np.array([2], np.int32))[0]

    def read(windows, offset, within=None):
        reading = Reading(target, Places(np.array([0]), np.array([offset])), within=within)
        own, others, base = read_context(species.panel, windows, reading)
        return np.concatenate([own, others, base], None)

    whole = species.windows
    part = dataclasses.replace(whole, column=np.array([600]), length=np.array([300]))
    within = np.array([600]), np.array([300])
    np.testing.assert_array_equal(read(whole, 700, within), read(part, 100))
    assert not np.allclose(read(whole, 700), read(part, 100))
    np.testing.assert_array_equal(read(whole, 700), read(whole, 700, (np.array([0]), np.array([2000]))))


def test_targets_of_several_species_are_read_together_as_each_alone(axis, tmp_path):
    labels = [("b0", "a0"), ("b1", "a0"), ("b1", "a1"), ("b2", "a3"), ("b3", "a1"), ("b4", "a1")]
    second = write(tmp_path / "human.zarr", planted(2, 3, 3)[:6], species="human", labels=labels)
    generator = np.random.default_rng(4)
    with ContextSampler(joint_axis([axis.parts[0].source, second]), members=2) as made:
        windows = [one.windows for one in made.species]
        readings = []
        for at, track in [(0, 3), (1, 0), (1, 5), (0, 8), (1, 3), (0, 0)]:
            target, n_tracks = made.species[at].target(track), made.species[at].panel.mean.size
            gain = generator.random(n_tracks, np.float32) + 0.5 if track % 2 else None
            readings.append(Reading(target, draw_bins(windows[at], 11, generator), gain))
        batch = made._batch_of(list(enumerate(readings)), windows)
        positions = made._positions(readings, windows, 11).reshape(len(readings), 11, 3)
    assert {one.target.own.size for one in readings} == {2, 3}
    for row, reading in enumerate(readings):
        target, one = reading.target, made.species[reading.target.at]
        like = target.others.max(axis=1)
        expected = dict(
            zip(("own", "others", "base"), read_context(one.panel, one.windows, reading), strict=True)
        )
        expected |= {
            "own_assay": np.where(target.own >= 0, one.panel.assay[target.own], -1),
            "others_assay": np.where(like >= 0, one.panel.assay[like], -1),
        }
        for name, values in expected.items():
            whole, nothing = batch.inputs[name][row], -1 if name.endswith("assay") else 0
            part = tuple(slice(size) for size in values.shape)
            np.testing.assert_array_equal(whole[part], values)
            rest = whole.copy()
            rest[part] = nothing
            assert (rest == nothing).all()
        assert (batch.inputs["member"][row], batch.inputs["target"][row]) == (row, target.assay)
        np.testing.assert_array_equal(batch.inputs["scale"][row], target.scale)
        value, known = read_values(one.windows, np.array(target.track), reading.places)
        np.testing.assert_array_equal((batch.value[row], batch.weight[row]), (value, known))
        assert (batch.biosample[row] == one.first_biosample + target.biosample).all()
        assert (batch.assay[row] == target.assay).all()
        bins = one.windows.bin[reading.places.piece] + reading.places.offset
        np.testing.assert_array_equal(positions[row, :, 0], bins + one.first_position[0])


def test_assays_that_have_no_two_tracks_are_not_named(tmp_path):
    """But as targets that training knows, they have no track of their assay beside them, and are named."""
    labels = [(f"b{b}", f"a{a}") for b in range(4) for a in range(3)] + [("b0", "single")]
    store = write_store(tmp_path / "one.zarr", planted(3, 5, 3)[: len(labels)], labels=labels)
    with ContextSampler(joint_axis([store]), targets=400, bins=1) as sampler:
        species, batch = sampler.species[0], sampler.batch(0, 0)
        single = int(sampler.axis.assay_index(["single"])[0])
        pairs = np.array([1, 1], np.int32), np.array([single, 0], np.int32)
        assert [one.named for one in species.targets(*pairs)] == [False, True]
        named = batch.inputs["named"] > 0
        assert named[batch.inputs["target"] == single].all()
        assert 0.05 < (~named).mean() < 0.15
        hidden = ~(batch.inputs["others_assay"] == batch.inputs["target"][:, None]).any(axis=1)
        assert hidden.any()
        assert named[hidden].all()


def test_no_entries_can_be_drawn(sampler):
    batch = sampler.held_out_entries(0)
    assert batch.value.shape == (0, 1)
    assert batch.inputs["own"].shape[0] == batch.position.shape[0] == 0


def test_regions_are_alike_if_half_of_the_bins_lie_in_regions_of_similar_length(axis, tmp_path):
    one = axis.parts[0].source
    for kb, expected in [(10, False), (20, False), (30, True), (60, True), (5_000, True)]:
        bins = 40 * kb
        regions = [("chr1", 0, 25 * bins), ("chr2", 0, 25 * (bins // 2))]
        values = np.tile(planted(0, 3, 3)[:4], (1, 1 + bins * 2 // 3000))[:, : bins + bins // 2]
        labels = LABELS[:2] + LABELS[3:5]
        other = write_store(tmp_path / f"{kb}.zarr", values, labels=labels, regions=regions, species="human")
        np.testing.assert_array_equal(alike(joint_axis([one, other])), [[True, expected], [expected, True]])


def test_bands_add_up_to_the_track_and_their_statistics_are_those_of_numpy(axis, sampler):
    signal, panel = signal_of(axis), sampler.species[0].panel
    rows = []
    for radius in BAND_RADII:
        rows.append(np.array([[around(track, bin, radius) for bin in range(3000)] for track in signal]))
    bands = [rows[0] - rows[1], rows[1] - rows[2], rows[2]]
    np.testing.assert_allclose(sum(bands), signal, atol=1e-6)
    starts = [0, 2000, 2900, 3000]
    taken = np.concatenate([np.arange(*ends, 8) for ends in itertools.pairwise(starts)])
    for number, band in enumerate(bands):
        some = band[:, taken]
        spread = some.std(axis=1) / signal.std(axis=1)
        np.testing.assert_allclose(panel.band_spread[number], spread, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(panel.band_likeness[number], np.corrcoef(some), atol=2e-2)


def test_a_hidden_assay_is_expected_without_its_tracks_however_many_there_are(tmp_path, monkeypatch):
    labels = [(f"b{b}", f"a{a}") for b in range(3) for a in range(4)]
    some = [at for at, (_, assay) in enumerate(labels) if assay != "a3"]
    mouse = write(tmp_path / "mouse.zarr", planted(0, 3, 4), labels=labels)
    human = write(tmp_path / "human.zarr", planted(1, 3, 4)[some], "human", [labels[at] for at in some])
    options = {"members": 2, "targets": 4, "bins": 16, "focus": ["a3"]}
    found = []
    for most in (500, 0):
        monkeypatch.setattr("epixs.sampling.context.VERY_MANY_TRACKS", most)
        with ContextSampler(joint_axis([human, mouse]), **options) as made:
            unseen = list(made.unseen(hidden=True))
            found.append(np.array([target.scale for _, _, target in unseen]))
            whole = [made.species[target.at].scales.without_assay[track] for _, track, target in unseen]
    assert len(found[0])
    np.testing.assert_allclose(found[1], whole, rtol=1e-6)
    np.testing.assert_allclose(found[0], found[1], rtol=0.02)  # of one member, also other species lack it


def test_constant_tracks_have_no_weight(tmp_path):
    values = planted(0, 3, 3)
    values[4] = 1.0
    with ContextSampler(joint_axis([write(tmp_path / "m.zarr", values)]), targets=16, bins=16) as made:
        drawn = {}
        for step in range(4):
            batch = made.batch(0, step)
            tracks = batch.biosample[:, 0] * 3 + batch.assay[:, 0]
            drawn |= dict(zip(tracks.tolist(), batch.weight, strict=True))
    assert {track for track, weight in drawn.items() if not weight.any()} == {4}
