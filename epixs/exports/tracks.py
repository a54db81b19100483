"""Some rows of a compendium as bigWig files, each of them there as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.compendium.transform import decode
from epixs.errors import StoreError
from epixs.exports.bigwig import BigWigWriter, Bins
from epixs.exports.places import Place, blocks_of, coordinates, stretches_of
from epixs.exports.source import Signal, Source

PARTIAL = "partial-"
"""How the names of files begin that are not whole yet."""

STEPS = 64
"""Steps per arcsinh unit in which values are counted, for limits of a view."""

MOST_UNITS = 100.0
"""Arcsinh units beyond what a track can hold: in single precision, the hyperbolic sine of 89 is infinite."""

IN_VIEW = 0.001
"""Share of bins that a view may cut off at its top, and at its bottom."""


@dataclass(frozen=True, eq=False)
class TrackTask:
    """Rows of a source that one worker writes, reading them together.

    Parameters
    ----------
    source, rows, lines
        What is written: of each row one of `source.LINES`.
    files
        The file of each row.
    places, chrom_sizes
        Which bins, and the chromosomes of the files.
    raw
        Whether values are in the tracks' own units.
    """

    source: Source
    rows: tuple[int, ...]
    lines: tuple[str, ...]
    files: tuple[str, ...]
    places: list[Place]
    chrom_sizes: Mapping[str, int]
    raw: bool


@dataclass
class _Seen:
    """How often each value was written, in steps of an arcsinh unit."""

    counts: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(2 * int(MOST_UNITS) * STEPS + 1, np.int64)
    )

    def add(self, values: Signal) -> None:
        steps = np.rint(np.clip(values, -MOST_UNITS, MOST_UNITS) * STEPS).astype(np.int64)
        self.counts += np.bincount(steps + self.counts.size // 2, minlength=self.counts.size)

    def limits(self) -> tuple[float, float]:
        """Values in arcsinh units between which all but a few bins lie; 0 always does."""
        reached = np.cumsum(self.counts) / max(1, int(self.counts.sum()))
        low, high = np.searchsorted(reached, [IN_VIEW, 1 - IN_VIEW])
        middle = self.counts.size // 2
        return min(0.0, (low - middle) / STEPS), max(0.0, (high - middle) / STEPS)


def write_tracks(task: TrackTask, moved: Callable[[int], None] | None = None) -> list[dict[str, Any] | None]:
    """Write the bigWigs of a task.

    Parameters
    ----------
    task
        What to write.
    moved
        Called with the number of bins after each block.

    Returns
    -------
    For each row, limits of a view (`low`, `high`, in the file's units), `bases` with a value, and the file's
    `size`; None, and no file, where it has no value at all.

    Raises
    ------
    StoreError
        If a value is missing where none may be, or is too large for a track.
    """
    read = task.source.reader(task.rows, task.lines)
    signals = [line == "signal" for line in task.lines]
    found: list[dict[str, Any] | None] = []
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(_new_file(Path(path))) for path in task.files]
        writers = [stack.enter_context(BigWigWriter(file, task.chrom_sizes)) for file in files]
        seen = [_Seen() for _ in files]
        for block in blocks_of(task.places):
            chrom, start, end = coordinates(block)
            values = np.concatenate([read(*stretch) for stretch in stretches_of(block)], axis=1)
            for row, is_signal, signal, writer, counts in zip(
                task.rows, signals, values, writers, seen, strict=True
            ):
                _check(task.source, row, signal, whole=is_signal and not task.source.has_gaps)
                counts.add(signal[~np.isnan(signal)])
                shown = decode(signal).astype(np.float32) if task.raw else signal
                writer.add(Bins(chrom, start, end, shown))
            if moved:
                moved(chrom.size * len(files))
        for path, file, writer, counts in zip(task.files, files, writers, seen, strict=True):
            bases = writer.close()
            low, high = counts.limits()
            if task.raw:
                low, high = float(np.sinh(low)), float(np.sinh(high))
            file.flush()
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
            found.append({"low": low, "high": high, "bases": bases, "size": size} if bases else None)
            if bases:
                os.replace(file.name, path)
    return found


def _check(source: Source, row: int, values: Signal, *, whole: bool) -> None:
    """Refuse values that would be wrong or unreadable in a track."""
    missing = np.isnan(values)
    if whole and missing.any():
        raise StoreError(
            f"{source.name}: {source.labels['accession'][row]} lacks values",
            got=f"{int(missing.sum()):,} bins without one",
            expected="a value in every bin",
            next_step=f"check the store: `epixs verify {source.name}`",
        )
    largest = float(np.max(np.abs(values[~missing]), initial=0.0))
    if not largest < np.arcsinh(np.finfo(np.float32).max):
        raise StoreError(
            f"{source.name}: {source.labels['accession'][row]} has a value that no track can hold",
            got=f"{largest} arcsinh units",
            next_step=f"check the store: `epixs verify {source.name}`",
        )


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[Any]:
    """A file under a name that says it is not whole yet; whatever is left under that name goes away."""
    partial = path.with_name(f"{PARTIAL}{path.name}")
    with contextlib.suppress(FileNotFoundError):
        partial.unlink()
    try:
        with partial.open("xb") as file:
            yield file
    finally:
        partial.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Delete what an export that was killed has left in a folder."""
    for path in folder.rglob(f"{PARTIAL}*"):
        if path.is_file() or path.is_symlink():
            path.unlink()
