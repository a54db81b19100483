import pytest
from hypothesis import given
from hypothesis import strategies as st

from epixs.exports.names import MOST_SIGNS, cut_in_middle, one_line, safe_names, told_apart


def test_plain_labels_stay_and_others_are_marked():
    plain, changed = safe_names(["liver", "left ventricle"])
    assert plain == "liver"
    assert changed.startswith("left_ventricle-")
    assert safe_names(["left ventricle", "x"])[0] == changed  # whatever else is named


@given(st.lists(st.text("ab .-", max_size=30), unique=True, max_size=8), st.integers(6, 40))
def test_shortened_labels_differ_and_are_short(labels, most):
    short = told_apart(labels, most)
    assert all(len(name) <= most for name in short)
    assert len(set(short)) == len(labels)
    if max(map(len, labels), default=0) <= most:
        assert short == labels


def test_names_that_only_differ_in_the_middle():
    names = ["forebrain embryonic 14.5 days male", "forebrain embryonic 15.5 days male", "heart adult"]
    assert told_apart(names, 12) == ["foreb.. male", "foreb.. ma~2", "heart adult"]
    assert cut_in_middle("abcdef", 2) == "ab"


HOSTILE = [
    "../../etc/passwd", "/etc/passwd", "", ".", "..", "-rf", "a\nb", "a\tb", "a b", "a_b", "A_B", "\0", "ü" * 300,
    "x" * 300, "x" * 299 + "y", "<script>", "con", "a/b", "a\\b", "%2e%2e", "~root", "$(id)", "a", "a", "A",
]  # fmt: skip


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("allowed", ["A-Za-z0-9_.+-", "A-Za-z0-9_"])
def test_hostile_labels_give_names_that_are_safe_and_differ(allowed, marked):
    names = safe_names(HOSTILE, allowed, marked=marked)
    assert len({name.lower() for name in names}) == len(HOSTILE)
    for name in names:
        assert name[0].isalpha()
        assert len(name) <= MOST_SIGNS
        assert all(sign.isascii() and (sign.isalnum() or sign in "_.+-") for sign in name)
        assert allowed.endswith("-") or not set(name) & set(".+-")


def test_a_label_made_to_look_like_anothers_name_does_not_get_it():
    (marked,) = safe_names(["left ventricle"])
    assert len(set(safe_names(["left ventricle", marked]))) == 2
    assert len(set(safe_names([marked, "left ventricle"]))) == 2


def test_text_on_one_line():
    assert one_line("a\n b\tc\x1b[0m\u202e") == "a b c [0m"
    assert one_line("abcdefghij", 8) == "abcde..."
