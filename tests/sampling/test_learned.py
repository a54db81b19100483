"""What is learned from tracks that networks have never seen, with networks whose errors are known."""

import numpy as np
import pytest

from epixs.axis.join import joint_axis
from epixs.sampling.context import ContextSampler
from epixs.sampling.intervals import HALF_WIDTH, half_widths
from epixs.sampling.learned import TRUST_PULL, _have_seen, _of_one_more, learn_reliability, learn_trust
from tests.worlds import planted, write_store

LABELS = [(f"b{b}", f"a{a}") for b in range(5) for a in range(4)]
SHARES = np.ones((1, 4, 3), np.float32)


@pytest.fixture(scope="module")
def axis(tmp_path_factory):
    path = tmp_path_factory.mktemp("learned") / "mouse.zarr"
    return joint_axis([write_store(path, planted(0, 5, 4), labels=LABELS)], [("mouse", "b0", "a0")])


def networks(made, size, shared=0.0):
    """Members that are off by normal errors: of their own, and `shared` by all; twice that if never seen."""
    generator = np.random.default_rng(0)

    def predict(batch):
        value, spread = batch.value[:, 0], batch.inputs["scale"][:, 1]
        own = size * generator.normal(size=(made.members, value.size))
        error = own + shared * generator.normal(size=value.size)
        unseen = {int(track) for member in made.held[0] for track in np.flatnonzero(member)}
        for member, held in enumerate(made.held[0]):
            tracks = made.species[0].panel
            mine = (tracks.biosample == batch.biosample[0, 0]) & (tracks.assay == batch.assay[0, 0])
            if int(np.flatnonzero(mine)[0]) in unseen and held[mine].all():
                error[member] *= 2
        return value + spread * error

    return predict


def test_intervals_are_those_of_the_errors_on_tracks_that_were_never_seen(axis):
    with ContextSampler(axis, members=4, targets=8, bins=16) as made:
        learned = learn_reliability(made, networks(made, 0.0, shared=0.3), SHARES)
    widths, factors = learned.widths, learned.assay_errors
    at = widths[0, 0].mean(keepdims=True)
    np.testing.assert_allclose(half_widths(widths[0], at), 2 * 0.3 * HALF_WIDTH, rtol=0.15)
    np.testing.assert_allclose(factors, 1.0, atol=0.1)
    assert not widths[1].any()  # no assay was hidden: of zero-shot tracks nothing is known


def test_the_mean_of_members_is_less_far_off_than_each(axis):
    with ContextSampler(axis, members=4, targets=8, bins=16) as made:
        found = [
            learn_reliability(made, networks(made, own, shared), SHARES).widths[0, 1].mean()
            for own, shared in ((0.3, 0.0), (0.0, 0.3))
        ]
    assert found[0] < 0.8 * found[1]


def test_agreement_is_what_networks_reach_that_have_never_seen_a_track(axis):
    with ContextSampler(axis, members=4, targets=8, bins=16) as made:
        learned = learn_reliability(made, networks(made, 0.0, shared=0.5), SHARES)
        targets = made.training_targets(64)
        reached = []
        for target in targets:
            batch = made.known_entries(-1, target, 3_000)
            value, error = batch.value[:, 0], np.random.default_rng(1).normal(size=len(batch.value))
            unseen = value + 2 * 0.5 * target.scale[1] * error
            reached.append(np.corrcoef(value, unseen)[0, 1])
    known = np.isfinite(learned.agreement)
    assert known.all()
    found = np.tanh(learned.agreement)
    assert np.mean(found - reached) == pytest.approx(0, abs=0.08)
    assert np.corrcoef(found, reached)[0, 1] > 0.8


def test_errors_are_those_of_members_that_have_seen_the_track(axis):
    """Of members that are far off on what they have not seen, none shares in the errors of training tracks."""
    with ContextSampler(axis, members=4, targets=8, bins=16) as made:
        held = made.held[0]
        for target in made.training_targets(64):
            seen = ~held[:, target.track]
            assert seen.any()
            assert _have_seen(made, target).tolist() == seen.tolist()
        made.held[0] = np.ones_like(held)
        assert _have_seen(made, target).all()


def test_an_unmeasured_track_has_one_more_of_its_biosample_and_of_its_assay_around_it(axis):
    with ContextSampler(axis, members=4, targets=8, bins=16) as made:
        panel = made.species[0].panel
        for target in made.training_targets(64):
            biosample = (panel.biosample == target.biosample).sum()
            assay = (panel.assay == target.assay).sum()
            left = 1 + 1 / biosample + 1 / assay
            whole = 1 + 1 / (biosample + 1) + 1 / (assay + 1)
            assert _of_one_more(panel, target) ** 2 == pytest.approx(whole / left)


@pytest.mark.parametrize("right", [0.0, 0.5, 1.0])
def test_networks_are_trusted_as_far_as_their_differences_are_right(axis, right):
    """True values differ from the weighted sums by a part of what each network says, which adds an error."""
    generator, size = np.random.default_rng(0), 0.5
    with ContextSampler(axis, members=4, targets=8, bins=16) as made:
        held = sum(int(member.sum()) for member in made.held[0])

        def predict(batch):
            base, scale = batch.inputs["base"][:, 0].sum(axis=1), batch.inputs["scale"]
            said = generator.normal(size=base.size)
            batch.value[:, 0] = scale[:, 0] + scale[:, 1] * (base + right * said)
            errors = size * generator.normal(size=(made.members, base.size))
            return scale[:, 0] + scale[:, 1] * (base + said + errors)

        found = learn_trust(made, predict)
        one_member = right / (1 + size**2)
        mean_of_all = right / (1 + size**2 / made.members)
    pulled = [(held * trust + TRUST_PULL) / (held + TRUST_PULL) for trust in (one_member, mean_of_all)]
    assert found == pytest.approx(pulled[1], abs=0.05)
    assert right == 0 or abs(found - pulled[0]) > 0.05


def test_networks_are_trusted_if_no_track_is_held_out(axis):
    with ContextSampler(axis, members=2, targets=8, bins=16, held_share=0.0) as made:
        assert learn_trust(made, lambda batch: np.zeros((2, len(batch.value)))) == 1.0
