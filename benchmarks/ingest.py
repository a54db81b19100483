"""Time bigWig -> 25 bp means -> store: other readers, the lower bound, overhead, scaling, remote files.

    python -m benchmarks.ingest --data ../shared/data

Other readers that are not installed are left out (`pip install pybigtools figwig`). All readers take turns in each
round, in this process, on a file in the page cache. Ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import http.server
import multiprocessing
import os
import platform
import re
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyBigWig

import epixs
from benchmarks.sections import write_section
from epixs.compendium.shard import encode_shard
from epixs.genome.assembly import load_assembly, reference_folder
from epixs.genome.regions import BIN_SIZE, Piece
from epixs.ingestion.cost import project_cost
from epixs.ingestion.plan import plan_ingest
from epixs.ingestion.tile import read_row, read_tile, tile_task
from epixs.report.tables import markdown_table
from epixs.tracks import Track
from epixs.tracks.bigwig import BigWig
from epixs.tracks.inflate import inflate
from epixs.tracks.opened import OpenTracks

ROUNDS = 7
CATALOG_HEAD = "species\tassembly\tbiosample\tassay\tassay_class\taccession\toutput_type\tpath"
CHR19 = 61_431_566
INTERVALS = 1_850_000
OURS, FLOOR = "epixs", "inflating alone"


def write_dense(path: Path) -> None:
    """Write a simulated chr19 as dense as a real signal track: 1.85 M intervals that cover all of it."""
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

    return mean_of(pybigtools.open(path).values(chrom, 0, size, fillna=0))


def by_figwig(path: str, chrom: str, size: int) -> np.ndarray:
    import figwig

    return mean_of(figwig.read_bigwig(path, chrom, [0], size, n_jobs=1)[0])


def by_inflating(path: str, chrom: str, size: int) -> None:
    file = BigWig(path)
    first, stop = file.blocks([file.number(chrom)], [0], [size])
    for leaf in file._leaves[first[0] : stop[0]]:
        data = file._read(int(leaf["offset"]), int(leaf["length"]), "block")
        inflate(data, file._buffer)
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
        "MB": f"{path.stat().st_size / 1e6:.1f}",
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


def workers(path: Path) -> list[dict[str, object]]:
    """Measure the speed-up of two threads and of two processes, for reading and for inflating alone."""
    with Track(path) as track:
        chrom, size = max(track.chrom_sizes.items(), key=lambda item: item[1])
    rows = []
    for name, way in ((OURS, by_epixs), (FLOOR, by_inflating)):
        ratios = []
        with ThreadPoolExecutor(2) as threads, multiprocessing.get_context("spawn").Pool(2) as processes:
            calls = [(str(path), chrom, size)] * 8
            processes.starmap(way, calls)
            for _ in range(ROUNDS):
                one = timed(lambda way=way, calls=calls: [way(*call) for call in calls])
                two = timed(lambda way=way, calls=calls: list(threads.map(lambda call: way(*call), calls)))
                far = timed(
                    lambda way=way, calls=calls: processes.starmap(nothing_of, [(way, c) for c in calls])
                )
                ratios.append((one / two, one / far))
        of_threads, of_processes = (statistics.median(column) for column in zip(*ratios, strict=True))
        rows.append({"": name, "2 threads": f"{of_threads:.2f} x", "2 processes": f"{of_processes:.2f} x"})
    return rows


def nothing_of(way: Callable[..., object], call: tuple[object, ...]) -> None:
    """Call and return nothing, so that no result is sent between processes."""
    way(*call)


def copies_of(catalog: epixs.Catalog, copies: int) -> epixs.Catalog:
    """Repeat the same tracks several times, as experiments of other biosamples."""
    parts = [
        catalog.experiments.assign(
            biosample=catalog.experiments["biosample"] + f"-{i}",
            accession=catalog.experiments["accession"] + f"-{i}",
        )
        for i in range(copies)
    ]
    return replace(catalog, experiments=pd.concat(parts, ignore_index=True))


def core_seconds(client: Any, call: Callable[[], object]) -> float:
    """Measure the CPU seconds of this process and of all workers during a call."""
    workers = sum(client.run(time.process_time).values())
    own = time.process_time()
    call()
    return time.process_time() - own + sum(client.run(time.process_time).values()) - workers


def overhead(data: Path, work: Path) -> list[dict[str, object]]:
    """Compare a whole ingest on workers with a plain loop that decodes, and one that decodes and compresses."""
    catalog = epixs.read_catalog(data / "human_hg19/catalog.tsv")
    regions, _ = epixs.read_regions(data / "human_hg19/regions.bed", catalog.assembly)
    genome, everywhere = genome_wide(work)
    panels = [(f"{20 * copies}", copies_of(catalog, copies), regions, 5) for copies in (1, 4, 16)]
    with epixs.open_client() as client:
        epixs.ingest(catalog, regions, work / "warm.zarr", client=client)
        return [
            overhead_of(client, *panel, work / "whole.zarr")
            for panel in [*panels, ("16, genome-wide", genome, everywhere, 3)]
        ]


def overhead_of(
    client: Any, name: str, table: epixs.Catalog, regions: epixs.Regions, n_rounds: int, out: Path
) -> dict[str, object]:
    plan = plan_ingest(table, regions)
    pieces = list(regions.pieces(0, regions.n_bins))
    tasks = [tile_task(plan, table.assembly, tile) for tile in plan.tiles()]

    def decode() -> None:
        values = np.empty(regions.n_bins, np.float32)
        for source in plan.experiments["source"]:
            with OpenTracks(table.assembly, (), kept_bytes=0) as tracks:
                read_row(source, pieces, "zero", values, tracks)

    def compress() -> None:
        for task in tasks:
            for _ in encode_shard(read_tile(task)[0], plan.layout):
                pass

    def whole() -> None:
        epixs.ingest(table, regions, out, client=client)

    rounds = []
    for _ in range(n_rounds):
        rounds.append([core_seconds(client, call) for call in (decode, compress, whole)])
        shutil.rmtree(out)
    decoding, compressing, all_of_it = (statistics.median(column) for column in zip(*rounds, strict=True))
    return {
        "tracks": name,
        "decoding, core s": f"{decoding:.2f}",
        "and compressing, core s": f"{compressing:.2f}",
        "ingest, core s": f"{all_of_it:.2f}",
        "of decoding": f"{statistics.median(r[2] / r[0] for r in rounds):.2f} x",
        "of decoding and compressing": f"{statistics.median(r[2] / r[1] for r in rounds):.2f} x",
    }


def genome_wide(work: Path) -> tuple[epixs.Catalog, epixs.Regions]:
    """Link one simulated genome-wide track under sixteen names, over all long chromosomes of hg19."""
    assembly = load_assembly("hg19")
    folder = work / "genome-wide"
    folder.mkdir()
    write_genome(work / "genome.bw", assembly)
    lines = [CATALOG_HEAD]
    for i in range(16):
        os.link(work / "genome.bw", folder / f"{i}.bw")
        lines.append(f"human\thg19\tb{i // 4}\ta{i % 4}\thistone\tS{i}\tsignal\t{i}.bw")
    (folder / "catalog.tsv").write_text("\n".join(lines) + "\n")
    chroms = [f"{name}\t0\t{size}\n" for name, size in long_chroms(assembly).items()]
    (folder / "regions.bed").write_text("".join(chroms))
    catalog = epixs.read_catalog(folder / "catalog.tsv")
    return catalog, epixs.read_regions(folder / "regions.bed", catalog.assembly)[0]


def long_chroms(assembly: epixs.Assembly) -> dict[str, int]:
    return {name: size for name, size in assembly.chrom_sizes.items() if re.fullmatch(r"chr(\d+|X)", name)}


def scaling(dense: Path, work: Path) -> list[dict[str, object]]:
    """Measure time and memory of ingests of more and more experiments over 2 Mb, each with its own file name."""
    rows = []
    for count in (100, 1_000, 4_000):
        folder = work / f"of-{count}"
        folder.mkdir()
        (folder / "sim.chrom.sizes").write_text(f"chr19\t{CHR19}\n")
        (folder / "regions.bed").write_text("chr19\t10000000\t12000000\tmiddle\n")
        lines = [CATALOG_HEAD]
        for i in range(count):
            os.link(dense, folder / f"{i}.bw")
            lines.append(f"sim\tsim\tb{i // 40}\ta{i % 40}\thistone\tS{i}\tsignal\t{i}.bw")
        (folder / "catalog.tsv").write_text("\n".join(lines) + "\n")
        catalog = epixs.read_catalog(folder / "catalog.tsv")
        regions, _ = epixs.read_regions(folder / "regions.bed", catalog.assembly)
        plan = plan_ingest(catalog, regions)
        cost = project_cost(plan, catalog.assembly)
        with epixs.open_client() as client:
            seconds = timed(
                lambda c=catalog, r=regions, f=folder: epixs.ingest(c, r, f / "a.zarr", client=client)
            )
            peaks = client.run(peak_bytes).values()
        rows.append(
            {
                "experiments": count,
                "bins": regions.n_bins,
                "tiles": cost.tiles,
                "seconds": f"{seconds:.1f}",
                "ms per experiment": f"{1e3 * seconds / count:.1f}",
                "peak memory of a worker, MB": round(max(peaks) / 1e6),
                "as projected, MB": round(cost.worker_bytes / 1e6),
            }
        )
        shutil.rmtree(folder)
    return rows


def peak_bytes() -> int:
    """Return the peak resident memory of this process. (`ru_maxrss` would include that of its parent.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


class RangeHandler(http.server.BaseHTTPRequestHandler):
    """Serves byte ranges of one file on loopback."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        low, high = map(int, re.findall(r"\d+", self.headers["Range"]))
        data: np.ndarray = self.server.data  # type: ignore[attr-defined]
        body = data[low : high + 1].tobytes()
        self.send_response(206)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Range", f"bytes {low}-{low + len(body) - 1}/{data.size}")
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(body)


def write_genome(path: Path, assembly: epixs.Assembly) -> None:
    """Write a simulated genome-wide track: one interval every 90 bp."""
    rng = np.random.default_rng(0)
    sizes = long_chroms(assembly)
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader(list(sizes.items()))
        for chrom, size in sizes.items():
            starts = np.sort(rng.choice(size // 10, size // 90, replace=False)) * 10
            values = np.round(rng.gamma(1, 1, starts.size), 3)
            file.addEntries([chrom] * starts.size, starts, ends=np.append(starts[1:], size), values=values)


def remote(work: Path) -> list[dict[str, object]]:
    """Measure the bytes of a genome-wide file that are transferred for the Pilot Regions, over HTTP on loopback."""
    assembly = load_assembly("hg19")
    regions, _ = epixs.read_regions(reference_folder() / "regions/encode_pilot.hg19.bed", assembly)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), RangeHandler)
    server.data = np.memmap(work / "genome.bw", dtype=np.uint8, mode="r")  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rows = []
    for where in (f"http://127.0.0.1:{server.server_port}/genome.bw", str(work / "genome.bw")):
        pieces = list(regions.pieces(0, regions.n_bins))

        def read(where: str = where, pieces: Any = pieces) -> Any:
            with Track(where) as track:
                track.prefetch(pieces)
                for piece in pieces:
                    track.read(piece)
                return track._bigwig._source

        source = read()
        size = (work / "genome.bw").stat().st_size
        moved = getattr(source, "bytes_moved", None)
        rows.append(
            {
                "from": where.partition(":")[0] if "://" in where else "the same disk",
                "file, MB": f"{size / 1e6:.1f}",
                "bins": regions.n_bins,
                "requests": getattr(source, "requests", "-"),
                "moved, MB": f"{moved / 1e6:.1f}" if moved else "-",
                "share": f"{moved / size:.2%}" if moved else "-",
                "ms": round(1e3 * statistics.median(timed(read) for _ in range(5))),
            }
        )
    server.shutdown()
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
        side_by_side = markdown_table(pd.DataFrame(workers(dense)))
        readers = markdown_table(pd.DataFrame([compare(path) for path in [dense, *largest]]))
        whole = markdown_table(pd.DataFrame(overhead(options.data, work)))
        growing = markdown_table(pd.DataFrame(scaling(dense, work)))
        far = markdown_table(pd.DataFrame(remote(work)))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    lines = [
        "## bigWig to bins",
        "",
        "Written by `python -m benchmarks.ingest --data DATA`; nothing here is typed by hand.",
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}. One chromosome to 25 bp means,",
        f"one thread, medians of {ROUNDS} paired rounds: how many times as long as epixs each other reader takes, and how",
        "many times as long epixs takes as inflating the same blocks.",
        "",
        readers,
        "Two at a time on the first of them. Inflating alone is block by block and takes Python's lock for each; epixs",
        "inflates whole runs in one call without it.",
        "",
        side_by_side,
        "## Whole ingest",
        "",
        "Twenty real tracks over the Pilot Regions (1.1 M bins), several times over. CPU seconds of all processes, medians",
        "of 5 rounds: decoding in a plain loop; decoding and compressing in a plain loop; and the whole ingest with Dask,",
        "workers, ledger, checksums and Zarr. Last, 16 simulated tracks over all of hg19 (121 M bins), 3 rounds.",
        "",
        whole,
        "## More and more experiments",
        "",
        "Simulated tracks, 2 Mb of each; a fresh LocalCluster for each row.",
        "",
        growing,
        "## Remote files",
        "",
        "The Pilot Regions (1 % of hg19) of a simulated genome-wide bigWig.",
        "",
        far,
    ]
    write_section("performance.md", "ingest", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
