"""Training targets are drawn as by plain numpy, draw by draw."""

import numpy as np
import pytest

from epixs.axis.join import joint_axis
from epixs.sampling.augment import (
    BIOSAMPLES_DROPPED,
    FOCUS_EPISODES,
    LENT,
    OWN_DROPPED,
    RUN_BINS,
    RUN_SPAN,
    UNNAMED,
    draw_targets,
    pieces_of,
)
from epixs.sampling.context import ContextSampler
from tests.worlds import planted, write_store

LABELS = [(f"b{b}", f"a{a}") for b in range(3) for a in range(3)]
REGIONS = [("chr1", 0, 25 * 2000), ("chr2", 0, 25 * 900), ("chr2", 50_000, 50_000 + 25 * 100)]
SHORT = [("chr1", start, start + 25 * 40) for start in range(0, 25 * 3000, 25 * 40)]


def plain_runs(windows, count, generator):
    """Bins of a group lie at equal distances from a drawn one on, within the requested bins of its piece."""
    requested = [
        (piece, bin)
        for piece, (low, high) in enumerate(zip(windows.low, windows.high, strict=True))
        for bin in range(low, high)
    ]
    places = []
    for number in np.sort(generator.integers(0, len(requested), -(-count // RUN_BINS))):
        piece, bin = requested[number]
        span = min(RUN_SPAN, windows.high[piece] - windows.low[piece])
        start = min(bin, windows.high[piece] - span)
        places += [(piece, start + k * span // RUN_BINS) for k in range(RUN_BINS)]
    return places[:count]


def plain_target(sampler, row, generator):
    """All that is drawn for one target, in this order."""
    at = int(np.searchsorted(sampler._shares, generator.random(), side="right"))
    one, member = sampler.species[at], row * sampler.members // sampler.targets
    panel, windows = one.panel, one.windows
    tracks, preferred, share = sampler._to_draw(at, member)
    if preferred.size and generator.random() < share:
        tracks = preferred
    track = tracks[generator.integers(tracks.size)]
    normal = generator.standard_normal(panel.assay.size)
    kept = generator.random(one.reads.own.shape[1]) >= OWN_DROPPED
    in_focus = sampler._focus[at][track]
    hidden = sampler.episodes > 0 and generator.random() < (FOCUS_EPISODES if in_focus else sampler.episodes)
    named = hidden or (panel.assay == panel.assay[track]).sum() == 1 or generator.random() >= UNNAMED
    left = generator.random(len(one.part.biosamples)) >= BIOSAMPLES_DROPPED
    seen = ~sampler.held[at][member] & ((panel.assay != panel.assay[track]) | (not hidden))
    own = [t if t >= 0 and seen[t] and kept[k] else -1 for k, t in enumerate(one.reads.own[track])]
    others = []
    for slot in one.reads.others[track]:
        known = [t if t >= 0 and seen[t] else -1 for t in slot]
        rest = [t if t >= 0 and left[panel.biosample[t]] else -1 for t in known]
        others.append(rest if max(rest) >= 0 else known)
    every = [n for n, other in enumerate(sampler.species) if other.windows.length.size]
    lacking = [n for n in every if hidden and panel.assay[track] not in sampler.species[n].panel.assay]
    like = (lacking or every)[generator.integers(len(lacking or every))]
    lent = False
    if hidden:
        lent = bool(sampler.hiding.alike[like, at]) if lacking else bool(generator.random() < LENT)
    places = plain_runs(windows, sampler.bins, generator)
    length = [windows.length[piece] for piece, _ in places]
    first = [0] * len(places)
    if like != at:
        sizes = sampler.species[like].windows.length
        drawn = generator.choice(sizes, len(places), p=sizes / sizes.sum())
        for i, share in enumerate(generator.random(len(places))):
            whole, length[i] = length[i], min(drawn[i], length[i])
            first[i] = np.clip(places[i][1] - int(share * length[i]), 0, whole - length[i])
    drawn = at, track, own, others, normal, named, hidden, like, lent
    return *drawn, *zip(*places, strict=True), first, length


@pytest.mark.parametrize(
    ("regions", "focus", "bins"),
    [(REGIONS, [], 20), (SHORT, ["a0"], 7), (SHORT, ["a2"], 1), (REGIONS[:1], [], 9), (None, [], 12)],
)
def test_targets_are_drawn_as_by_plain_numpy(regions, focus, bins, tmp_path):
    stores = [
        write_store(tmp_path / "1.zarr", planted(0, 3, 3), labels=LABELS, regions=REGIONS, species="mouse")
    ]
    if regions:
        labels = [("b0", "a1"), ("b1", "a1"), ("b1", "a2"), ("b2", "a3")]
        values = planted(1, 3, 3)[: len(labels)]
        stores.append(
            write_store(tmp_path / "2.zarr", values, labels=labels, regions=regions, species="human")
        )
    with ContextSampler(joint_axis(stores), members=3, targets=60, bins=bins, focus=focus) as made:
        pieces = pieces_of([one.windows for one in made.species])
        drawn = draw_targets(
            made._rules, pieces, made._shares, 60, bins, np.random.Generator(np.random.Philox(7))
        )
        generator = np.random.Generator(np.random.Philox(7))
        expected = [plain_target(made, row, generator) for row in range(60)]
    for row, one in enumerate(expected):
        for name, got, wanted in zip(drawn._fields, drawn, one, strict=True):
            wanted = np.asarray(wanted)
            part = got[row][tuple(slice(size) for size in wanted.shape)]
            np.testing.assert_array_equal(part, wanted, err_msg=name)
    assert {bool(one[6]) for one in expected} == {True, False}
    assert (len({one[7] for one in expected}) > 1) == (regions is not None)
