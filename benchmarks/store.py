"""Compare ways to store signal on real tracks: `python -m benchmarks.store --data ../shared/data`."""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numcodecs.blosc
import numpy as np
import pandas as pd
from numcodecs import Blosc

import epixs
from epixs.report.tables import markdown_table

TRACKS = 16


def measure(name: str, values: np.ndarray, codec: Blosc) -> dict[str, object]:
    """Time compression and decompression chunk by chunk, on one thread: medians of 5 rounds."""
    bins = (1 << 20) // values.dtype.itemsize // TRACKS  # chunks of 1 MiB
    chunks = [np.ascontiguousarray(values[:, i : i + bins]) for i in range(0, values.shape[1], bins)]
    packed = [codec.encode(chunk) for chunk in chunks]
    writing, reading = [], []
    for _ in range(5):
        started = time.perf_counter()
        for chunk in chunks:
            codec.encode(chunk)
        written = time.perf_counter()
        for data in packed:
            codec.decode(data)
        writing.append(written - started)
        reading.append(time.perf_counter() - written)
    return {
        "": name,
        "MB": f"{sum(map(len, packed)) / 1e6:.1f}",
        "write, ms": round(1e3 * statistics.median(writing)),
        "read, ms": round(1e3 * statistics.median(reading)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data / "human_hg19"
    numcodecs.blosc.set_nthreads(1)
    catalog = epixs.read_catalog(data / "catalog.tsv")
    regions, _ = epixs.read_regions(data / "regions.bed", catalog.assembly)
    rounded = epixs.open_tracks(catalog, regions).signal[:TRACKS].to_numpy()
    packed = np.rint(rounded * 2048).astype(np.int16)
    rough = rounded + np.random.default_rng(0).uniform(-1, 1, rounded.shape).astype(np.float32) / 4096
    kinds = {"int16": packed, "float32 rounded to 1/2048": rounded, "float32 not rounded": rough}
    rows = [
        measure(f"{kind}, {cname} {level}, {how}", values, Blosc(cname, level, shuffle))
        for kind, values in kinds.items()
        for cname, level in (("zstd", 2), ("lz4", 5), ("lz4", 1))
        for how, shuffle in (("shuffle", Blosc.SHUFFLE), ("bitshuffle", Blosc.BITSHUFFLE))
    ]
    print(f"{rounded.size:,} values, {rounded.nbytes / 1e6:.1f} MB as float32\n")
    print(markdown_table(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
