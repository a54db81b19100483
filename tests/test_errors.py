import pickle

import pytest

from epixs.errors import EpixsError, TrackError, closest


def test_message_says_got_expected_and_next_step():
    error = TrackError("x.bigWig is empty", got="0 bytes", expected="a bigWig", next_step="download it again")
    assert str(error) == "x.bigWig is empty; got 0 bytes; expected a bigWig. Download it again"
    assert isinstance(error, EpixsError)


def test_errors_survive_the_trip_from_a_worker():
    error = TrackError("x", got=1, expected=2, next_step="mend it")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is TrackError
    assert str(back) == str(error)


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ("name another", "Name another"),
        ("swap them: x", "Swap them: x"),
        ("catalog/README.md lists them", "catalog/README.md lists them"),
        ("`epixs info` lists them", "`epixs info` lists them"),
        ("--out names it", "--out names it"),
    ],
)
def test_a_next_step_is_a_sentence_but_paths_stay_as_they_are(step, sentence):
    assert str(EpixsError("x", next_step=step)) == f"x. {sentence}"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("livr", " (did you mean 'liver'?)"),
        ("H3K4me3", " (did you mean 'ChIP-seq_H3K4me3_signal_p-value'?)"),
        ("banana", ""),
        ("", ""),
    ],
)
def test_the_closest_known_name(name, meant):
    assert closest(name, ["liver", "heart", "ChIP-seq_H3K4me3_signal_p-value"]) == meant
