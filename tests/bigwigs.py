"""bigWigs for tests, with pyBigWig and by hand: what pyBigWig does not write."""

from __future__ import annotations

import struct
from math import nan as NAN
from pathlib import Path

import numpy as np
import pyBigWig

KINDS = {
    # Type, step and span of the section; format and content of its items. All say the same.
    "bedGraph": (1, 0, 0, "IIf", [(0, 10, 1.5), (25, 45, 3.0)]),
    "variableStep": (2, 0, 5, "If", [(0, 1.5), (5, 1.5), (25, 3.0), (30, 3.0), (35, 3.0), (40, 3.0)]),
    "fixedStep": (3, 5, 5, "f", [(v,) for v in (1.5, 1.5, NAN, NAN, NAN, 3.0, 3.0, 3.0, 3.0)]),
}


SIZES = {"chr1": 10_010, "chr2": 5_000}


def write_intervals(path: Path, intervals, sizes: dict[str, int] = SIZES) -> Path:
    """Write intervals `(chrom, start, end, value)`."""
    file = pyBigWig.open(str(path), "w")
    file.addHeader(list(sizes.items()), maxZooms=0)
    if intervals:
        chroms, starts, ends, values = zip(*intervals, strict=True)
        file.addEntries(
            list(chroms), list(starts), ends=list(ends), values=[float(np.float32(v)) for v in values]
        )
    file.close()
    return path


def write_uncompressed(out: Path, order: str, kind: str) -> Path:
    """Write a file of one uncompressed block on one chromosome of 10,010 bases.

    Parameters
    ----------
    order
        `"<"` little-endian, `">"` big-endian.
    kind
        One of `KINDS`.
    """
    number, step, span, form, items = KINDS[kind]
    name = b"chr1"
    tree_at, data_at = 64, 64 + 32 + 4 + len(name) + 8
    block = struct.pack(f"{order}IIIIIBBH", 0, 0, 45, step, span, number, 0, len(items))
    block += b"".join(struct.pack(order + form, *item) for item in items)
    index_at = data_at + 8 + len(block)
    head = struct.pack(f"{order}IHHQQQHHQQIQ", 0x888FFC26, 4, 0, tree_at, data_at, index_at, 0, 0, 0, 0, 0, 0)
    tree = struct.pack(f"{order}IIIIQQ", 0x78CA8C91, 1, len(name), 8, 1, 0)
    tree += struct.pack(f"{order}BBH", 1, 0, 1) + name + struct.pack(f"{order}II", 0, 10_010)
    index = struct.pack(f"{order}IIQIIIIQII", 0x2468ACE0, 1, 1, 0, 0, 0, 45, index_at, 1, 0)
    index += struct.pack(f"{order}BBH", 1, 0, 1)
    index += struct.pack(f"{order}IIIIQQ", 0, 0, 0, 45, data_at + 8, len(block))
    out.write_bytes(head + tree + struct.pack(f"{order}Q", 1) + block + index)
    return out
