"""Time the writing of bigWigs, beside pyBigWig and pybigtools: `python -m benchmarks.export --data DATA`.

There are one genome-wide track of hg19, which repeats real values, and a draft assembly of 100,000 scaffolds.
Each writer runs in a separate process on the same items, with equal neighbours joined; epixs reads a Dataset,
joins, and writes. Peak memory is that of the whole process, Python and libraries included.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

import epixs
from benchmarks.sections import write_section
from epixs.compendium.lazy import lazy_dataset
from epixs.compendium.plan import Plan
from epixs.compendium.schema import EXPERIMENT_LABELS
from epixs.genome.assembly import Assembly, load_assembly
from epixs.genome.bed import make_regions
from epixs.report.tables import markdown_table
from epixs.storage.tiling import Tile

MOST_SECONDS = 300
WRITERS = ("epixs", "pybigtools", "pyBigWig")


def genomes() -> dict[str, Assembly]:
    scaffolds = {f"scaffold_{number:06d}": 1_000 + 37 * (number % 80) for number in range(100_000)}
    main = {name: size for name, size in load_assembly("hg19").chrom_sizes.items() if "_" not in name}
    return {"hg19": Assembly("hg19", main), "100,000 scaffolds": Assembly("draft", scaffolds)}


def dataset_of(assembly: Assembly, values: np.ndarray):
    rows = [(chrom, 0, size, chrom) for chrom, size in assembly.chrom_sizes.items()]
    regions, _ = make_regions(assembly, rows)
    labels = dict.fromkeys([variable.name for variable in EXPERIMENT_LABELS], "x") | {"source_size": -1}
    plan = Plan("imputed", "human", pd.DataFrame([labels]), regions, "zero", {})

    def read(tile: Tile) -> np.ndarray:
        return np.take(values, np.arange(tile.first_bin, tile.stop_bin), mode="wrap")[None]

    return lazy_dataset(plan, read, bins=1 << 16)


def items(assembly: Assembly, values: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield chromosome, starts, ends and values of items, some at a time."""
    first = 0
    for chrom, size in assembly.chrom_sizes.items():
        bins = -(-size // 25)
        for at in range(0, bins, 1 << 19):
            stop = min(bins, at + (1 << 19))
            signal = np.take(values, np.arange(first + at, first + stop), mode="wrap")
            edges = np.flatnonzero(np.concatenate([[True], signal[1:] != signal[:-1]]))
            ends = np.append(edges[1:], signal.size)
            yield chrom, 25 * (at + edges), np.minimum(25 * (at + ends), size), signal[edges]
        first += bins


def by_epixs(assembly: Assembly, values: np.ndarray, folder: Path) -> Path:
    table = epixs.export(dataset_of(assembly, values), bigwig=folder / "epixs", assembly=assembly)
    return folder / "epixs" / table["file"][0]


def by_pybigtools(assembly: Assembly, values: np.ndarray, folder: Path) -> Path:
    import pybigtools

    path = folder / "pybigtools.bw"
    rows = (
        row
        for chrom, starts, ends, signal in items(assembly, values)
        for row in zip([chrom] * starts.size, starts.tolist(), ends.tolist(), signal.tolist(), strict=True)
    )
    pybigtools.open(str(path), "w").write(dict(assembly.chrom_sizes), rows)
    return path


def by_pybigwig(assembly: Assembly, values: np.ndarray, folder: Path) -> Path:
    import pyBigWig

    path = folder / "pybigwig.bw"
    file = pyBigWig.open(str(path), "w")
    file.addHeader(list(assembly.chrom_sizes.items()))
    for chrom, starts, ends, signal in items(assembly, values):
        file.addEntries(np.full(starts.size, chrom), starts, ends=ends, values=signal.astype(np.float64))
    file.close()
    return path


def measure(writer: str, assembly: Assembly, values: np.ndarray, results) -> None:
    with tempfile.TemporaryDirectory(prefix="epixs-export-") as folder:
        started, cpu = time.perf_counter(), time.process_time()
        path = globals()[f"by_{writer.lower()}"](assembly, values, Path(folder))
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        results.put(
            (time.perf_counter() - started, time.process_time() - cpu, used, path.stat().st_size / 1e6)
        )


def row_of(writer: str, name: str, assembly: Assembly, values: np.ndarray) -> dict[str, object]:
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    process = spawn.Process(target=measure, args=(writer, assembly, values, results))
    process.start()
    process.join(MOST_SECONDS)
    if process.is_alive():
        process.terminate()
        process.join()
        numbers = (f"over {MOST_SECONDS}", "", "", "")
    else:
        numbers = tuple(f"{number:.0f}" for number in results.get())
    bins = sum(-(-size // 25) for size in assembly.chrom_sizes.values())
    row = {"genome": name, "million bins": f"{bins / 1e6:.0f}", "writer": writer}
    return row | dict(zip(("seconds", "core seconds", "peak memory, MB", "file, MB"), numbers, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data / "human_hg19"
    catalog = epixs.read_catalog(data / "catalog.tsv")
    regions, _ = epixs.read_regions(data / "regions.bed", catalog.assembly)
    values = epixs.open_tracks(catalog, regions).signal[0].to_numpy()
    rows = [
        row_of(writer, name, assembly, values) for name, assembly in genomes().items() for writer in WRITERS
    ]
    print(markdown_table(pd.DataFrame(rows)))
    write_section(
        "performance.md",
        "export",
        [
            "## Bins to bigWig",
            "",
            "Written by `python -m benchmarks.export --data DATA`; nothing here is typed by hand. One track: values of",
            "a real one, laid out again and again. Each writer merges equal neighbours and writes zoom levels.",
            "",
            *markdown_table(pd.DataFrame(rows)).splitlines(),
            "",
            "pybigtools names only chromosomes with data in the file's head, and of an error in the middle says no more",
            "than that there was one. pyBigWig looks each chromosome up by going through all names.",
        ],
    )


if __name__ == "__main__":
    main()
