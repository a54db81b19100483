import threading

import numpy as np
import pytest

from epixs.axis.join import joint_axis
from epixs.models.folder import new_model
from epixs.models.kinds import kind_named
from epixs.models.settings import make_settings
from epixs.sampling import Sampler
from epixs.training.probe import seconds_per_step


@pytest.fixture
def ready(world):
    """A compiled model with dropout, and a sampler."""
    axis = joint_axis([world.store("mouse")])
    config = make_settings("avocado", hidden=(8, 8), genome_dropout=0.3)
    model = new_model(axis, config)
    kind_named("avocado").compile(model, config, 100)
    return model, Sampler(axis, batch_size=500)


def test_timing_leaves_no_trace(ready):
    model, sampler = ready
    before = [variable.numpy() for variable in model.variables + model.optimizer.variables]
    assert seconds_per_step(model, sampler, interrupted=threading.Event()) > 0
    after = [variable.numpy() for variable in model.variables + model.optimizer.variables]
    assert len(before) == len(after)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert not model.stop_training


def test_timing_ends_when_time_is_up_or_ctrl_c_was_pressed(ready):
    model, sampler = ready
    assert seconds_per_step(model, sampler, most_seconds=0.0, interrupted=threading.Event()) > 0
    assert not model.stop_training
    pressed = threading.Event()
    pressed.set()
    with pytest.raises(KeyboardInterrupt):
        seconds_per_step(model, sampler, interrupted=pressed)
