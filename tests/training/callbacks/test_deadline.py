import time

from epixs.training.callbacks import Deadline


def test_training_stops_after_the_deadline_and_not_before(told):
    for at, stops in ((time.monotonic() + 3600, False), (time.monotonic() - 1, True), (float("inf"), False)):
        callback = Deadline(at)
        callback.set_model(told)
        callback.on_train_batch_end(0)
        assert (told.stop_training, callback.has_passed) == (stops, stops)
        told.stop_training = False
