"""What members never see: chosen such that all labels are left to them."""

import numpy as np

from epixs.sampling.unseen import hide_assays, hold_out_by_member
from tests.worlds import a_panel


def panel_of(*pairs):
    biosample, assay = np.array(pairs, np.int32).T
    ones = np.ones(len(pairs), np.float32)
    return a_panel(biosample, assay, ones, ones, np.eye(len(pairs)))


def test_members_hold_out_different_tracks_and_keep_one_of_each_label():
    pairs = np.array([(b, a) for b in range(6) for a in range(5) if (b, a) != (0, 0)], np.int32)
    panel = a_panel(*pairs.T, *np.ones((2, len(pairs))), np.eye(len(pairs)))
    held = hold_out_by_member([panel], 4, 0.2, 0)[0]
    assert (held.sum(axis=1) == 6).all()
    assert held.any(axis=0).sum() == 24  # none twice
    for mask in held:
        assert set(pairs[~mask, 0]) == set(range(6))
        assert set(pairs[~mask, 1]) == set(range(5))


def test_a_track_that_is_needed_is_never_held_out():
    panel = panel_of(*((b, a) for b in range(4) for a in range(4)))
    needed = panel.assay == 2
    held = hold_out_by_member([panel], 8, 0.3, 0, [needed])[0]
    assert held.any(axis=1).all()
    assert not held[:, needed].any()


def test_every_second_member_has_an_assay_hidden_that_others_have_too():
    here = panel_of((0, 0), (0, 1), (0, 2), (1, 0), (1, 3))
    there = panel_of((0, 1), (0, 3), (0, 5))
    focus = np.array([5], np.int32)
    assert hide_assays([here, there], 6, focus) == [[], [(0, 1)], [], [(0, 3)], [], [(0, 1)]]
    assert hide_assays([here, there], 1, focus) == [[]]
    assert hide_assays([here], 4, focus) == [[], [], [], []]  # nobody else has any of them
    assert hide_assays([here, there], 2, np.zeros(0, np.int32)) == [[], []]


def test_a_member_with_a_hidden_assay_holds_out_its_tracks_and_no_other():
    here, there = panel_of(*((b, a) for b in range(3) for a in range(3))), panel_of((0, 1), (0, 5), (1, 5))
    held = hold_out_by_member([here, there], 2, 0.2, 0, hidden=[[], [(0, 1)]])
    np.testing.assert_array_equal(held[0][1], here.assay == 1)
    assert not held[1][1].any()
