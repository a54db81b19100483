"""Zero-shot tracks along the genome, against the Keras model asked for each part."""

import numpy as np

from epixs.axis.join import joint_axis
from epixs.models.context.kind import KIND
from epixs.models.context.predict import get_ready, panels_of, predictor
from epixs.models.folder import TrainedModel, new_model
from epixs.models.settings import make_settings
from epixs.sampling.agreement import expected_share
from epixs.sampling.around import Reading, read_context, without
from epixs.sampling.bins import Places
from epixs.sampling.mixture import FAMILIAR_SHARE, mean_of_tracks
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
    axis = joint_axis(stores)
    model, generator = new_model(axis, SETTINGS), np.random.default_rng(0)
    with KIND.sampler(axis, SETTINGS, batch_size=512, signal_bytes=1 << 30) as sampler:
        KIND.begin(model, sampler)
    for weights in (model.factors, model.moments, model.hidden_agreement, model.mixture):
        weights.assign(generator.uniform(0.1, 0.9, weights.shape))
    return TrainedModel(folder, model, axis, SETTINGS, {}, ""), stores[0]


def of_networks(model, panel, windows, target):
    """What the Keras model says of a target at all bins, standardised; and the biosample's own tracks."""
    bins = np.arange(BINS)
    own, others, base = read_context(panel, windows, Reading(target, Places(0 * bins, bins)))
    first = target.others.max(axis=1)
    inputs = {
        "own": own,
        "others": others,
        "base": base,
        "own_assay": np.where(target.own >= 0, panel.assay[target.own], -1),
        "others_assay": np.where(first >= 0, panel.assay[first], -1),
        "target": np.int32(target.assay),
        "named": np.float32(1),
        "scale": np.array([0, 1], np.float32),
        "share": np.float32(1),
        "linear": np.zeros(target.own.size, np.float32),
        "member": np.int32(-1),
    }
    said = model({name: np.asarray(value)[None] for name, value in inputs.items()}).numpy()[0, :, 0]
    return said.astype(np.float64), own[:, :, 0]


def test_a_zero_shot_track_is_mixed_from_what_networks_say_of_all_tracks_and_of_familiar_ones(tmp_path):
    trained, store = trained_on(tmp_path)
    pairs = [("mouse", f"b{b}", LACKING) for b in range(3)]
    found = predictor(trained, pairs, store)(0, BINS, slice(0, 3))
    axis, model = trained.axis, trained.model
    ready = get_ready(trained, pairs, store, panels_of(model, axis))
    at, panel = ready.at, ready.panels[ready.at]
    lacking, unfamiliar = axis.assay_index([LACKING, UNFAMILIAR])
    shares, moments = model.mixture.numpy()[at], model.moments.numpy()[at, lacking]
    networks = shares[0] * expected_share(model.hidden_agreement.numpy()[1 - at, lacking])
    windows = ready.windows((0, BINS))
    for target, track in zip(ready.targets, found, strict=True):
        every, own = of_networks(model, panel, windows, target)
        familiar, _ = of_networks(model, panel, windows, without(target, panel.assay != unfamiliar))
        share = FAMILIAR_SHARE * 2 / 3
        expected = networks * (1 - share) * (every - moments[0, 0]) / moments[0, 1]
        expected += networks * share * (familiar - moments[1, 0]) / moments[1, 1]
        expected += shares[1] * own @ mean_of_tracks(panel, target.own)
        np.testing.assert_allclose(track, target.scale[0] + target.scale[1] * expected, atol=2e-4)
        assert np.abs(every - familiar).max() > 0.01
