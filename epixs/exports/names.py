"""Make names for files and hubs from labels that people wrote."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence

from epixs.storage.fingerprint import digest

MOST_SIGNS = 120
"""Maximum number of characters of a name: file names may have 255 bytes, UCSC's tracks 128 characters."""

DIGEST_SIGNS = 8

MOST_UNCUT = 4
"""Length below which a text is only cut off: in less, nothing would be left beside the dots."""


def safe_names(labels: Sequence[str], allowed: str = r"A-Za-z0-9_.+-", *, marked: bool = True) -> list[str]:
    """Make one name per label, of allowed characters, starting with a letter, unique in upper and lower case.

    If two names would be the same, each ends with a digest of its label. If `marked`, so does a name that
    differs from its label; the name then does not depend on the other labels.

    Examples
    --------
    >>> safe_names(["heart", "left ventricle"])
    ['heart', 'left_ventricle-3ed82489']
    """
    cleaned = [_cleaned(label, allowed) for label in labels]
    count = Counter(name.lower() for name in cleaned)
    taken = {name for name in count if count[name] == 1}
    mark = "-" if allowed.endswith("-") else "_"
    names = []
    for label, name in zip(labels, cleaned, strict=True):
        if count[name.lower()] > 1 or (marked and name != label):
            taken.discard(name.lower())
            short, tries = name[: MOST_SIGNS - DIGEST_SIGNS - 1], 0
            while tries == 0 or name.lower() in taken:
                name, tries = f"{short}{mark}{digest([label, tries])[:DIGEST_SIGNS]}", tries + 1
            taken.add(name.lower())
        names.append(name)
    return names


def _cleaned(label: str, allowed: str) -> str:
    name = re.sub(rf"[^{allowed}]+|\.\.+", "_", label)[:MOST_SIGNS]
    return name if re.match(r"[A-Za-z]", name) else f"t_{name}"[:MOST_SIGNS]


def inert(text: str, most: int | None = None) -> str:
    """Make a text safe to show: one line without markup, or backslashes (which continue lines of hubs)."""
    return one_line(str(text).translate(str.maketrans('<>&"\\', "()+'/")), most) or "-"


def told_apart(labels: Sequence[str], most: int) -> list[str]:
    """Shorten labels so that they still differ.

    They lose the words that all begin with, then their middle. If two are the same then, they are numbered.

    Examples
    --------
    >>> told_apart(["forebrain_embryonic_E11.5", "forebrain_postnatal_P0"], 12)
    ['embry..E11.5', 'postnatal_P0']
    """
    words = 0
    if max(map(len, labels), default=0) > most and len(set(labels)) > 1:
        common = itertools.takewhile(lambda signs: len(set(signs)) == 1, zip(*labels, strict=False))
        begin = "".join(signs[0] for signs in common)
        words = 1 + max(begin.rfind(sign) for sign in " _-.")
    short = [cut_in_middle(label[words:] or label, most) for label in labels]
    seen: dict[str, list[str]] = {}
    for label, name in zip(labels, short, strict=True):
        if label not in seen.setdefault(name, []):
            seen[name].append(label)
    numbers = [seen[name].index(label) + 1 for label, name in zip(labels, short, strict=True)]
    return [
        name if number == 1 else f"{name[: most - 1 - len(str(number))]}~{number}"
        for name, number in zip(short, numbers, strict=True)
    ]


def cut_in_middle(text: str, most: int) -> str:
    """Shorten a text to `most` characters; `..` stands for what is missing in the middle."""
    if most < MOST_UNCUT:
        return text[:most]
    head = (most - 2) // 2
    return text if len(text) <= most else f"{text[:head]}..{text[head + 2 - most :]}"


def one_line(text: str, most: int | None = None) -> str:
    """Put a text on one line, without control characters. A text that is too long ends with `...`."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if most is None or len(line) <= most else f"{line[: most - 3].rstrip()}..."
