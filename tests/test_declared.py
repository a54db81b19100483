import json
from typing import Annotated, Literal, NotRequired, TypedDict

import pytest
from msgspec import Meta

from epixs.declared import Count, Finite, checked, parsed, read_json_file, shortened
from epixs.errors import StoreError


class Row(TypedDict):
    kind: Literal["a", "b"]
    number: Count
    share: NotRequired[Finite]


class Table(TypedDict):
    rows: Annotated[list[Row], Meta(min_length=1)]
    names: NotRequired[dict[str, Row]]


GOOD = {"kind": "a", "number": 1}


def test_what_fits_is_converted_and_what_nobody_knows_is_left_out():
    content = {"rows": [GOOD | {"share": 1, "strange": 2}], "else": 3}
    assert checked(Table, content, "t", StoreError) == {"rows": [GOOD | {"share": 1.0}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (5, "t is damaged; got 5; expected object"),
        ({}, "t is damaged; got no rows"),
        ({"rows": []}, "t is damaged: rows; got []; expected array of length >= 1"),
        ({"rows": [GOOD, GOOD | {"number": -1}]}, "t is damaged: rows[1].number; got -1; expected int >= 0"),
        ({"rows": [GOOD | {"number": True}]}, "t is damaged: rows[0].number; got True; expected int"),
        ({"rows": [GOOD | {"kind": "c\nd - at `$`"}]}, "t is damaged: rows[0].kind; got 'c\\nd - at `$`'; expected another value"),
        ({"rows": [GOOD], "names": {"x": GOOD | {"kind": "c"}}}, "t is damaged: names[...].kind; expected another value"),
        ({"rows": [GOOD], "names": {"x": 5}}, "t is damaged: names[...]; got int; expected object"),
        ({"rows": [GOOD], "names": {1: GOOD}}, "t is damaged: key in $.names; got int; expected str"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_by_its_path(content, message):
    with pytest.raises(StoreError) as refused:
        checked(Table, content, "t is damaged", StoreError, "make it again")
    assert str(refused.value) == f"{message}. Make it again"


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("", "JSONDecodeError"),
        ('{"kind": "a"', "JSONDecodeError"),
        ("[" * 100_000, "RecursionError"),
        ("1" * 5_000, "ValueError"),
        (b"\xff\x00\x01", "UnicodeDecodeError"),
        ('{"kind": "a", "number": 1, "number": 2}', "ValueError: 'number' comes twice"),
        ("NaN", "nan; expected object"),
    ],
)
def test_what_is_no_json_or_says_something_twice_is_refused(text, got, tmp_path):
    with pytest.raises(StoreError, match=f"^t; got {got}"):
        parsed(Row, text, "t", StoreError)
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(StoreError, match=f"a.json is damaged; got {got}"):
        read_json_file(Row, path, 1 << 20, StoreError)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(GOOD))
    assert read_json_file(Row, path, 30, StoreError) == GOOD
    with pytest.raises(StoreError, match="a.json is too large; got 26 bytes; expected at most 25"):
        read_json_file(Row, path, 25, StoreError)


def test_values_are_shown_on_one_short_line():
    assert shortened([1, "a b"]) == "[1, 'a b']"
    assert shortened("a\nb") == "'a\\nb'"
    assert len(shortened("x" * 1_000)) < 50


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), "1", None])
def test_numbers_that_are_none(value):
    with pytest.raises(StoreError, match="share"):
        checked(Row, GOOD | {"share": value}, "t", StoreError)
