"""Read the bigWig format (header, chromosome tree, index and data blocks) and check every claim of the file.

Lengths, offsets and counts in a file are claims. Each is checked against the file's size before memory is
allocated. A tree that leads back to itself is refused. The index must list every block that it announces, so
that a damaged index cannot hide data. Both byte orders are read. The layout is described by Kent et al.,
Bioinformatics 2010 (supplementary tables 5 to 15).
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.errors import TrackError
from epixs.tracks.inflate import InflateError, in_words, inflate_run
from epixs.tracks.sniff import AGAIN, BIGWIG_MAGIC, LOOK_AT, is_magic, what_is
from epixs.tracks.source import open_source

CHROM_TREE_MAGIC = 0x78CA8C91
INDEX_MAGIC = 0x2468ACE0
HEADER = "IHHQQQHHQQIQ"
HEADER_BYTES = 64
SECTION_BYTES = 24
RUN_BYTES = 1 << 19
"""Number of bytes of the file whose data blocks are read and inflated together: a run."""

MAX_BLOCK = 1 << 20
"""Maximum size of a data block in bytes, compressed or not. The largest legal block, with 65,535 items, has
786,444 bytes."""

MAX_RUN, MOST_BLOCKS_A_RUN = 1 << 24, 1 << 12
"""Maximum size of a run's blocks when inflated, in bytes, unless it is a single block; and maximum number of
blocks per run."""

MAX_BLOCKS, MAX_CHROMS = 1 << 28, 1 << 24
"""Maximum numbers of blocks and of chromosomes per file. They exceed one value per base of the largest genome
(160 Gb) at 1,024 values per block, and the contigs of any draft. The file's size limits both claims too."""

MOST_OVER_ONE_PLACE = 8
"""Maximum number of blocks that the index may place over one base. It is normally one, and two where the
interval of a block is rounded."""

TREE_BYTES = 64
"""Maximum size of a tree's nodes per item, in bytes, all levels together: twice the normal size."""

MAX_NAME = 1 << 12
"""Maximum length of a chromosome's name in bytes."""


@dataclass(frozen=True)
class Run:
    """Consecutive data blocks, inflated and concatenated.

    Parameters
    ----------
    words
        All blocks as native uint32. Each begins with its header of `SECTION_BYTES`.
    first_word
        First word of each block in `words`, and the end of the last block; shape `(block + 1,)`.
    boxes
        Interval of each block according to the index: its first chromosome and base, and its last chromosome
        and base, as one number each (`chromosome << 32 | base`); uint64, shape `(block, 2)`.
    """

    words: npt.NDArray[np.uint32]
    first_word: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.uint64]


@dataclass
class _Tree:
    """A tree while it is read: its name, the bytes left for its nodes, and the offsets of the nodes seen."""

    name: str
    left: int
    seen: set[int] = field(default_factory=set)


class BigWig:
    """An open bigWig file, whose chromosomes and index have been read and checked.

    Parameters
    ----------
    path
        A local file or a URL.
    header_only
        Read only the chromosomes and close the file.

    Raises
    ------
    TrackError
        If the file is missing, not a bigWig, truncated or damaged.
    """

    def __init__(self, path: str | Path, *, header_only: bool = False) -> None:
        self._source = open_source(path)
        self.path, self.size = self._source.name, self._source.size
        try:
            self._read_header()
            self.chroms = self._read_chroms()
            if header_only:
                self._source.close()
                return
            self._leaves = self._read_index()
            self._starts, self._ends = (_place(self._leaves, side) for side in ("start", "end"))
            self._reached = np.maximum.accumulate(self._ends)
        except BaseException:
            self._source.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def state(self) -> list[Any]:
        """Return name, size and version of the file; they change if it is replaced."""
        return self._source.state()

    @property
    def index_bytes(self) -> int:
        """Memory that the index takes while the file is open, in bytes."""
        return int(self._leaves.nbytes + self._starts.nbytes + self._ends.nbytes + self._reached.nbytes)

    @property
    def chrom_sizes(self) -> dict[str, int]:
        """Length of each chromosome in bp."""
        return {name: size for name, (_, size) in self.chroms.items()}

    def number(self, chrom: str) -> int:
        """Return the file's own number of a chromosome."""
        return self.chroms[chrom][0]

    def runs(self, chrom: str, start: int, end: int) -> Iterator[Run]:
        """Yield, in order, the blocks with an item in `chrom:start-end`.

        Raises
        ------
        TrackError
            If a block cannot be inflated.
        """
        first, stop = self.blocks([self.number(chrom)], [start], [end])
        for _, run in self.runs_of(first, stop):
            yield run

    def blocks(
        self, numbers: npt.ArrayLike, starts: npt.ArrayLike, ends: npt.ArrayLike
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Find the first block that could have an item in each stretch, and the block after the last one.

        Parameters
        ----------
        numbers, starts, ends
            The file's number of each stretch's chromosome, its first base and the base after its last; shape
            `(stretch,)`.
        """
        chrom = np.asarray(numbers, np.uint64) << np.uint64(32)
        low, high = (chrom | np.asarray(bases, np.uint64) for bases in (starts, ends))
        first = np.searchsorted(self._reached, low, side="right")
        stop = np.searchsorted(self._starts, high)
        # Blocks are in order, so those of a stretch are neighbours. One more on either side, and all in
        # between, are read too: a damaged index could hide one of them.
        most = self._leaves.size
        return np.maximum(0, first - 1), np.minimum(np.maximum(first, stop) + 1, most)

    def runs_of(
        self, first: npt.NDArray[np.int64], stop: npt.NDArray[np.int64]
    ) -> Iterator[tuple[npt.NDArray[np.int64], Run]]:
        """Yield, in order, the blocks of some stretches, as `blocks` finds them; each is read once.

        Returns
        -------
        Numbers of a run's blocks, ascending, and the run. The blocks of one stretch follow one another.

        Raises
        ------
        TrackError
            If a block cannot be inflated.
        """
        wanted = self._wanted(first, stop)
        at = 0
        while at < wanted.size:
            run = wanted[at : at + self._run_length(wanted[at : at + MOST_BLOCKS_A_RUN])]
            yield run, self._inflated(run)
            at += run.size

    @property
    def is_remote(self) -> bool:
        """Whether the file is remote, so that `prefetch` saves time."""
        return self._source.is_remote

    def prefetch(self, numbers: npt.ArrayLike, starts: npt.ArrayLike, ends: npt.ArrayLike) -> None:
        """Announce the stretches that will be read, so that a remote file is asked for them together."""
        leaves = self._leaves[self._wanted(*self.blocks(numbers, starts, ends))]
        lows, sizes = leaves["offset"].tolist(), leaves["length"].tolist()
        self._source.prefetch([(low, low + size) for low, size in zip(lows, sizes, strict=True)])

    def release(self) -> None:
        """Free the bytes fetched, but not the index."""
        self._source.release()

    @staticmethod
    def _wanted(first: npt.NDArray[np.int64], stop: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the numbers of all blocks of some stretches, ascending, each once."""
        if not first.size:
            return first
        lowest = first.min()
        opened = np.zeros(max(int(stop.max() - lowest), 0) + 1, np.int64)
        np.add.at(opened, first - lowest, 1)
        np.add.at(opened, np.maximum(stop, first) - lowest, -1)
        wanted: npt.NDArray[np.int64] = lowest + np.flatnonzero(np.cumsum(opened))
        return wanted

    def _run_length(self, blocks: npt.NDArray[np.int64]) -> int:
        """Count the blocks that form the next run: `RUN_BYTES` of the file, or one block that is larger."""
        within = int(np.searchsorted(np.cumsum(self._leaves["length"][blocks]), RUN_BYTES))
        most = MAX_RUN // self._buffer if self._buffer else within
        return max(1, min(within, most))

    def _inflated(self, blocks: npt.NDArray[np.int64]) -> Run:
        """Read and inflate blocks; those that are contiguous in the file are read together."""
        leaves = self._leaves[blocks]
        offsets = np.concatenate([[0], np.cumsum(leaves["length"], dtype=np.int64)])
        begins = leaves["offset"].astype(np.int64)
        apart = 1 + np.flatnonzero(np.diff(begins) != np.diff(offsets[:-1]))
        parts = [
            self._read(int(begins[a]), int(offsets[b] - offsets[a]), "data blocks")
            for a, b in itertools.pairwise([0, *apart.tolist(), blocks.size])
        ]
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if self._buffer:
            raw, begins = self._inflate(data, offsets, blocks)
        else:
            raw, begins = in_words([data[a:b] for a, b in itertools.pairwise(offsets.tolist())])
        words = raw.view(f"{self.order}u4").astype(np.uint32, copy=False)
        boxes = np.stack([self._starts[blocks], self._ends[blocks]], axis=1)
        return Run(words, begins // 4, boxes)

    def _inflate(
        self, data: bytes, offsets: npt.NDArray[np.int64], blocks: npt.NDArray[np.int64]
    ) -> tuple[Any, Any]:
        try:
            return inflate_run(data, offsets, self._buffer)
        except InflateError as error:
            where = f"a block of its data near base {int(self._leaves['start'][blocks[error.block]])}"
            raise self.damaged(f"{where} cannot be inflated ({error})") from error

    def _read(self, offset: int, length: int, what: str) -> bytes:
        if length < 0 or offset < 0 or offset + length > self.size:
            raise self.damaged(f"its {what} lies at bytes {offset} to {offset + length}")
        data = self._source.read(offset, length)
        if len(data) != length:
            raise self.damaged(f"its {what} ends early")
        return data

    def damaged(self, what: str) -> TrackError:
        """Make the error for a file that contradicts itself."""
        return TrackError(
            f"{self.path} is damaged or truncated: {what}",
            got=f"a file of {self.size} bytes",
            expected="a whole bigWig",
            next_step=AGAIN,
        )

    def beyond(self, what: str, got: int, limit: int) -> TrackError:
        """Make the error for a file that may be valid but exceeds a limit of ours."""
        return TrackError(
            f"{self.path} exceeds a limit of epixs, but is not necessarily damaged: {what}",
            got=f"{got:,}",
            expected=f"{limit:,} at most",
            next_step="please report it: the limit is meant to lie beyond any real file",
        )

    def _read_header(self) -> None:
        head = self._source.read(0, min(LOOK_AT, self.size))
        if not head:
            raise TrackError(f"{self.path} is empty", got="0 bytes", expected="a bigWig", next_step=AGAIN)
        if head.lstrip()[:1] == b"<":
            raise TrackError(
                f"{self.path} is an HTML or XML page",
                got=repr(head[:20]),
                expected="a bigWig",
                next_step=AGAIN,
            )
        if not is_magic(head, BIGWIG_MAGIC):
            kind, way_out = what_is(head)
            raise TrackError(f"{self.path} is not a bigWig", got=kind, expected="a bigWig", next_step=way_out)
        if len(head) < HEADER_BYTES:
            raise self.damaged("its header ends early")
        self.order = "<" if head[:4] == struct.pack("<I", BIGWIG_MAGIC) else ">"
        fields = struct.unpack_from(self.order + HEADER, head)
        self._chrom_tree, self._data, self._index, self._buffer = fields[3], fields[4], fields[5], fields[10]
        if self._index >= self.size and self._chrom_tree:
            raise self.damaged(f"its index is said to begin at byte {self._index:,}, beyond its end")
        if self._index == 0 or self._chrom_tree == 0:
            raise TrackError(
                f"{self.path} has a header and no data",
                got="a bigWig without an index" if self._chrom_tree else "the header of a bigWig alone",
                expected="a bigWig with values",
                next_step="its writer stopped before closing the file, or wrote no value: write it again, or "
                "leave it out of the catalog",
            )
        self._buffer = min(self._buffer, MAX_BLOCK)  # some writers claim more than they ever use

    def _read_chroms(self) -> dict[str, tuple[int, int]]:
        """Read the number and the length of each chromosome."""
        head = self._read(self._chrom_tree, 32, "chromosome tree")
        magic, _, key_size, value_size, count, _ = struct.unpack(f"{self.order}IIIIQQ", head)
        if magic != CHROM_TREE_MAGIC or value_size != 8 or key_size == 0 or count > self.size // 8:
            raise self.damaged("its chromosome tree has no valid head")
        if key_size > MAX_NAME:
            raise self.beyond("bytes of a chromosome's name", key_size, MAX_NAME)
        if count > MAX_CHROMS:
            raise self.beyond("chromosomes", count, MAX_CHROMS)
        chroms: dict[str, tuple[int, int]] = {}
        waiting = [self._chrom_tree + 32]
        width = key_size + 8
        tree = _Tree("chromosome tree", min(self.size, 4 * width * (count + TREE_BYTES)))
        while waiting:
            offset = waiting.pop()
            is_leaf, items = self._read_node_head(offset, tree.name)
            self._enter(tree, offset, items * width)
            data = self._read(offset + 4, items * width, tree.name)
            for at in range(0, len(data), width):
                if not is_leaf:
                    waiting.append(struct.unpack_from(f"{self.order}Q", data, at + key_size)[0])
                    continue
                try:
                    name = data[at : at + key_size].rstrip(b"\0").decode()
                except UnicodeDecodeError as error:
                    raise self.damaged("a chromosome has no readable name") from error
                chroms[name] = struct.unpack_from(f"{self.order}II", data, at + key_size)
        if len(chroms) != count or len({number for number, _ in chroms.values()}) != count:
            raise self.damaged(f"its chromosome tree holds {len(chroms)} of {count} chromosomes")
        return chroms

    def _read_node_head(self, offset: int, what: str) -> tuple[bool, int]:
        is_leaf, reserved, items = struct.unpack(f"{self.order}BBH", self._read(offset, 4, what))
        if is_leaf > 1 or reserved:
            raise self.damaged(f"its {what} has a node of no known kind")
        return bool(is_leaf), items

    def _enter(self, tree: _Tree, offset: int, length: int) -> None:
        """Check that a node was not seen before, and that all nodes together fit into the file."""
        if offset in tree.seen:
            raise self.damaged(f"its {tree.name} leads back to itself")
        tree.seen.add(offset)
        tree.left -= 4 + length
        if tree.left < 0:  # the nodes overlap, or a server invents ever more of them
            raise self.damaged(f"its {tree.name} is larger than its content")

    def _read_index(self) -> npt.NDArray[np.void]:
        """Read all leaves of the index: the place of each block on the genome and in the file."""
        head = self._read(self._index, 48, "index")
        magic, _, count = struct.unpack_from(f"{self.order}IIQ", head)
        if magic != INDEX_MAGIC or count > self.size // 32:
            raise self.damaged("its index has no valid head")
        if count > MAX_BLOCKS:
            raise self.beyond("data blocks", count, MAX_BLOCKS)
        box = [(name, f"{self.order}u4") for name in ("start_chrom", "start", "end_chrom", "end")]
        branch = np.dtype([*box, ("child", f"{self.order}u8")])
        leaf = np.dtype([*box, ("offset", f"{self.order}u8"), ("length", f"{self.order}u8")])
        leaves: list[bytes] = []
        waiting: list[tuple[int, tuple[int, int] | None]] = [(self._index + 48, None)]
        tree = _Tree("index", min(self.size, TREE_BYTES * (count + 4096)))
        while waiting:
            offset, outer = waiting.pop()
            is_leaf, items = self._read_node_head(offset, tree.name)
            kind = leaf if is_leaf else branch
            self._enter(tree, offset, items * kind.itemsize)
            data = self._read(offset + 4, items * kind.itemsize, tree.name)
            node = np.frombuffer(data, kind)
            starts, ends = _place(node, "start"), _place(node, "end")
            if outer is not None and items and (starts.min() < outer[0] or ends.max() > outer[1]):
                raise self.damaged("a part of its index lies outside the part that points to it")
            if is_leaf:
                leaves.append(data)
            else:
                boxes = zip(starts.tolist(), ends.tolist(), strict=True)
                waiting.extend(reversed(list(zip(node["child"].tolist(), boxes, strict=True))))
        blocks = np.frombuffer(b"".join(leaves), leaf)
        if blocks.size != count:
            raise self.damaged(f"its index holds {blocks.size} of {count} blocks")
        starts = _place(blocks, "start")
        reached = np.maximum.accumulate(_place(blocks, "end"))
        if np.any(starts > _place(blocks, "end")) or np.any(starts[1:] < starts[:-1]):
            raise self.damaged("its index is out of order")
        if np.any(starts[MOST_OVER_ONE_PLACE:] < reached[:-MOST_OVER_ONE_PLACE]):
            raise self.beyond("data blocks over one another", MOST_OVER_ONE_PLACE + 1, MOST_OVER_ONE_PLACE)
        in_file = blocks[np.argsort(blocks["offset"], kind="stable")]
        ends = in_file["offset"] + in_file["length"]
        if blocks.size and (in_file["offset"][0] < self._data or ends.max() > self.size):
            raise self.damaged("its index points outside the file")
        if np.any(ends[:-1] > in_file["offset"][1:]):
            raise self.damaged("its index points to the same bytes twice")
        if blocks.size and blocks["length"].max() > MAX_BLOCK:
            raise self.damaged("its index points to a block of impossible size")
        return blocks


def chrom_sizes_of(path: str | Path) -> dict[str, int]:
    """Read the length of each chromosome that a bigWig lists; its index and data are not read.

    Raises
    ------
    TrackError
        If it is not a bigWig, or its header is damaged.
    """
    return BigWig(path, header_only=True).chrom_sizes


def _place(boxes: npt.NDArray[np.void], side: str) -> npt.NDArray[np.uint64]:
    """Return the start or the end of genomic intervals as one number each: chromosome first, then base."""
    chrom, base = boxes[f"{side}_chrom"], boxes[side]
    return (chrom.astype(np.uint64) << np.uint64(32)) | base.astype(np.uint64)
