"""Time the fixed cost of a call: few small bigWigs are opened and ingested, beside pyBigWig.

    python -m benchmarks.few_files

Wall time and core time are per call, with all modules loaded: medians over rounds in which the calls take turns.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
import unittest.mock
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyBigWig

import epixs
from benchmarks.sections import write_section
from epixs.report.tables import markdown_table
from epixs.tracks.bigwig import BigWig

FILES, BINS, ROUNDS = 20, 3_000, 15
SIZES = [("chr19", 61_431_566)]
START = 5_000_000


def write_tracks(folder: Path) -> tuple[Path, Path]:
    """Write small tracks of one chromosome, their catalog and the one region that they cover."""
    generator = np.random.default_rng(0)
    starts = START + 25 * np.arange(BINS)
    rows = ["species\tassembly\tbiosample\tassay\tassay_class\taccession\toutput_type\tpath"]
    for number in range(FILES):
        name = f"t{number:02d}"
        with pyBigWig.open(str(folder / f"{name}.bw"), "w") as file:
            file.addHeader(SIZES)
            values = generator.gamma(1, 1, BINS).tolist()
            file.addEntries(["chr19"] * BINS, starts.tolist(), ends=(starts + 25).tolist(), values=values)
        rows.append(f"mouse\tmm10\tb{number}\tA\thistone\t{name}\tsignal\t{name}.bw")
    catalog, bed = folder / "catalog.tsv", folder / "regions.bed"
    catalog.write_text("\n".join(rows) + "\n")
    bed.write_text(f"chr19\t{START}\t{START + 25 * BINS}\n")
    return catalog, bed


def by_pybigwig(folder: Path) -> None:
    """Read the same bins of the same files, and keep them in memory."""
    for path in sorted(folder.glob("*.bw")):
        with pyBigWig.open(str(path)) as file:
            values = file.values("chr19", START, START + 25 * BINS, numpy=True)
            np.arcsinh(np.nan_to_num(values).reshape(-1, 25).mean(axis=1))


def until_the_first_block(call: Callable[[], object]) -> None:
    """Make a call up to the moment at which it wants the first data block of a file."""

    class Reached(BaseException):
        pass

    def stop(*_: object) -> None:
        raise Reached

    with unittest.mock.patch.object(BigWig, "_inflated", stop), contextlib.suppress(Reached):
        call()


def medians(calls: dict[str, Callable[[int], object]]) -> list[dict[str, object]]:
    """Measure milliseconds per call. Calls take turns in every round; the first round warms up."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for number in range(ROUNDS + 1):
        for name, call in calls.items():
            wall, core = time.perf_counter(), time.process_time()
            call(number)
            spent[name].append((time.perf_counter() - wall, time.process_time() - core))
    return [
        {
            "call": name,
            "wall ms": f"{1e3 * statistics.median(wall for wall, _ in rounds[1:]):.1f}",
            "core ms": f"{1e3 * statistics.median(core for _, core in rounds[1:]):.1f}",
        }
        for name, rounds in spent.items()
    ]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="epixs-few-") as name:
        folder = Path(name)
        catalog, bed = write_tracks(folder)
        table = epixs.read_catalog(catalog, "mouse")
        regions, _ = epixs.read_regions(bed, table.assembly)
        rows = medians(
            {
                "`epixs.open_tracks` (opens no file)": lambda _: epixs.open_tracks(table, regions),
                "`epixs.ingest` (into a store, durable)": lambda number: epixs.ingest(
                    table, regions, folder / f"{number}.zarr"
                ),
                "the same, up to the first data block": lambda number: until_the_first_block(
                    lambda: epixs.ingest(table, regions, folder / f"{number}.begun.zarr")
                ),
                "pyBigWig: `values` and means, in memory": lambda _: by_pybigwig(folder),
            }
        )
    write_section(
        "performance.md",
        "few files",
        [
            "## Few small files",
            "",
            "Written by `python -m benchmarks.few_files`; nothing here is typed by hand.",
            f"One call over {FILES} bigWigs of {BINS:,} bins each, all modules loaded; medians of {ROUNDS} rounds.",
            "",
            markdown_table(pd.DataFrame(rows)),
        ],
    )


if __name__ == "__main__":
    main()
