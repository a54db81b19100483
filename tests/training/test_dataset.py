import gc
import weakref

import numpy as np
import pytest

from epixs.axis.join import joint_axis
from epixs.models.avocado.network import build_model
from epixs.models.avocado.optimizer import RowwiseAdam
from epixs.sampling import Sampler
from epixs.training.dataset import held_out_dataset, training_dataset


@pytest.fixture(scope="module")
def sampler(world):
    return Sampler(
        joint_axis([world.store("mouse")]), batch_size=600, experiments_per_position=2, held_out=0.1
    )


def test_stream_is_the_samplers_batches_epoch_after_epoch(sampler):
    steps = sampler.steps_per_epoch
    stream = list(training_dataset(sampler).take(steps + 2))
    for counter, (inputs, value, weight) in enumerate(stream):
        batch = sampler.batch(*divmod(counter, steps))
        assert np.array_equal(inputs["position"], batch.position)
        assert np.array_equal(inputs["assay"], batch.assay)
        assert np.array_equal(value[..., 0], batch.value)
        assert np.array_equal(weight, batch.weight)


def test_stream_can_start_at_any_epoch(sampler):
    inputs, _, _ = next(iter(training_dataset(sampler, first_epoch=3)))
    assert np.array_equal(inputs["position"], sampler.batch(3, 0).position)


def test_shapes_are_known_to_keras(sampler):
    inputs, value, weight = training_dataset(sampler).element_spec
    assert inputs["position"].shape == (300, 3)
    assert inputs["biosample"].shape == (300, 2)
    assert value.shape == (300, 2, 1)
    assert weight.shape == (300, 2)


def test_held_out_dataset_ends(sampler):
    batches = list(held_out_dataset(sampler, count=500, batch_size=200))
    assert 400 <= sum(len(value) for _, value, _ in batches) <= 520


def test_a_dataset_keeps_its_sampler_and_nothing_else_does(world):
    axis = joint_axis([world.store("mouse")])
    stream = iter(training_dataset(Sampler(axis, batch_size=600)).take(3))
    gc.collect()
    assert len(list(stream)) == 3
    sampler = Sampler(axis, batch_size=600)
    next(iter(training_dataset(sampler)))
    gone = weakref.ref(sampler)
    del sampler
    gc.collect()
    assert gone() is None


def test_a_trained_model_leaves_nothing_behind(world):
    axis = joint_axis([world.store("mouse")])

    def train():
        model = build_model(axis, hidden=(8, 8), genome_dropout=0.1)
        model.compile(optimizer=RowwiseAdam(1e-3), loss="mse")
        with Sampler(axis, batch_size=600) as sampler:
            model.fit(training_dataset(sampler), steps_per_epoch=2, shuffle=False, verbose=0)
        return [weakref.ref(table.value.handle) for table in model.genome.tables]

    tables = train()
    gc.collect()
    assert [table() for table in tables] == [None] * 3
