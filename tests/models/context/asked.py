"""Models with arbitrary knowledge, and what they are asked by way of Keras."""

import numpy as np

from epixs.models.context.kind import KIND
from epixs.models.folder import TrainedModel, new_model
from epixs.sampling.around import Reading, read_context
from epixs.sampling.bins import Places


def model_that_knows(folder, axis, settings, names):
    """A model that was not trained, with arbitrary numbers in some of its weights."""
    model, generator = new_model(axis, settings), np.random.default_rng(0)
    with KIND.sampler(axis, settings, batch_size=512, signal_bytes=1 << 30) as sampler:
        KIND.begin(model, sampler)
    for name in names:
        weights = getattr(model, name)
        weights.assign(generator.uniform(0.1, 0.9, weights.shape))
    return TrainedModel(folder, model, axis, settings, {}, "")


def by_keras(model, windows, panel, target):
    """What the Keras model gives of the context that training reads, at all bins of windows."""
    sizes = windows.high - windows.low
    piece = np.repeat(np.arange(sizes.size), sizes)
    offset = np.concatenate([np.arange(a, b) for a, b in zip(windows.low, windows.high, strict=True)])
    own, others, base = read_context(panel, windows, Reading(target, Places(piece, offset)))
    like = target.others.max(axis=1)
    inputs = {
        "own": own,
        "others": others,
        "base": base,
        "own_assay": np.where(target.own >= 0, panel.assay[target.own], -1),
        "others_assay": np.where(like >= 0, panel.assay[like], -1),
        "target": np.array(target.assay),
        "scale": target.scale,
        "share": np.float32(target.share),
        "named": np.float32(target.named),
        "linear": np.zeros(target.own.size, np.float32) if target.linear is None else target.linear,
        "member": np.array(-1),
    }
    return model({name: value[None] for name, value in inputs.items()}).numpy()[0, :, 0]
