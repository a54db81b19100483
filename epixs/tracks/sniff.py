"""Recognise, by its first bytes, a file that is not a bigWig: many other files are named `.bw`."""

from __future__ import annotations

import re
import struct
import zlib

AGAIN = "download it again and compare its md5sum"

LOOK_AT = 512
"""Number of bytes at the start of a file that are looked at."""

BIGWIG_MAGIC = 0x888FFC26
BIGBED_MAGIC = 0x8789F2EB

MAGICS = (
    (b"\x1f\x8b", "a gzipped file", "decompress it with gunzip, and look at what it is"),
    (b"BZh", "a file compressed with bzip2", "decompress it with bunzip2"),
    (b"\xfd7zXZ\0", "a file compressed with xz", "decompress it with unxz"),
    (b"\x28\xb5\x2f\xfd", "a file compressed with Zstandard", "decompress it with unzstd"),
    (b"PK\x03\x04", "a zip archive", "decompress it with unzip"),
    (b"BAM\1", "a BAM file of alignments", "make a coverage track of it, for instance with bamCoverage"),
    (b"CRAM", "a CRAM file of alignments", "make a coverage track of it, for instance with bamCoverage"),
    (b"\x89HDF", "an HDF5 file", "export its tracks as bigWig"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file itself",
        "fetch the file with `git lfs pull`",
    ),
    (b"/annex/objects/", "a git-annex pointer, not the file itself", "fetch the file with `git annex get`"),
)

NUMBER = rb"[-+.0-9][-+.0-9eE]*|nan|inf"


def is_magic(head: bytes, magic: int) -> bool:
    """Tell whether a file begins with a magic number, in either byte order."""
    return head[:4] in (struct.pack("<I", magic), struct.pack(">I", magic))


def what_is(head: bytes) -> tuple[str, str]:
    """Recognise a file by its first bytes; return its kind, and how to get a bigWig instead."""
    if is_magic(head, BIGBED_MAGIC):
        return "a bigBed", "use the bigWig of the same experiment: a bigBed has intervals without a signal"
    if head.startswith(b"\x1f\x8b"):
        inside = _unzipped(head)
        if is_magic(inside, BIGWIG_MAGIC):
            return "a gzipped bigWig", "decompress it with gunzip"
        known = _known(inside)
        if known and not inside.startswith(b"\x1f\x8b"):
            return f"{known[0]}, gzipped", f"decompress it with gunzip; then {known[1]}"
    recognised = _known(head)
    if recognised:
        return recognised
    return f"bytes {head[:4].hex()}", AGAIN


def _known(head: bytes) -> tuple[str, str] | None:
    for magic, kind, way_out in MAGICS:
        if head.startswith(magic):
            return kind, way_out
    return _text(head)


def _text(head: bytes) -> tuple[str, str] | None:
    """Recognise a text by its first line that is not a comment."""
    if b"\0" in head:
        return None
    lines = re.split(rb"[\r\n]+", head.removeprefix(b"\xef\xbb\xbf"))
    whole = [line.strip() for line in lines if line.strip()]
    track = next((line for line in whole if line.startswith(b"track")), b"")
    data = next((line for line in whole if not line.startswith((b"#", b"browser", b"track"))), b"")
    if data.startswith((b"fixedStep", b"variableStep")) or b"wiggle_0" in track:
        return "wiggle text", "convert it with wigToBigWig"
    if re.fullmatch(rb"\S+\s+\d+\s+\d+\s+(" + NUMBER + rb")", data, re.IGNORECASE) or b"bedGraph" in track:
        return "bedGraph text", "convert it with bedGraphToBigWig"
    if re.match(rb"\S+\s+\d+\s+\d+(\s|$)", data):
        return "BED text", "take the signal track of the same experiment; intervals alone have no signal"
    if data[:1] in (b"{", b"["):
        return "JSON text", AGAIN
    if whole and all(byte >= 32 or byte in b"\t\r\n" for byte in head):
        return f"text that begins {(data or whole[0])[:40]!r}", AGAIN
    return None


def _unzipped(head: bytes) -> bytes:
    """Decompress the first bytes of a gzipped file."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, LOOK_AT)
    except zlib.error:
        return b""
