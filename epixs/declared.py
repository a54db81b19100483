"""Check the content of files against declared types; an error names the first field that does not fit."""

from __future__ import annotations

import json
import re
import reprlib
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from epixs.errors import EpixsError

Count = Annotated[int, Meta(ge=0, lt=1 << 62)]
"""Whole number that fits into 64 bits, also after adding up a few."""

Finite = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
"""Number that is neither NaN nor infinite."""


MOST_SHOWN = 200
"""Number of characters of a value shown in an error."""


def checked(
    kind: Any, content: object, problem: str, error: type[EpixsError], next_step: str | None = None
) -> Any:
    """Convert content of JSON or TOML to a declared type: a dataclass, a `TypedDict`, or one made of these.

    Raises
    ------
    EpixsError
        Of type `error`, with `problem` and the path of the first field that does not fit.
    """
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as refused:
        # A value in the message may itself look like " - at ...", so the last one counts.
        text, at, place = str(refused).replace("`", "").rpartition(" - at ")
        text, path = (text, place.removeprefix("$").removeprefix(".")) if at else (place, "")
        known = "[...]" not in path and not path.startswith("key ")  # msgspec names no key of a mapping
        expected, _, got = text.removeprefix("Expected ").partition(", got ")
        if text.startswith(("Invalid enum value ", "Number out of range")):
            expected, got = "another value", ""
        if text.startswith("Object missing required field "):
            got, expected = f"no {text.split()[-1]}", ""
        elif known:
            got = reprlib.repr(_value_at(content, path))
        where = problem + (path if path.startswith("[") else f": {path}" if path else "")
        raise error(where, got=got or None, expected=expected or None, next_step=next_step) from refused


def shortened(value: object) -> str:
    """Return a value as one short line of printable text."""
    text = str(value)
    return text if text.isprintable() and len(text) < MOST_SHOWN else reprlib.repr(value)


def parsed(
    kind: Any, text: str | bytes, problem: str, error: type[EpixsError], next_step: str | None = None
) -> Any:
    """Parse JSON and convert it with `checked`; a name that comes twice in an object is refused."""
    try:
        content = json.loads(text, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as refused:
        raise error(problem, got=f"{type(refused).__name__}: {refused}", next_step=next_step) from refused
    return checked(kind, content, problem, error, next_step)


def read_json_file(
    kind: Any, path: Path, most_bytes: int, error: type[EpixsError], next_step: str | None = None
) -> Any:
    """Read a JSON file with `parsed`; a file of more than `most_bytes` is refused."""
    size = path.stat().st_size
    if size > most_bytes:
        raise error(f"{path} is too large", got=f"{size:,} bytes", expected=f"at most {most_bytes:,} bytes")
    return parsed(kind, path.read_bytes(), f"{path} is damaged", error, next_step)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    by_name = dict(pairs)
    if len(by_name) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{reprlib.repr(next(n for n in names if names.count(n) > 1))} comes twice")
    return by_name


def _value_at(content: Any, path: str) -> Any:
    """Return the value at a path such as `species[0].regions[3]`."""
    for index, name in re.findall(r"\[(\d+)\]|([^.\[\]]+)", path):
        content = content[int(index) if index else name]
    return content
