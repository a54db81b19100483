"""bigWigs for tests, with pyBigWig and by hand: what pyBigWig does not write."""

from __future__ import annotations

import struct
import zlib
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


def write_blocks(path: Path, blocks, sizes: dict[str, int] = SIZES, *, compressed: bool = True) -> Path:
    """Write bedGraph blocks as given: each the intervals `(chrom, start, end, value)` of one chromosome, in order."""
    width = max(map(len, sizes))
    numbers = {chrom: number for number, chrom in enumerate(sizes)}
    names = (name.encode().ljust(width, b"\0") for name in sizes)
    items = (
        name + struct.pack("<II", i, n) for i, (name, n) in enumerate(zip(names, sizes.values(), strict=True))
    )
    tree = struct.pack("<IIIIQQ", 0x78CA8C91, len(sizes), width, 8, len(sizes), 0)
    tree += struct.pack("<BBH", 1, 0, len(sizes)) + b"".join(items)
    data_at = 64 + len(tree)
    data, leaves = b"", b""
    for block in blocks:
        number, low, high = numbers[block[0][0]], block[0][1], block[-1][2]
        raw = struct.pack("<IIIIIBBH", number, low, high, 0, 0, 1, 0, len(block))
        raw += b"".join(struct.pack("<IIf", start, end, value) for _, start, end, value in block)
        packed = zlib.compress(raw) if compressed else raw
        leaves += struct.pack("<IIIIQQ", number, low, number, high, data_at + 8 + len(data), len(packed))
        data += packed
    index_at = data_at + 8 + len(data)
    index = struct.pack("<IIQIIIIQII", 0x2468ACE0, 256, len(blocks), 0, 0, len(sizes), 0, index_at, 1, 0)
    index += struct.pack("<BBH", 1, 0, len(blocks)) + leaves
    places = (0, 64, data_at, index_at)
    head = struct.pack("<IHHQQQHHQQIQ", 0x888FFC26, 4, *places, 0, 0, 0, 0, 32_768 if compressed else 0, 0)
    path.write_bytes(head + tree + struct.pack("<Q", len(blocks)) + data + index)
    return path
