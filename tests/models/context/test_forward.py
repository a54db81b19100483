"""The compiled forward pass beside the Keras model itself, on tracks of random walks with edges."""

import dataclasses

import keras
import numpy as np
import pytest

from epixs.matrices import MATRICES
from epixs.models.context.forward import forward_of
from epixs.models.context.network import ContextNetwork
from epixs.sampling.around import Target
from epixs.sampling.panel import bands_of, equations_of
from epixs.sampling.windows import Windows
from tests.models.context.asked import by_keras
from tests.worlds import a_panel

LENGTHS = [700, 1, 45]
LABELS = [(b, a) for b in range(3) for a in range(4) if (b, a) != (1, 2)]
OWN = [track for track, (b, _) in enumerate(LABELS) if b == 1]
LIKE = [[track for track, (b, a) in enumerate(LABELS) if b != 1 and a == assay] for assay in range(4)]


def some_windows():
    """Three pieces, of which the first has bins that are only looked at."""
    generator = np.random.default_rng(5)
    sums = np.zeros((len(LABELS), sum(LENGTHS) + len(LENGTHS)), np.int32)
    column = np.concatenate([[0], np.cumsum(np.array(LENGTHS) + 1)[:-1]])
    for first, length in zip(column, LENGTHS, strict=True):
        steps = generator.gamma(1, 600, (len(LABELS), length)).astype(np.int64)
        sums[:, first + 1 : first + length + 1] = np.cumsum(steps, axis=1)
    low, high = np.array([30, 0, 0]), np.array([690, 1, 45])
    return Windows(sums, None, column, np.array(LENGTHS), np.array([0, 700, 701]), low, high)


def some_panel():
    generator = np.random.default_rng(6)
    biosample, assay = np.array(LABELS, np.int32).T
    mean, spread = generator.uniform(0.2, 0.5, (2, len(LABELS))).astype(np.float32)
    likeness = [np.corrcoef(generator.normal(size=(len(LABELS), 5)) + 1) for _ in range(4)]
    relative = generator.uniform(0.3, 0.7, (3, len(LABELS)))
    return a_panel(biosample, assay, mean, spread, likeness[0], likeness[1:], relative)


def a_target(own, others):
    others = np.array(others, np.int32)
    weight = np.where(others >= 0, np.random.default_rng(7).uniform(0.5, 2, others.shape), 0)
    own, scale = np.array(own, np.int32), np.array([0.5, 2.0], np.float32)
    equations = equations_of(bands_of(some_panel(), [], 4), 1, 2, own, others)
    return Target(0, 1, 2, own, others, weight.astype(np.float32), scale, equations)


TARGETS = {
    "all there": a_target(OWN, [LIKE[2], LIKE[0], LIKE[1], LIKE[3]]),
    "some absent": a_target([OWN[0], -1, OWN[2]], [[LIKE[2][0], -1], [-1, -1], [-1, LIKE[1][0]], [-1, -1]]),
    "none of its biosample": a_target([-1], [LIKE[2], LIKE[0]]),
    "none of others": a_target(OWN, [[-1]]),
    "a mixture": dataclasses.replace(
        a_target([OWN[0], -1, OWN[2]], [LIKE[0], LIKE[1]]),
        share=0.7,
        linear=np.array([0.3, 0.0, -0.2], np.float32),
    ),
    "not named": dataclasses.replace(a_target(OWN, [LIKE[2], LIKE[0], [-1, -1]]), named=False),
    "none at all": a_target([-1, -1], [[-1], [-1]]),
}
SIZES = {
    "as by default": {},
    "one member": {"members": 1},
    "not in panels": {"token": 13, "heads": 3, "hidden": (9,), "assay_factors": 5, "members": 3},
    "wide tokens": {"token": 70, "hidden": (40,), "members": 2},
    "many heads": {"token": 8, "heads": 9, "hidden": (24, 8, 17), "members": 2},
}


def a_model(sizes):
    keras.utils.set_random_seed(1)
    sizes = {"token": 32, "heads": 4, "hidden": (64, 64), "members": 4, "assay_factors": 16} | sizes
    model = ContextNetwork(4, **sizes)
    model.build()
    generator = np.random.default_rng(2)
    for weight in model.trainable_weights:  # the others are numbers that it keeps, and does not predict with
        fan = weight.shape[-2] if len(weight.shape) > 2 else 4
        weight.assign(generator.normal(size=weight.shape) * (2 / fan) ** 0.5)
    return model


def predicted(model, windows, panel, target, in_matrices=MATRICES):
    forward = forward_of(model, in_matrices)
    return forward.predict(windows, panel.mean, panel.spread, forward.of_target(target, panel))


@pytest.mark.parametrize("in_matrices", {False, MATRICES})
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("sizes", SIZES)
def test_it_predicts_what_the_keras_model_predicts(sizes, target, in_matrices):
    model, windows, panel = a_model(SIZES[sizes]), some_windows(), some_panel()
    model.trust.assign(0.6)
    wanted = by_keras(model, windows, panel, TARGETS[target])
    found = predicted(model, windows, panel, TARGETS[target], in_matrices)
    assert np.isfinite(wanted).all()
    assert target == "none at all" or wanted.std() > 0.1
    error = 5e-5 if in_matrices else 1e-5
    np.testing.assert_allclose(found, wanted, rtol=error, atol=error * max(1.0, np.abs(wanted).max()))


def test_a_bin_has_the_same_bits_whatever_is_predicted_with_it():
    model, windows, panel = a_model({}), some_windows(), some_panel()
    target = TARGETS["some absent"]
    whole = predicted(model, windows, panel, target)
    for low, high in [(30, 31), (33, 70), (501, 690), (660, 690)]:
        part = Windows(
            windows.sums, None, windows.column[:1], windows.length[:1], windows.bin[:1],
            np.array([low]), np.array([high]),
        )  # fmt: skip
        np.testing.assert_array_equal(predicted(model, part, panel, target), whole[low - 30 : high - 30])


def test_only_the_tracks_that_are_read_need_be_there():
    model, windows, panel = a_model({}), some_windows(), some_panel()
    forward = forward_of(model)
    target = forward.of_target(TARGETS["some absent"], panel)
    read = target.tracks
    assert 0 < read.size < len(LABELS)
    few = Windows(np.ascontiguousarray(windows.sums[read]), None, *(
        getattr(windows, name) for name in ("column", "length", "bin", "low", "high")
    ))  # fmt: skip
    np.testing.assert_array_equal(
        forward.predict(few, panel.mean[read], panel.spread[read], target.reading(read)),
        forward.predict(windows, panel.mean, panel.spread, target),
    )
