"""What is drawn of the tracks that a store adds to a model, and what is only scored."""

import numpy as np
import pytest

from epixs.axis.join import joint_axis
from epixs.sampling.added import AddedTracks
from epixs.sampling.context import some
from epixs.sampling.species import load_species
from tests.worlds import planted, write_store

SIZES = {"members": 2, "targets": 4, "bins": 64, "steps_per_epoch": 20, "seed": 3}


def axis_of(path, species, assays, biosamples=4):
    labels = [(f"{species}{b}", f"a{a}") for b in range(biosamples) for a in assays]
    return joint_axis(
        [write_store(path, planted(1, biosamples, len(assays)), labels=labels, species=species)]
    )


@pytest.fixture(scope="module")
def axes(tmp_path_factory):
    """Axes of a known species with assays 0 to 3, and of a new one: with assay 4 besides, or without it."""
    folder = tmp_path_factory.mktemp("added")
    known = axis_of(folder / "known.zarr", "mouse", range(4))
    return known, *(axis_of(folder / f"{n}.zarr", "cow", range(n)) for n in (5, 4))


def sampler_of(known, new):
    """The sampler of an extension of `known` by all tracks of `new`."""
    joint = joint_axis([part.source for part in (*known.parts, *new.parts)])
    old = joint.parts[0]
    aside = old.experiments.assign(excluded=True)
    joint = type(joint)(
        (type(old)(old.species, "gone.zarr", old.plan, old.regions, old.biosamples, aside), joint.parts[1]),
        joint.assays, joint.assay_classes,
    )  # fmt: skip
    return AddedTracks(joint, known, [load_species(known)[0].panel, None], **SIZES)


def test_a_new_assays_first_track_is_scored_and_never_drawn(axes):
    known, with_new, _ = axes
    with sampler_of(known, with_new) as sampler:
        panel = sampler.species[1].panel
        new = panel.assay == 4
        assert np.flatnonzero(sampler.new_assays).tolist() == [
            0,
            1,
            2,
            3,
            4,
        ]  # none was known of this species
        assert sampler.fitted.tolist() == (new & (np.cumsum(new) > 1)).tolist()
        assert sampler.scored[new].tolist() == [True, False, False, False]
        assert 1 <= sampler.scored[~new].sum() < (~new).sum()
        pairs = set(zip(panel.biosample[sampler.scored], panel.assay[sampler.scored], strict=True))
        first = sampler.axis.biosample_index("cow", sampler.axis.parts[1].biosamples[:1])[0]
        for step in range(SIZES["steps_per_epoch"]):
            batch = sampler.batch(0, step)
            drawn = set(
                zip((batch.biosample[:, 0] - first).tolist(), batch.assay[:, 0].tolist(), strict=True)
            )
            assert not drawn & pairs
            assert np.isfinite(batch.value).all()
        scored = sampler.held_out_entries(400)
        assert {*zip(scored.biosample[:, 0] - first, scored.assay[:, 0], strict=True)} == pairs
        assert (scored.inputs["member"] == -1).all()


def test_without_new_assays_every_track_is_scored_and_one_step_is_drawn(axes):
    known, _, without_new = axes
    with sampler_of(known, without_new) as sampler:
        assert sampler.scored.all()
        assert not sampler.fitted.any()
        assert sampler.steps_per_epoch == 1
        sampler.batch(0, 0)


def test_assays_are_hidden_in_turn_from_what_is_read(axes):
    known, _, without_new = axes
    with sampler_of(known, without_new) as sampler:
        panel, scales = sampler.species[1].panel, sampler.species[1].scales
        hidden = list(sampler.unseen(hidden=True))
        assert {target.assay for *_, target in hidden} == {0, 1, 2, 3}
        assert {member for member, *_ in hidden} == {0, 1}
        for _, track, target in hidden:
            read = np.concatenate([target.own, target.others.ravel()])
            assert (panel.assay[read[read >= 0]] != target.assay).all()
            assert np.array_equal(target.scale, scales.without_assay[track])
        assert not list(sampler.unseen(hidden=False))


def test_nothing_is_learned_of_hidden_assays_whose_factors_are_fitted(axes, tmp_path):
    """The model knew one track of assay 4, so its factors are fitted to those of the new species."""
    _, with_new, _ = axes
    labels = [(f"mouse{b}", f"a{a}") for b in range(4) for a in range(5)]
    kept = [at for at, (biosample, assay) in enumerate(labels) if assay != "a4" or biosample == "mouse0"]
    values = planted(1, 4, 5)[kept]
    store = write_store(tmp_path / "m.zarr", values, labels=[labels[at] for at in kept], species="mouse")
    with sampler_of(joint_axis([store]), with_new) as sampler:
        assert sampler.fitted.any()
        assert {target.assay for *_, target in sampler.unseen(hidden=True)} == {0, 1, 2, 3}


@pytest.mark.parametrize("assays", [4, 5, 8])
def test_tracks_drawn_from_a_sorted_table_are_of_all_assays(assays):
    drawn = some(64 * assays, 64, 0)
    assert len(drawn) == len({*drawn}) == 64
    assert {number % assays for number in drawn} == set(range(assays))
    assert some(5, 64, 0) == [0, 1, 2, 3, 4]
