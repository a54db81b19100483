"""Time many small regions of a bigWig -> 25 bp means, as in a list of candidate elements.

    python -m benchmarks.small_regions --data ../shared/data

One thread, in turn with pyBigWig in each round, on files in the page cache. Both give the same means.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyBigWig

from benchmarks.ingest import timed, write_dense
from benchmarks.sections import write_section
from epixs.genome.assembly import Assembly
from epixs.genome.regions import BIN_SIZE, Piece
from epixs.ingestion.tile import read_row
from epixs.report.tables import markdown_table
from epixs.tracks.opened import OpenTracks

ROUNDS, SPAN = 5, 250


def spread(chrom: str, size: int, count: int) -> list[Piece]:
    """Spread regions of 250 bp over a chromosome, in order and without overlap."""
    places = np.sort(np.random.default_rng(0).choice(size // (2 * SPAN), count, replace=False)) * 2 * SPAN
    bins = SPAN // BIN_SIZE
    return [Piece(chrom, int(start), int(start) + SPAN, bins * i) for i, start in enumerate(places)]


def by_epixs(path: Path, sizes: dict[str, int], pieces: list[Piece]) -> npt.NDArray[np.float32]:
    values = np.empty(sum(piece.n_bins for piece in pieces), np.float32)
    with OpenTracks(Assembly("its own", sizes), (), kept_bytes=0) as tracks:
        read_row(str(path), pieces, "zero", values, tracks)
    return values


def by_pybigwig(path: Path, pieces: list[Piece]) -> npt.NDArray[np.float32]:
    with pyBigWig.open(str(path)) as file:
        means = [
            np.nan_to_num(file.values(p.chrom, p.start, p.end, numpy=True)).reshape(-1, BIN_SIZE).mean(axis=1)
            for p in pieces
        ]
    return np.arcsinh(np.concatenate(means))


def compare(path: Path) -> list[dict[str, object]]:
    """Make the rows of one file: microseconds per region, and the ratio of pyBigWig's time to ours."""
    with pyBigWig.open(str(path)) as file:
        sizes = dict(file.chroms())
        blocks = [chrom for chrom in sizes if file.intervals(chrom, 0, 10_000_000)]
    chrom = max(blocks, key=lambda name: sizes[name])
    rows = []
    for count in (10_000, 100_000):
        pieces = spread(chrom, sizes[chrom], count)
        ours, expected = by_epixs(path, sizes, pieces), by_pybigwig(path, pieces)
        assert np.abs(ours - expected).max() < 1e-3, path
        rounds = [
            (
                timed(lambda pieces=pieces: by_epixs(path, sizes, pieces)),
                timed(lambda pieces=pieces: by_pybigwig(path, pieces)),
            )
            for _ in range(ROUNDS)
        ]
        rows.append(
            {
                "file": path.name,
                "regions": f"{count:,}",
                "epixs, us per region": f"{1e6 / count * statistics.median(r[0] for r in rounds):.1f}",
                "pyBigWig, us per region": f"{1e6 / count * statistics.median(r[1] for r in rounds):.1f}",
                "ratio": f"{statistics.median(r[1] / r[0] for r in rounds):.1f} x",
                "least": f"{min(r[1] / r[0] for r in rounds):.1f} x",
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="epixs-small-regions-") as work:
        dense = Path(work) / "simulated-chr19.bw"
        write_dense(dense)
        names = ("CMP.H3K4me3.r1.chr11.bw", "ERY_fl.H3K27ac.r1.chr11.bw", "mESC_H3K27ac_LogRatio.bw")
        files = [dense, *(options.data / "odd" / name for name in names)]
        rows = [row for path in files for row in compare(path)]
    lines = [
        "## Many small regions",
        "",
        "Written by `python -m benchmarks.small_regions --data DATA`; nothing here is typed by hand.",
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}. Regions of {SPAN} bp anywhere on",
        "one chromosome -> means of 25 bp, one thread; pyBigWig's `values` and NumPy's mean beside it. Medians of",
        f"{ROUNDS} paired rounds, opening the file included. Each data block is inflated once for all regions in it.",
        "",
        markdown_table(pd.DataFrame(rows)),
    ]
    write_section("performance.md", "small regions", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
