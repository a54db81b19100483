"""Time bigWig -> 25 bp means against other readers and against inflating alone; writes docs/performance.md.

    python -m benchmarks.ingest --data ../shared/data

Peers that are not installed are left out (`pip install pybigtools figwig`). All readers run in turn in each
round, in this process, on a file that the page cache holds; ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyBigWig

import epixs
from benchmarks.real_tracks import DOCS
from epixs.bigwig import BigWig, zlib
from epixs.compendium.ingest import plan_ingest, read_row
from epixs.genome import BIN_SIZE, Piece
from epixs.report import markdown_table
from epixs.tracks import Track

ROUNDS = 7
CHR19 = 61_431_566
INTERVALS = 1_850_000
OURS, FLOOR = "epixs", "inflating alone"


def write_dense(path: Path) -> None:
    """A simulated chr19 as dense as a real signal track: 1.85 M intervals that cover all of it."""
    rng = np.random.default_rng(0)
    starts = np.sort(rng.choice(CHR19 // 5, INTERVALS, replace=False)) * 5
    ends = np.append(starts[1:], CHR19)
    values = np.round(rng.gamma(1, 1, INTERVALS), 3)
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader([("chr19", CHR19)], maxZooms=0)
        file.addEntries(["chr19"] * INTERVALS, starts.tolist(), ends=ends.tolist(), values=values.tolist())


def mean_of(values: np.ndarray) -> np.ndarray:
    padded = np.zeros(-(-values.size // BIN_SIZE) * BIN_SIZE, values.dtype)
    padded[: values.size] = values
    return padded.reshape(-1, BIN_SIZE).mean(axis=1)


def by_epixs(path: str, chrom: str, size: int) -> np.ndarray:
    with Track(path) as track:
        return track.read(Piece(chrom, 0, size, 0)).sums / BIN_SIZE


def by_pybigwig(path: str, chrom: str, size: int) -> np.ndarray:
    with pyBigWig.open(path) as file:
        return mean_of(np.nan_to_num(file.values(chrom, 0, size, numpy=True)))


def by_pybigtools(path: str, chrom: str, size: int) -> np.ndarray:
    import pybigtools

    return mean_of(pybigtools.open(path).values(chrom, 0, size, uncovered=0.0))


def by_figwig(path: str, chrom: str, size: int) -> np.ndarray:
    import figwig

    return mean_of(figwig.read_bigwig(path, chrom, [0], size, n_jobs=1)[0])


def by_inflating(path: str, chrom: str, size: int) -> None:
    file = BigWig(path)
    first, stop = file._blocks(chrom, 0, size)
    for leaf in file._leaves[first:stop]:
        data = file._read(int(leaf["offset"]), int(leaf["length"]), "block")
        zlib.decompressobj().decompress(data, file._buffer)
    file.close()


PEERS: dict[str, Callable[[str, str, int], object]] = {
    "pyBigWig values": by_pybigwig,
    "pybigtools values": by_pybigtools,
    "figwig values": by_figwig,
}


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def compare(path: Path) -> dict[str, object]:
    with Track(path) as track:
        chrom, size = max(track.chrom_sizes.items(), key=lambda item: item[1])
    where = (str(path), chrom, size)
    ways: dict[str, Callable[[str, str, int], object]] = {OURS: by_epixs, FLOOR: by_inflating}
    expected = by_epixs(*where)
    for name, way in PEERS.items():
        try:
            got = way(*where)
        except ImportError:
            continue
        assert isinstance(got, np.ndarray)
        difference = float(np.abs(got[:-1] - expected[:-1]).max())
        if difference > 1e-3:
            print(f"{path.name}: {name} differs by {difference}")
        ways[name] = way
    rounds = [{name: timed(lambda way=way: way(*where)) for name, way in ways.items()} for _ in range(ROUNDS)]
    row: dict[str, object] = {
        "file": path.name,
        "MB": round(path.stat().st_size / 1e6, 1),
        "epixs ms": round(1e3 * statistics.median(r[OURS] for r in rounds)),
    }
    for name in PEERS:
        if name in ways:
            ratio = statistics.median(r[name] / r[OURS] for r in rounds)
            row[name] = f"{ratio:.1f} x"
    row["of inflating alone"] = f"{statistics.median(r[OURS] / r[FLOOR] for r in rounds):.2f} x"
    threads = []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS):
            one = timed(lambda: [by_epixs(*where) for _ in range(4)])
            two = timed(lambda: list(pool.map(lambda _: by_epixs(*where), range(4))))
            threads.append(one / two)
    row["2 threads"] = f"{statistics.median(threads):.2f} x"
    return row


def overhead(data: Path, work: Path) -> list[dict[str, object]]:
    """Whole ingest on workers over bare decoding in this process, for growing numbers of real tracks."""
    catalog = epixs.read_catalog(data / "human_hg19/catalog.tsv")
    regions, _ = epixs.read_regions(data / "human_hg19/regions.bed", catalog.assembly)
    rows = []
    with epixs.open_client() as client:
        workers = len(client.nthreads())
        warm = work / "warm.zarr"
        epixs.ingest(catalog, regions, warm, client=client)
        for copies in (1, 2, 4, 8):
            many = pd.concat(
                [
                    catalog.experiments.assign(
                        biosample=catalog.experiments["biosample"] + f"-{i}",
                        accession=catalog.experiments["accession"] + f"-{i}",
                    )
                    for i in range(copies)
                ],
                ignore_index=True,
            )
            table = type(catalog)(catalog.species, catalog.assembly, many)
            plan = plan_ingest(table, regions)
            pieces = list(regions.pieces(0, regions.n_bins))
            bare = timed(
                lambda plan=plan, pieces=pieces: [
                    read_row(s, catalog.assembly, pieces, (), "zero") for s in plan.experiments["source"]
                ]
            )
            store = work / f"{copies}.zarr"
            whole = timed(lambda table=table, store=store: epixs.ingest(table, regions, store, client=client))
            shutil.rmtree(store)
            rows.append(
                {
                    "tracks": len(many),
                    "bins": regions.n_bins,
                    "decoding alone, core s": round(bare, 2),
                    f"ingest, {workers} workers, s": round(whole, 2),
                    "core s over decoding": f"{whole * workers / bare:.2f} x",
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="epixs-ingest-"))
    try:
        dense = work / "simulated-chr19.bw"
        write_dense(dense)
        real = [path for path in (options.data / "odd").iterdir() if path.suffix in (".bw", ".bigWig")]
        largest = sorted(real, key=lambda path: path.stat().st_size)[-4:]
        readers = markdown_table(pd.DataFrame([compare(path) for path in [dense, *largest]]))
        whole = markdown_table(pd.DataFrame(overhead(options.data, work)))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    lines = [
        "# Performance",
        "",
        "## bigWig to bins",
        "",
        "Written by `python -m benchmarks.ingest --data DATA`; nothing here is typed by hand.",
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}. One chromosome to 25 bp means,",
        f"one thread, medians of {ROUNDS} paired rounds: how many times as long as epixs each other reader takes, and how",
        "many times as long epixs takes as inflating the same blocks.",
        "",
        readers,
        "## Whole ingest",
        "",
        "Real tracks of the Pilot Regions, several times over: decoding alone, and ingest with Dask, Zarr and compression.",
        "",
        whole,
    ]
    (DOCS / "performance.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
