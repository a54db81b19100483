"""Write bigWig files: sections, zoom levels and indexes, in one pass and in bounded memory.

The layout is that of Kent et al., Bioinformatics 2010 (supplementary tables 5 to 15), in little-endian order.
Sections have type bedGraph.
docs/architecture.md says why no library is used; `python -m benchmarks.export` compares with two libraries.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from epixs.tracks.bigwig import CHROM_TREE_MAGIC, HEADER, HEADER_BYTES, INDEX_MAGIC
from epixs.tracks.sniff import BIGWIG_MAGIC

try:
    import deflate
except ImportError:  # pragma: no cover
    deflate = None

VERSION = 4

BEDGRAPH = 1
"""Type of a section whose items are start, end and value."""

ITEMS_PER_SECTION = 1024

NODE_ITEMS = 256
"""Maximum number of items per tree node."""

FIRST_ZOOM, ZOOM_STEP, MOST_ZOOMS = 1000, 4, 10
"""Bases per summary of the first zoom level, factor to the next level, and maximum number of levels."""

LEVEL = 1
"""Compression level. Higher ones of libdeflate take up to six times as long and save nothing here."""

IN_MEMORY = 1 << 20
"""Maximum number of bytes of a zoom level in memory. More than that goes into a temporary file."""

ITEM = np.dtype([("start", "<u4"), ("end", "<u4"), ("value", "<f4")])

SUMMARY = np.dtype(
    [(name, "<u4") for name in ("chrom", "start", "end", "bases")]
    + [(name, "<f4") for name in ("low", "high", "total", "squares")]
)

LEAF = np.dtype(
    [(name, "<u4") for name in ("start_chrom", "start", "end_chrom", "end")]
    + [("offset", "<u8"), ("size", "<u8")]
)

Ints = npt.NDArray[np.int64]

Floats = npt.NDArray[np.float64]


class Bins(NamedTuple):
    """Stretches of the genome with one value each, in genome order: arrays of one shape."""

    chrom: Ints
    start: Ints
    end: Ints
    value: npt.NDArray[np.float32]


class Spans(NamedTuple):
    """Summaries of stretches of the genome, in genome order: arrays of one shape."""

    chrom: Ints
    start: Ints
    end: Ints
    bases: Ints
    low: Floats
    high: Floats
    total: Floats
    squares: Floats


def compress(data: bytes) -> bytes:
    """Compress bytes to a zlib stream, by libdeflate if it is installed, else by the standard library."""
    return bytes(deflate.zlib_compress(data, LEVEL)) if deflate else zlib.compress(data, LEVEL)


def merged(bins: Bins) -> Bins:
    """Join neighbours that touch and have the same value.

    Examples
    --------
    >>> ints = np.array
    >>> bins = Bins(ints([0, 0, 0]), ints([0, 25, 75]), ints([25, 50, 100]), np.ones(3, np.float32))
    >>> merged(bins).start.tolist(), merged(bins).end.tolist()
    ([0, 75], [50, 100])
    """
    if not bins.start.size:
        return bins
    apart = (
        (bins.value[1:] != bins.value[:-1])
        | (bins.start[1:] != bins.end[:-1])
        | (bins.chrom[1:] != bins.chrom[:-1])
    )
    first, last = _ends_of_groups(apart)
    return Bins(bins.chrom[first], bins.start[first], bins.end[last], bins.value[first])


def summarised(spans: Spans, width: int) -> Spans:
    """Join spans that begin in the same stretch of `width` bases, counted from the chromosome's start."""
    place = spans.chrom << 32 | spans.start // width
    first, last = _ends_of_groups(place[1:] != place[:-1])
    return Spans(
        spans.chrom[first],
        spans.start[first],
        spans.end[last],
        np.add.reduceat(spans.bases, first),
        np.minimum.reduceat(spans.low, first),
        np.maximum.reduceat(spans.high, first),
        np.add.reduceat(spans.total, first),
        np.add.reduceat(spans.squares, first),
    )


def _ends_of_groups(apart: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Find the first and last index of each group; `apart` marks neighbours of different groups."""
    cuts = np.flatnonzero(apart)
    return np.concatenate([[0], cuts + 1]), np.append(cuts, apart.size)


def _columns(of: Any, which: Any) -> Any:
    """Index each array of a named tuple."""
    return type(of)(*(column[which] for column in of))


def _joined(first: Any, second: Any) -> Any:
    """Concatenate two named tuples array by array."""
    return type(second)(*map(np.concatenate, zip(first, second, strict=True))) if first else second


@dataclass
class _Sections:
    """Compressed sections that are written to a file, and the place of each on the genome."""

    file: Any
    leaves: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)
    largest: int = 0

    def write(self, data: bytes, first: tuple[int, int], last: tuple[int, int]) -> None:
        """Write a section that reaches from one `(chrom, base)` to another."""
        packed = compress(data)
        self.leaves.append((*first, *last, self.file.tell(), len(packed)))
        self.largest = max(self.largest, len(data))
        self.file.write(packed)


@dataclass
class _Zoom:
    """One zoom level: summaries of stretches of `width` bases."""

    width: int
    sections: _Sections
    last: Spans | None = None
    """The last summary, which further bins may extend."""
    waiting: list[npt.NDArray[np.void]] = field(default_factory=list)
    count: int = 0

    def add(self, spans: Spans) -> Spans:
        """Add spans, and return the summaries that are complete."""
        spans = summarised(_joined(self.last, spans), self.width)
        self.last = _columns(spans, slice(-1, None))
        return self._keep(_columns(spans, slice(-1)))

    def close(self) -> Spans | None:
        """Write the remaining records, and return the last summary."""
        spans = self._keep(self.last) if self.last else None
        self._write(1)
        return spans

    def _keep(self, spans: Spans) -> Spans:
        records = np.empty(spans.start.size, SUMMARY)
        with np.errstate(over="ignore"):  # squares of values beyond 1e19 are infinite in single precision
            for name, column in zip(Spans._fields, spans, strict=True):
                records[name] = column
        self.waiting.append(records)
        self.count += records.size
        if sum(map(len, self.waiting)) >= ITEMS_PER_SECTION:
            self._write(ITEMS_PER_SECTION)
        return spans

    def _write(self, least: int) -> None:
        """Write the waiting records as sections of at least `least` records each."""
        records = np.concatenate(self.waiting) if self.waiting else np.empty(0, SUMMARY)
        at = 0
        while records.size - at >= least:
            part = records[at : at + ITEMS_PER_SECTION]
            first, last = part[0], part[-1]
            self.sections.write(
                part.tobytes(),
                (int(first["chrom"]), int(first["start"])),
                (int(last["chrom"]), int(last["end"])),
            )
            at += part.size
        self.waiting = [records[at:]]


class BigWigWriter:
    """Context manager that writes one bigWig. Its memory grows only with the number of sections.

    Parameters
    ----------
    file
        A new binary file.
    chrom_sizes
        Length of each chromosome, in the order of the data. The file's header names all of them.
    """

    def __init__(self, file: BinaryIO, chrom_sizes: Mapping[str, int]) -> None:
        self._file = file
        longest = max(chrom_sizes.values())
        widths = [FIRST_ZOOM * ZOOM_STEP**level for level in range(MOST_ZOOMS)]
        self._zooms = [
            _Zoom(width, _Sections(tempfile.SpooledTemporaryFile(IN_MEMORY)))  # noqa: SIM115
            for width in widths
            if width == FIRST_ZOOM or width < longest
        ]
        self._open: Bins | None = None
        """The last item, which the next bins may extend."""
        self._bases, self._low, self._high = 0, np.inf, -np.inf
        self._total = self._squares = 0.0
        self._totals_at = HEADER_BYTES + 24 * len(self._zooms)
        self._tree_at = self._totals_at + 40
        file.write(bytes(self._tree_at))
        _write_chrom_tree(file, chrom_sizes)
        self._data_at = file.tell()
        file.write(bytes(8))
        self._sections = _Sections(file)

    def __enter__(self) -> BigWigWriter:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the temporary files."""
        for zoom in self._zooms:
            zoom.sections.file.close()

    def add(self, bins: Bins) -> None:
        """Write bins that lie behind all earlier ones. Values that are NaN are left out.

        Parameters
        ----------
        bins
            Bins, whose `chrom` is the index into `chrom_sizes`.
        """
        known = ~np.isnan(bins.value)
        if not known.all():
            bins = _columns(bins, known)
        if not bins.start.size:
            return
        self._summarise(bins)
        items = merged(_joined(self._open, bins))
        self._open = _columns(items, slice(-1, None))
        self._write_items(_columns(items, slice(-1)))

    def close(self) -> int:
        """Write zoom levels, indexes and header, and return the number of bases with a value."""
        if self._open:
            self._write_items(self._open)
        self._close_zooms()
        file = self._file
        index_at = file.tell()
        _write_index(file, self._sections.leaves)
        heads = [self._write_zoom(zoom) for zoom in self._zooms if zoom.count]
        largest = max([self._sections.largest, *(zoom.sections.largest for zoom in self._zooms)])
        file.write(struct.pack("<I", BIGWIG_MAGIC))
        file.seek(0)
        places = (self._tree_at, self._data_at, index_at, 0, 0, 0, self._totals_at, largest, 0)
        file.write(struct.pack("<" + HEADER, BIGWIG_MAGIC, VERSION, len(heads), *places))
        file.write(b"".join(heads))
        file.seek(self._totals_at)
        extremes = (self._low, self._high) if self._bases else (0.0, 0.0)
        file.write(struct.pack("<Qdddd", self._bases, *extremes, self._total, self._squares))
        file.seek(self._data_at)
        file.write(struct.pack("<Q", len(self._sections.leaves)))
        return self._bases

    def _summarise(self, bins: Bins) -> None:
        """Add bins to the file's totals and zoom levels. Each level is made from the one before."""
        widths, values = bins.end - bins.start, bins.value.astype(np.float64)
        totals = values * widths
        squares = values * totals
        self._bases += int(widths.sum())
        self._low, self._high = min(self._low, float(values.min())), max(self._high, float(values.max()))
        self._total += float(totals.sum())
        self._squares += float(squares.sum())
        spans = Spans(bins.chrom, bins.start, bins.end, widths, values, values, totals, squares)
        for zoom in self._zooms:
            if not spans.start.size:
                return
            spans = zoom.add(spans)

    def _close_zooms(self) -> None:
        """Close each level. Its last summary goes to the next level."""
        left: Spans | None = None
        for zoom in self._zooms:
            whole = zoom.add(left) if left else None
            left = _joined(whole, last) if (last := zoom.close()) else whole

    def _write_items(self, items: Bins) -> None:
        """Write items as sections of one chromosome each."""
        records = np.empty(items.start.size, ITEM)
        records["start"], records["end"], records["value"] = items.start, items.end, items.value
        for first, stop in _section_ends(items.chrom):
            part = records[first:stop]
            chrom, start, end = int(items.chrom[first]), int(part["start"][0]), int(part["end"][-1])
            head = struct.pack("<IIIIIBBH", chrom, start, end, 0, 0, BEDGRAPH, 0, part.size)
            self._sections.write(head + part.tobytes(), (chrom, start), (chrom, end))

    def _write_zoom(self, zoom: _Zoom) -> bytes:
        """Write a zoom level, and return its entry of the file's header."""
        file, spool = self._file, zoom.sections.file
        data_at = file.tell()
        file.write(struct.pack("<I", zoom.count))
        shift = file.tell()
        spool.seek(0)
        while data := spool.read(IN_MEMORY):
            file.write(data)
        index_at = file.tell()
        _write_index(file, [(*leaf[:4], leaf[4] + shift, leaf[5]) for leaf in zoom.sections.leaves])
        return struct.pack("<IIQQ", zoom.width, 0, data_at, index_at)


def _section_ends(chrom: Ints) -> Iterator[tuple[int, int]]:
    """Cut items into sections of one chromosome each."""
    if not chrom.size:
        return
    cuts = np.concatenate([[0], np.flatnonzero(chrom[1:] != chrom[:-1]) + 1, [chrom.size]]).tolist()
    for first, stop in pairwise(cuts):
        for at in range(first, stop, ITEMS_PER_SECTION):
            yield at, min(stop, at + ITEMS_PER_SECTION)


def _write_chrom_tree(file: BinaryIO, chrom_sizes: Mapping[str, int]) -> None:
    """Write names, numbers and lengths of chromosomes as a tree, sorted by name for look-up."""
    names = sorted((name.encode(), number, size) for number, (name, size) in enumerate(chrom_sizes.items()))
    width = max(len(name) for name, _, _ in names)
    nodes_at = file.tell() + 32
    file.write(struct.pack("<IIIIQQ", CHROM_TREE_MAGIC, NODE_ITEMS, width, 8, len(names), 0))
    items = [(name.ljust(width, b"\0"), struct.pack("<II", number, size)) for name, number, size in names]
    levels = [_nodes(items)]
    while len(levels[0]) > 1:
        levels.insert(0, _nodes([(node[0][0], b"") for node in levels[0]]))
    at = nodes_at
    for depth, nodes in enumerate(levels):
        is_leaf = depth == len(levels) - 1
        at += sum(4 + len(node) * (width + 8) for node in nodes)
        child = at
        below = iter([] if is_leaf else levels[depth + 1])
        for node in nodes:
            file.write(struct.pack("<BBH", is_leaf, 0, len(node)))
            for key, value in node:
                file.write(key + (value if is_leaf else struct.pack("<Q", child)))
                child += 0 if is_leaf else 4 + len(next(below)) * (width + 8)


def _write_index(file: BinaryIO, sections: list[tuple[int, int, int, int, int, int]]) -> None:
    """Write the tree in which readers find sections by their place on the genome."""
    leaves = np.array(sections, LEAF) if sections else np.empty(0, LEAF)
    end = file.tell()
    outer = _box(leaves) if sections else (0, 0, 0, 0)
    head = (INDEX_MAGIC, NODE_ITEMS, len(leaves), *outer, end, 1, 0)
    file.write(struct.pack("<IIQIIIIQII", *head))
    levels = [_nodes(leaves)]
    while len(levels[0]) > 1:
        levels.insert(0, _nodes(np.array([(*_box(node), 0, 0) for node in levels[0]], LEAF)))
    at = file.tell()
    for depth, nodes in enumerate(levels):
        is_leaf = depth == len(levels) - 1
        at += sum(4 + len(node) * (32 if is_leaf else 24) for node in nodes)
        child = at
        below_is_leaf = depth == len(levels) - 2
        below = iter([] if is_leaf else levels[depth + 1])
        for node in nodes:
            file.write(struct.pack("<BBH", is_leaf, 0, len(node)))
            if is_leaf:
                file.write(node.tobytes())
                continue
            for item in node:
                box = (int(item[name]) for name in ("start_chrom", "start", "end_chrom", "end"))
                file.write(struct.pack("<IIIIQ", *box, child))
                child += 4 + len(next(below)) * (32 if below_is_leaf else 24)


def _nodes(items: Any) -> list[Any]:
    """Cut items into tree nodes. No items give one empty node."""
    return [items[at : at + NODE_ITEMS] for at in range(0, max(1, len(items)), NODE_ITEMS)]


def _box(leaves: npt.NDArray[np.void]) -> tuple[int, int, int, int]:
    """Return the stretch of the genome that covers some sections, which are in order."""
    first = leaves[0]
    ends = leaves["end_chrom"].astype(np.uint64) << np.uint64(32) | leaves["end"].astype(np.uint64)
    last = leaves[int(np.argmax(ends))]
    return int(first["start_chrom"]), int(first["start"]), int(last["end_chrom"]), int(last["end"])
