"""Read loci as people write them: `chr19:3,000,000-3,100,000`."""

from __future__ import annotations

import re

from epixs.errors import RegionError

MAX_CHROMOSOME = 2**32 - 1
"""Largest coordinate that a bigWig can hold."""

_LOCUS = re.compile(r"^\s*([^\s:]+)\s*(?::\s*([\d,]+)\s*-\s*([\d,]+)\s*)?$")


def parse_locus(text: str) -> tuple[str, int, int]:
    """Read `"chr19:3,000,000-3,100,000"` (0-based, half-open, commas optional) or a bare `"chr19"`.

    Raises
    ------
    RegionError
        If the text is neither, or its start does not lie before its end.

    Examples
    --------
    >>> parse_locus("chr19:3,000,000-3,100,000")
    ('chr19', 3000000, 3100000)
    """
    match = _LOCUS.match(text)
    if match is None:
        raise RegionError("locus", got=repr(text), expected="for instance 'chr19:3,000,000-3,100,000'")
    chrom = match.group(1)
    if match.group(2) is None:
        return chrom, 0, MAX_CHROMOSOME
    start, end = (int(match.group(i).replace(",", "") or 0) for i in (2, 3))
    if start >= end:
        raise RegionError("locus", got=repr(text), expected="a start before its end")
    return chrom, start, end
