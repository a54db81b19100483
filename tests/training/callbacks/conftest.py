"""A small model and what draws its batches."""

from types import SimpleNamespace

import keras
import pytest

from epixs.axis.join import joint_axis
from epixs.models.avocado.network import build_model
from epixs.models.avocado.optimizer import RowwiseAdam
from epixs.sampling import Sampler
from tests.worlds import planted, write_store


@pytest.fixture(scope="package")
def axis(tmp_path_factory):
    labels = [(f"b{b}", f"a{a}") for b in range(3) for a in range(3)]
    return joint_axis([write_store(tmp_path_factory.mktemp("s") / "s.zarr", planted(1, 3, 3), labels=labels)])


@pytest.fixture
def sampler(axis):
    with Sampler(axis, batch_size=600, held_out=0.1) as sampler:
        yield sampler


@pytest.fixture
def make_model(axis):
    def make():
        keras.utils.set_random_seed(0)
        model = build_model(axis, hidden=(8, 8))
        model.compile(optimizer=RowwiseAdam(1e-3, row_multiplier=10.0), loss="mse")
        return model

    return make


@pytest.fixture
def told():
    """What a callback may touch of a model, without one."""
    return SimpleNamespace(stop_training=False, optimizer=SimpleNamespace(learning_rate=0.5))
