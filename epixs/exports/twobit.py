"""Read the sequence lengths of 2bit files, which hold a hub's genome, and write one that is all N."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from epixs.errors import RegionError

MAGIC = 0x1A412743

MOST_SEQUENCES = 1 << 22

HEAD, LENGTHS = struct.Struct("<IIII"), struct.Struct("<IIIIII")
"""Layouts of the file's header, and of a sequence's header, where the sequence is one stretch of N."""


def write_unknown_sequence(path: Path, chrom_sizes: Mapping[str, int]) -> None:
    """Write a genome of only N, as a sparse file. Its nominal size is a quarter of the genome's.

    Version 1, with wide offsets, is only for genomes of more than 16 Gb.
    """
    names = {name: name.encode()[:255] for name in chrom_sizes}
    for version, width in ((0, 4), (1, 8)):
        offsets, at = [], HEAD.size + sum(1 + len(name) + width for name in names.values())
        for size in chrom_sizes.values():
            offsets.append(at)
            at += LENGTHS.size + -(-size // 4)
        if at < 1 << 32 or version:
            break
    with path.open("wb") as file:
        file.write(HEAD.pack(MAGIC, version, len(names), 0))
        for name, offset in zip(names.values(), offsets, strict=True):
            file.write(struct.pack("B", len(name)) + name + struct.pack("<Q" if version else "<I", offset))
        for size, offset in zip(chrom_sizes.values(), offsets, strict=True):
            file.seek(offset)
            file.write(LENGTHS.pack(size, 1, 0, size, 0, 0))
        file.truncate(at)


def two_bit_sizes(path: Path) -> dict[str, int]:
    """Read the length of each sequence of a 2bit file.

    Raises
    ------
    RegionError
        If it is not a 2bit file, or is damaged.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD.size)
            order = next(o for o in "<>" if struct.unpack(f"{o}I", head[:4])[0] == MAGIC)
            _, version, count, _ = struct.unpack(f"{order}IIII", head)
            if version > 1 or count > min(MOST_SEQUENCES, size // 6):
                raise ValueError
            offsets = {}
            for _ in range(count):
                name = file.read(file.read(1)[0]).decode()
                offsets[name] = struct.unpack(
                    f"{order}{'Q' if version else 'I'}", file.read(8 if version else 4)
                )[0]
            sizes = {}
            for name, offset in offsets.items():
                file.seek(min(offset, size))
                sizes[name] = struct.unpack(f"{order}I", file.read(4))[0]
    except OSError as error:
        raise RegionError(f"{path} cannot be read", got=error.strerror) from error
    except (StopIteration, ValueError, IndexError, struct.error) as error:
        raise RegionError(
            f"{path} is not a 2bit file, or damaged", expected="the sequence of a genome"
        ) from error
    return sizes
