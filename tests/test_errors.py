import pickle

from epixs.errors import EpixsError, TrackError


def test_message_says_got_expected_and_next_step():
    error = TrackError("x.bigWig is empty", got="0 bytes", expected="a bigWig", next_step="download it again")
    assert str(error) == "x.bigWig is empty; got 0 bytes; expected a bigWig. Download it again"
    assert isinstance(error, EpixsError)


def test_errors_survive_the_trip_from_a_worker():
    error = TrackError("x", got=1, expected=2, next_step="mend it")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is TrackError
    assert str(back) == str(error)
