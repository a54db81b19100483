"""Zero-shot tracks along the genome, against the Keras model asked for each part."""

import dataclasses

import numpy as np

from epixs.axis.join import joint_axis
from epixs.models.context.predict import expected_of, get_ready, panels_of, predictor, zero_shot_shares
from epixs.models.settings import make_settings
from epixs.sampling.agreement import FALL
from epixs.sampling.around import Reading, read_context, without
from epixs.sampling.bins import Places
from epixs.sampling.mixture import mean_of_tracks
from tests.models.context.asked import by_keras, model_that_knows
from tests.worlds import planted, write_store

SETTINGS = make_settings(
    "context", token=8, heads=2, hidden=(16,), members=2, assay_factors=4, batch_size=512
)
BINS, LACKING, UNFAMILIAR = 3000, "a3", "a2"


def trained_on(folder):
    """A model of mouse without a3 and of human without a2, with arbitrary knowledge."""
    stores = []
    for species, lacks in (("mouse", LACKING), ("human", UNFAMILIAR)):
        labels = [(f"b{b}", f"a{a}") for b in range(3) for a in range(4)]
        kept = [at for at, (_, assay) in enumerate(labels) if assay != lacks]
        stores.append(
            write_store(
                folder / f"{species}.zarr", planted(1, 3, 4)[kept, :BINS], labels=[labels[at] for at in kept],
                regions=[("chr1", 0, 25 * BINS)], species=species,
            )
        )  # fmt: skip
    known = ("factors", "moments", "hidden_agreement", "mixture", "agreement", "absent_agreement", "ease")
    return model_that_knows(folder, joint_axis(stores), SETTINGS, known), stores[0]


def test_a_zero_shot_track_is_mixed_from_what_networks_say_of_all_tracks_and_of_familiar_ones(tmp_path):
    trained, store = trained_on(tmp_path)
    pairs = [("mouse", f"b{b}", LACKING) for b in range(3)]
    found = predictor(trained, pairs, store)(0, BINS, slice(0, 3))
    axis, model = trained.axis, trained.model
    ready = get_ready(trained, pairs, store, panels_of(model, axis))
    at, panel = ready.at, ready.panels[ready.at]
    lacking, unfamiliar = axis.assay_index([LACKING, UNFAMILIAR])
    of_all, of_familiar, of_mean = zero_shot_shares(model, axis, ready.panels)[at, lacking].tolist()
    assert min(of_all, of_familiar, of_mean) > 0
    moments = model.moments.numpy()[at, lacking]
    windows = ready.windows((0, BINS))
    for target, track in zip(ready.targets, found, strict=True):
        plain = dataclasses.replace(target, scale=np.array([0, 1], np.float32))
        every, familiar = (
            by_keras(model, windows, panel, one).astype(np.float64)
            for one in (plain, without(plain, panel.assay != unfamiliar))
        )
        own = read_context(panel, windows, Reading(target, Places(np.zeros(BINS, int), np.arange(BINS))))[0]
        expected = of_all * (every - moments[0, 0]) / moments[0, 1]
        expected += of_familiar * (familiar - moments[1, 0]) / moments[1, 1]
        expected += of_mean * own[:, :, 0] @ mean_of_tracks(panel, target.own)
        np.testing.assert_allclose(track, target.scale[0] + target.scale[1] * expected, atol=2e-4)
        assert np.abs(every - familiar).max() > 0.01


def test_a_zero_shot_track_is_expected_as_its_mixture_and_the_species_let_expect(tmp_path):
    """If nothing is known of the mixture, as the networks let expect alone."""
    trained, _ = trained_on(tmp_path)
    axis, model = trained.axis, trained.model
    pairs, at = [("mouse", f"b{b}", LACKING) for b in range(3)], axis.species.index("mouse")
    lacking = axis.assay_index([LACKING])[0]
    ease, absent = model.ease.numpy()[at], model.absent_agreement.numpy()
    of_mixture = absent[at, lacking]
    found = [np.arctanh(expected_of(trained, pairs)).mean()]
    absent[at, lacking] = np.nan
    model.absent_agreement.assign(absent)
    found.append(np.arctanh(expected_of(trained, pairs)).mean())
    of_networks = FALL * model.hidden_agreement.numpy()[1 - at, lacking]
    np.testing.assert_allclose(found, [ease * of_mixture, ease * of_networks], rtol=1e-4)
