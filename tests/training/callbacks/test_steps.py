from epixs.training.callbacks.steps import StepCallback


def test_steps_of_an_epoch_that_is_begun_in_the_middle_count_from_there():
    callback = StepCallback(10)
    callback.set_params({"steps": 4, "epochs": 3})
    callback.on_epoch_begin(2)
    assert (callback.step, callback.steps_done) == (6, 26)
    callback.on_train_batch_end(0)
    assert (callback.step, callback.steps_done) == (7, 27)
    assert callback.steps_per_second > 0
    callback.set_params({"steps": 10, "epochs": 3})
    callback.on_epoch_begin(3)
    assert callback.steps_done == 30
