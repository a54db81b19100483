"""Compare ways to store signal on real tracks: `python -m benchmarks.store --data ../shared/data`."""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr

import epixs

TRACKS = 16


def measure(name: str, values: np.ndarray, fill: float, bins: int, shuffle: str) -> None:
    folder = Path(tempfile.mkdtemp())
    codec = zarr.codecs.BloscCodec(cname="zstd", clevel=2, shuffle=shuffle, typesize=values.dtype.itemsize)
    array = zarr.create_array(
        folder / "a.zarr",
        shape=values.shape,
        chunks=(TRACKS, bins),
        dtype=values.dtype,
        fill_value=fill,
        compressors=codec,
    )
    started = time.perf_counter()
    array[:] = values
    written = time.perf_counter()
    array[:]
    read = time.perf_counter()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{name:40s} {size / 1e6:6.1f} MB  write {written - started:.2f} s  read {read - written:.2f} s")
    shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data / "human_hg19"
    catalog = epixs.read_catalog(data / "catalog.tsv")
    regions, _ = epixs.read_regions(data / "regions.bed", catalog.assembly)
    rounded = epixs.open_tracks(catalog, regions).signal[:TRACKS].to_numpy()
    packed = np.rint(rounded * 2048).astype(np.int16)
    rough = rounded + np.random.default_rng(0).uniform(-1, 1, rounded.shape).astype(np.float32) / 4096
    for shuffle in ("shuffle", "bitshuffle"):
        measure(f"int16, {shuffle}", packed, -32768, 32_768, shuffle)
        measure(f"float32 rounded to 1/2048, {shuffle}", rounded, np.nan, 16_384, shuffle)
    measure("float32, not rounded, bitshuffle", rough, np.nan, 16_384, "bitshuffle")


if __name__ == "__main__":
    main()
