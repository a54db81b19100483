"""What is learned of absent and hidden assays, against plain NumPy."""

import numpy as np
import pytest

from epixs.axis.join import joint_axis
from epixs.sampling import zero_shot
from epixs.sampling.agreement import FALL, USUAL, expected_share, known_elsewhere
from epixs.sampling.context import ContextSampler
from epixs.sampling.fill import RADII, SUMMARIES
from epixs.sampling.mixture import MEAN_SHARE, mean_of_tracks
from epixs.sampling.panel import own_tracks
from epixs.sampling.zero_shot import learn_absent, learn_hidden, learn_mixture
from tests.worlds import planted, write_store

REGIONS = [("chr1", 0, 25 * 2000)]


def joint(folder, **changed):
    """Two species of 3 x 4 tracks, of which the second lacks assay a3."""
    labels = [(f"b{b}", f"a{a}") for b in range(3) for a in range(4)]
    stores = []
    for seed, species in enumerate(("human", "mouse")):
        values = changed.get(species, planted(seed, 3, 4)[:, :2000])
        path = folder / f"{species}.zarr"
        stores.append(write_store(path, values, labels=labels, regions=REGIONS, species=species))
    return joint_axis(stores, [("mouse", f"b{b}", "a3") for b in range(3)])


def test_every_second_member_has_an_assay_hidden_that_the_mixture_is_learned_from(tmp_path):
    axis = joint(tmp_path)
    options = {"members": 4, "targets": 8, "bins": 16, "focus": ["a3"], "seed": 2}
    with ContextSampler(axis, **options) as made:
        at = axis.species.index("mouse")
        assert made.hidden == [[], [(at, 0)], [], [(at, 1)]]
        for member, assay in ((1, 0), (3, 1)):
            np.testing.assert_array_equal(made.held[at][member], made.species[at].panel.assay == assay)
        asked = []

        def predict(batch):
            asked.append(batch)
            value, scale = batch.value[:, 0], batch.inputs["scale"]  # as if the networks knew
            known = scale[:, 0] + scale[:, 1] * (value - value.mean()) / value.std()
            return np.stack([known] * 4)

        shares, ease = learn_mixture(made, predict, np.full((2, 4, 3), 0.1, np.float32))
    assert ease[1 - at] == 1
    assert ease[at] > 1.2
    assert shares.shape == (2, 3)
    np.testing.assert_allclose(shares[1 - at], 1)
    assert shares[at, 0] > 0.5
    assert len(asked) == 6
    for batch in asked:
        hidden = batch.assay[0, 0]
        read = np.concatenate([batch.inputs["own_assay"], batch.inputs["others_assay"]], axis=1)
        assert not (read == hidden).any()


def test_the_expected_share_is_a_part_of_the_agreement_of_the_hidden_assay():
    assert expected_share(1.2) == pytest.approx(np.tanh(FALL * 1.2))
    assert expected_share(-1.0) == 0
    assert expected_share(np.nan) == expected_share(USUAL)


def test_agreement_of_a_hidden_assay_is_that_of_tracks_read_as_if_it_were_absent(tmp_path):
    axis = joint(tmp_path)
    with ContextSampler(axis, members=2, targets=8, bins=16, focus=["a3"], seed=2) as made:
        human, asked = axis.species.index("human"), []

        def predict(batch):
            read = np.concatenate([batch.inputs["own_assay"], batch.inputs["others_assay"]], axis=1)
            assert not (read == batch.assay[0, 0]).any()
            asked.append(int(batch.assay[0, 0]))
            noise = np.random.default_rng(len(asked)).normal(size=batch.value[:, 0].size)
            value = (batch.value[:, 0] - batch.value.mean()) / batch.value.std()
            return np.stack([value + noise, value + noise])

        found, in_common = learn_hidden(made, predict)
        targets = made.hiding.targets(2, 0)
    assert np.isnan(found[1 - human, 3])
    np.testing.assert_array_equal(np.isnan(in_common[human]), np.eye(4, dtype=bool))
    absent = (np.arange(4) == 3)[:, None] | (np.arange(4) == 3)
    np.testing.assert_array_equal(np.isnan(in_common[1 - human]), np.eye(4, dtype=bool) | absent)
    np.testing.assert_allclose(
        np.tanh(np.delete(found.reshape(-1), 4 * (1 - human) + 3)), 0.5**0.5, atol=0.05
    )
    assert np.bincount(asked).tolist() == [6, 6, 6, 3]
    assert np.bincount([target.assay for target in targets]).tolist() == [4, 4, 4, 2]
    np.testing.assert_array_equal(known_elsewhere(found, human), found[1 - human])


def test_of_an_absent_assay_it_is_known_what_networks_say_of_it(tmp_path):
    axis = joint(tmp_path)
    with ContextSampler(axis, members=2, targets=8, bins=16, focus=["a3"]) as made:
        at, lacks = axis.species.index("mouse"), int(axis.assay_index(["a3"])[0])

        def predict(batch):
            assert (batch.assay == lacks).all()
            scale, own = batch.inputs["scale"], batch.inputs["own"][:, 0, 0, 0]
            return np.stack([scale[:, 0] + scale[:, 1] * (own / 2 + wrong) for wrong in (0.2, 0.6)])

        shares = np.tile(np.array([0.4, 0, 0.2], np.float32), (2, 4, 1))
        wanted = np.full((2, 4, 4), np.nan, np.float32)
        moments, shifted, agreement = learn_absent(made, predict, shares, np.ones((2, 3)), wanted)
        panel = made.species[at].panel
    np.testing.assert_allclose(shifted[at, lacks], [0.4, 0, 0.2])
    alike = []
    for own in own_tracks(panel, np.arange(3, dtype=np.int32), np.full(3, lacks, np.int32)):
        alike.append(mean_of_tracks(panel, own) @ panel.likeness[own, own[0]])
    spread = np.sqrt(0.4**2 + 0.2**2 + 2 * 0.4 * 0.2 * np.mean(alike))
    expected = np.arctanh((0.4 * 0.4 + 0.2 * 0.2 / MEAN_SHARE) / spread)
    assert agreement[at, lacks] == pytest.approx(expected, abs=0.05)
    assert np.isnan(np.delete(agreement.ravel(), 4 * at + lacks)).all()
    assert np.isnan(np.delete(shifted.reshape(8, 3), 4 * at + lacks, axis=0)).all()
    first = moments[at, lacks, 0]
    np.testing.assert_allclose(first, [0.4, 0.5], atol=0.1)  # a track's own mean is 0, its spread 1
    moments[at, lacks] = 0, 1
    np.testing.assert_array_equal(moments, np.broadcast_to([0, 1], moments.shape))


def with_an_unfamiliar_assay(folder):
    """Mouse lacks a3; human lacks a2, which the first biosample of mouse lacks too."""
    axis = joint(folder)
    excluded = [(species, f"b{b}", a) for species, a in (("mouse", "a3"), ("human", "a2")) for b in range(3)]
    return (
        axis.exclude([*excluded, ("mouse", "b0", "a2")]),
        int(axis.assay_index(["a2"])[0]),
        int(axis.assay_index(["a3"])[0]),
    )


def test_each_way_to_read_is_looked_at_where_there_is_one(tmp_path, monkeypatch):
    """Of one biosample, or of as many as have both ways."""
    monkeypatch.setattr(zero_shot, "FEWEST_BIOSAMPLES", 1)
    monkeypatch.setattr(zero_shot, "MOST_BIOSAMPLES", 2)
    axis, unfamiliar, lacks = with_an_unfamiliar_assay(tmp_path)
    with ContextSampler(axis, members=2, targets=8, bins=16, focus=["a3"]) as made:
        at = axis.species.index("mouse")
        read = []

        def predict(batch):
            absent = np.unique(batch.assay).tolist()
            names = (batch.inputs["own_assay"] == unfamiliar).any(axis=1)
            read.append((absent, names.any()))
            scale = batch.inputs["scale"]
            own = np.random.default_rng(0).normal(size=names.size)
            return np.stack([scale[:, 0] + scale[:, 1] * (own + names)] * 2)

        shares = np.tile(np.array([0.4, 0.1, 0.2], np.float32), (2, 4, 1))
        in_common = np.full((2, 4, 4), 0.3, np.float32)
        moments, shifted, _ = learn_absent(made, predict, shares, np.ones((2, 3)), in_common)
    np.testing.assert_allclose(shifted[at, lacks].sum(), 0.7, atol=1e-4)
    assert ([lacks], True) in read and ([lacks], False) in read  # noqa: PT018
    np.testing.assert_allclose(moments[at, lacks, 1], [0, 1], atol=0.1)
    assert 0.3 < moments[at, lacks, 0, 0] < 0.8
    assert np.isfinite(moments[at, np.arange(4) != lacks]).all()
    human = axis.species.index("human")
    assert np.isfinite(moments[human, unfamiliar, 0]).all()
    assert np.isfinite(moments[human, unfamiliar, 1]).all()  # a3, which mouse lacks, is unfamiliar


def test_the_second_way_gains_if_the_first_follows_a_track_more_than_it_should(tmp_path):
    axis, unfamiliar, lacks = with_an_unfamiliar_assay(tmp_path)
    shares = np.tile(np.array([0.4, 0.1, 0.2], np.float32), (2, 4, 1))
    found = []
    with ContextSampler(axis, members=2, targets=8, bins=16, focus=["a3"]) as made:
        at = axis.species.index("mouse")

        def predict(batch):
            own, assay, scale = (batch.inputs[name] for name in ("own", "own_assay", "scale"))
            first = np.where(assay == 0, own[:, 0, :, 0], 0).sum(axis=1)
            noise = np.random.default_rng(0).normal(size=len(first))
            follows = (assay == unfamiliar).any()
            return np.stack([scale[:, 0] + scale[:, 1] * (first if follows else noise)] * 2)

        for in_common in (0.0, 1.0):
            wanted = np.full((2, 4, 4), np.nan, np.float32)
            wanted[:, lacks, 0] = in_common
            found.append(learn_absent(made, predict, shares, np.ones((2, 3)), wanted)[1][at, lacks])
    assert found[0][1] > 0.5
    np.testing.assert_allclose(found[0].sum(), 0.7, rtol=1e-5)
    np.testing.assert_allclose(found[1], shares[0, 0])


def test_the_networks_part_divides_into_ways_to_read(tmp_path):
    axis, unfamiliar, _ = with_an_unfamiliar_assay(tmp_path)
    with ContextSampler(axis, members=2, targets=8, bins=16, focus=["a3"]) as made:
        at = axis.species.index("mouse")
        one = made.species[at]
        track = int(np.flatnonzero((one.panel.assay == 0) & (one.panel.biosample == 1))[0])
        target = made.hiding.target(at, track, lent=True)
        batch = made.known_entries(-1, target)

        def predict(asked):
            np.testing.assert_array_equal(asked.value, batch.value)
            value, read = asked.value[:, 0], (asked.inputs["own_assay"] == unfamiliar).any()
            return np.stack([value if read else -value, value**2 if read else value])

        parts = zero_shot.parts_of(made, predict, batch, -1, target)
    z, z2 = ((v - v.mean()) / v.std() for v in (batch.value[:, 0], batch.value[:, 0] ** 2))
    np.testing.assert_allclose(parts[:, :, 0], np.stack([z, z2]), atol=1e-3)
    np.testing.assert_allclose(parts[:, :, 1], np.stack([-z, z]), atol=1e-3)


def test_many_absent_assays_are_looked_at_together(tmp_path, monkeypatch):
    """Of each it is found what is found of it alone."""
    axis = joint(tmp_path)
    axis = axis.exclude([("mouse", f"b{b}", a) for b in range(3) for a in ("a2", "a3")])
    found, calls = [], []
    for entries in (200_000, 2_000):
        monkeypatch.setattr(zero_shot, "ABSENT_ENTRIES", entries)
        with ContextSampler(axis, members=2, targets=8, bins=16) as made:
            lacks = axis.assay_index(["a2", "a3"])
            slope = np.zeros(len(axis.assays))
            slope[lacks] = 0.5, 2.0

            def predict(batch, calls=calls, slope=slope):
                calls.append(len(batch.assay))
                scale, own = batch.inputs["scale"], batch.inputs["own"][:, 0, 0, 0]
                moments = slope[batch.assay[:, 0]] * (1 + own)
                return np.stack([scale[:, 0] + scale[:, 1] * moments] * 2)

            shares = np.full((2, 4, 3), 0.2, np.float32)
            nothing = shares, np.ones((2, 3)), np.full((2, 4, 4), np.nan, np.float32)
            moments, *_ = learn_absent(made, predict, *nothing)
            found.append(moments[axis.species.index("mouse"), lacks, 0])
    np.testing.assert_allclose(found, [[[0.5, 0.5], [2.0, 2.0]]] * 2, atol=0.2)
    assert calls == [1_998] * 3


def test_a_hidden_assay_is_never_seen(tmp_path):
    """Noise in the place of the tracks that a member has hidden changes nothing that it reads in training.

    Only how much each other biosample weighs changes: that is known of the species once, for all members.
    """
    (tmp_path / "noise").mkdir()
    axis = joint(tmp_path)
    values = planted(1, 3, 4)[:, :2000].copy()
    values[[0, 4, 8]] = np.round(np.random.default_rng(7).gamma(1, 3, (3, 2000)) * 2048) / 2048
    other = joint(tmp_path / "noise", mouse=values)
    options = {"members": 2, "targets": 20, "bins": 16, "focus": ["a3"], "seed": 2}
    with ContextSampler(axis, **options) as true, ContextSampler(other, **options) as noisy:
        assert true.hidden[1] == [(axis.species.index("mouse"), 0)]
        one, two = true.batch(0, 0), noisy.batch(0, 0)
    mine = slice(10, 20)
    for name in ("own_assay", "others_assay", "target"):
        np.testing.assert_array_equal(one.inputs[name][mine], two.inputs[name][mine])
    np.testing.assert_allclose(one.inputs["own"][mine], two.inputs["own"][mine], atol=1e-5)
    plain = [*range(RADII.size), *range(2 * RADII.size, SUMMARIES * RADII.size)]  # all but weighted means
    others = [batch.inputs["others"][mine][..., plain] for batch in (one, two)]
    np.testing.assert_allclose(*others, atol=1e-5)
    np.testing.assert_array_equal(one.value[mine], two.value[mine])
