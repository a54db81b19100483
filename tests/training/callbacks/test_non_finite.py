import numpy as np
import pytest

from epixs.errors import TrainingError
from epixs.training.callbacks import StopOnNonFinite
from epixs.training.callbacks.non_finite import largest_entry


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_the_step_and_the_largest_entry_are_named(axis, sampler, loss):
    callback = StopOnNonFinite(sampler)
    callback.set_params({"steps": sampler.steps_per_epoch})
    callback.on_epoch_begin(1)
    callback.on_train_batch_end(0, {"loss": 0.5})
    expected = largest_entry(axis, sampler.batch(1, 1))
    with pytest.raises(TrainingError) as stopped:
        callback.on_train_batch_end(1, {"loss": loss})
    assert str(stopped.value).startswith(f"the loss became {loss} in epoch 2, step 2; got {expected};")


def test_the_entry_is_that_of_the_largest_value(axis, sampler):
    batch = sampler.batch(0, 0)
    batch.value[:] = 0
    batch.value[7, 0] = -9.5
    labels = f"b{batch.biosample[7, 0]} / {axis.assays[batch.assay[7, 0]]}"
    assert largest_entry(axis, batch) == (
        f"a batch whose largest value is -9.50 arcsinh units, of mouse / {labels}"
    )
    assert np.abs(batch.value).argmax() == 7
