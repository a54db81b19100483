"""Coverage-guided fuzzing of the bigWig reader: nothing but a TrackError may come out of any bytes.

    pip install -e . --group fuzz
    python -m tests.fuzz_bigwig -max_total_time=300 -max_len=20000 corpus/

Without a corpus folder it starts from a few small files that it makes itself.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import struct
import sys
import tempfile
from pathlib import Path

import atheris

from epixs.errors import TrackError
from epixs.genome.regions import Piece
from epixs.tracks import Track
from epixs.tracks.bigwig import BigWig
from tests.bigwigs import KINDS, write_uncompressed

# Only the parser: numba compiles the kernel, which instrumented bytecode would break.
for name, method in list(vars(BigWig).items()):
    if inspect.isfunction(method):
        setattr(BigWig, name, atheris.instrument_func(method))

TARGET = Path(tempfile.gettempdir()) / f"epixs-fuzz-{os.getpid()}.bw"


def read_everything(path: Path) -> None:
    """Read all chromosomes of a file, as far as they are not absurdly long."""
    with Track(path) as track:
        for chrom, size in list(track.chrom_sizes.items())[:4]:
            if size > 0:
                track.read(Piece(chrom, 0, min(size, 1_000_000), 0))


def one_input(data: bytes) -> None:
    TARGET.write_bytes(data)
    with contextlib.suppress(TrackError):
        read_everything(TARGET)


def seeds(folder: Path) -> None:
    """Small valid files: compressed; not, whose numbers are easy to reach; and a head alone."""
    import pyBigWig

    for kind in KINDS:
        write_uncompressed(folder / f"{kind}.bw", "<", kind)

    for name, count in (("one.bw", 1), ("many.bw", 3_000)):
        with pyBigWig.open(str(folder / name), "w") as file:
            file.addHeader([("chr1", 100_000), ("chr2", 500)], maxZooms=0)
            file.addEntries(
                ["chr1"] * count,
                [20 * i for i in range(count)],
                ends=[20 * i + 15 for i in range(count)],
                values=[float(i % 7) for i in range(count)],
            )
    (folder / "head.bw").write_bytes(
        struct.pack("<IHHQQQHHQQIQ", 0x888FFC26, 4, 0, 64, 100, 200, 0, 0, 0, 0, 0, 0)
    )


def main() -> None:
    arguments = sys.argv
    if not any(not argument.startswith("-") for argument in arguments[1:]):
        corpus = Path(tempfile.mkdtemp(prefix="epixs-corpus-"))
        seeds(corpus)
        arguments = [*arguments, str(corpus)]
    atheris.Setup(arguments, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
