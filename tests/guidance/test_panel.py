"""Panels laid over a reference: their shape, what is hidden, what each label keeps."""

import numpy as np
import pytest

from epixs.guidance.panel import HIDDEN_SHARE, LEFT, rehearse

MEASURED = {(f"r{b}", f"a{a}") for b in range(8) for a in range(6) if (b, a) != (3, 1)}
PLANNED = {(f"t{b}", f"a{a}") for b in range(4) for a in range(4) if (b, a) != (0, 2)}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_rehearsal_has_the_shape_of_the_panel_and_hides_what_can_be_compared(seed, share):
    one = rehearse(PLANNED, MEASURED, {"a5"}, share, np.random.default_rng(seed))
    trained, hidden, zero_shot = map(set, (one.trained, one.hidden, one.zero_shot))
    assert not trained & hidden
    assert trained | hidden | zero_shot <= MEASURED
    assert len({b for b, _ in trained}) == round(4 * share)
    assert {a for _, a in trained | hidden} <= {"a0", "a1", "a2", "a3"}
    assert {a for _, a in zero_shot} == {"a5"}
    assert {b for b, _ in zero_shot} == {b for b, _ in trained}
    for label in {b for b, _ in hidden} | {a for _, a in hidden}:
        assert any(label in one for one in trained)
    if share == 1:
        own = len(trained) + len(hidden - {one for one in hidden if one not in MEASURED})
        assert (
            len(PLANNED) - 1 <= own <= len(PLANNED) + 1
        )  # a0 t2 is unmeasured in the panel, and hidden here
        assert len(hidden) >= round(HIDDEN_SHARE * len(PLANNED))


def test_tracks_that_are_hidden_leave_two_of_each_label():
    planned = {(f"t{b}", f"a{a}") for b in range(4) for a in range(4)}
    for seed in range(20):
        one = rehearse(planned, MEASURED, (), 1.0, np.random.default_rng(seed))
        for label in {b for b, _ in one.hidden} | {a for _, a in one.hidden}:
            assert sum(label in track for track in one.trained) >= LEFT


def test_the_same_seed_gives_the_same_rehearsal_and_others_differ():
    made = [rehearse(PLANNED, MEASURED, (), 1.0, np.random.default_rng(seed)) for seed in (0, 0, 1, 2, 3)]
    assert made[0] == made[1]
    assert len(set(made)) > 2


def test_a_panel_with_more_biosamples_than_the_reference_takes_all_there_are():
    planned = {(f"t{b}", "a0") for b in range(20)} | {(f"t{b}", "a1") for b in range(20)}
    one = rehearse(planned, MEASURED, (), 1.0, np.random.default_rng(0))
    assert len({b for b, _ in one.trained}) == 8
