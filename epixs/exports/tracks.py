"""Write some rows of a compendium as bigWig files. A file appears only when it is complete."""

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
"""Prefix of the names of unfinished files."""

STEPS = 64
"""Number of steps per arcsinh unit in which values are counted, to find the limits of a view."""

MOST_UNITS = 100.0
"""Limit beyond the arcsinh units that a track can hold: sinh(89) is infinite in single precision."""

IN_VIEW = 0.001
"""Share of bins that a view may cut off at its top, and the same at its bottom."""


@dataclass(frozen=True, eq=False)
class TrackTask:
    """Rows of a source that one worker reads together and writes.

    Parameters
    ----------
    source, rows, lines
        The source, its rows, and for each row one of `source.LINES`.
    files
        The file of each row.
    places, chrom_sizes
        The bins to write, and the chromosomes of the files.
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
    """Counts of the values written, in steps of arcsinh units."""

    counts: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(2 * int(MOST_UNITS) * STEPS + 1, np.int64)
    )

    def add(self, values: Signal) -> None:
        steps = np.rint(np.clip(values, -MOST_UNITS, MOST_UNITS) * STEPS).astype(np.int64)
        self.counts += np.bincount(steps + self.counts.size // 2, minlength=self.counts.size)

    def limits(self) -> tuple[float, float]:
        """Return the limits, in arcsinh units, between which all but a few bins lie, and always 0."""
        reached = np.cumsum(self.counts) / max(1, int(self.counts.sum()))
        low, high = np.searchsorted(reached, [IN_VIEW, 1 - IN_VIEW])
        middle = self.counts.size // 2
        return min(0.0, (low - middle) / STEPS), max(0.0, (high - middle) / STEPS)


def write_tracks(task: TrackTask, moved: Callable[[int], None] | None = None) -> list[dict[str, Any] | None]:
    """Write the bigWigs of a task.

    Parameters
    ----------
    task
        Rows to write.
    moved
        Called after each block, with its number of bins.

    Returns
    -------
    For each row, limits of a view (`low`, `high`, in the file's units), the number of `bases` with a value,
    and the file's `size`. A row without any value gives None, and no file.

    Raises
    ------
    StoreError
        If a value is missing where none may be missing, or is too large for a track.
    """
    read = task.source.reader(task.rows, task.lines)
    signals = [line == "signal" for line in task.lines]
    summaries: list[dict[str, Any] | None] = []
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
                in_units = decode(signal).astype(np.float32) if task.raw else signal
                writer.add(Bins(chrom, start, end, in_units))
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
            summaries.append({"low": low, "high": high, "bases": bases, "size": size} if bases else None)
            if bases:
                os.replace(file.name, path)
    return summaries


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
    """Open a file under the name of an unfinished file. A file left under that name is deleted."""
    partial = path.with_name(f"{PARTIAL}{path.name}")
    with contextlib.suppress(FileNotFoundError):
        partial.unlink()
    try:
        with partial.open("xb") as file:
            yield file
    finally:
        partial.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Delete the unfinished files that a killed export has left in a folder."""
    for path in folder.rglob(f"{PARTIAL}*"):
        if path.is_file() or path.is_symlink():
            path.unlink()
