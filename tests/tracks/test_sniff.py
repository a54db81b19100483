import gzip
import struct

import pytest

from epixs.tracks.sniff import what_is

BIGWIG = struct.pack("<I", 0x888FFC26) + bytes(100)
WIGGLE = b"track type=wiggle_0\nfixedStep chrom=chr1 start=1 step=25\n1.0\n"


@pytest.mark.parametrize(
    ("head", "kind", "way_out"),
    [
        (gzip.compress(BIGWIG, mtime=0), "a gzipped bigWig", "gunzip"),
        (gzip.compress(WIGGLE, mtime=0), "wiggle text, gzipped", "wigToBigWig"),
        (gzip.compress(b"chr1\t0\t25\t1.5\n", mtime=0), "bedGraph text, gzipped", "bedGraphToBigWig"),
        (gzip.compress(b"BAM\1" + bytes(50), mtime=0), "a BAM file of alignments, gzipped", "coverage track"),
        (b"\x1f\x8b\x08\x00", "a gzipped file", "gunzip"),
        (WIGGLE, "wiggle text", "wigToBigWig"),
        (b"#comment\nvariableStep chrom=chr1\n1 2.0\n", "wiggle text", "wigToBigWig"),
        (b"track type=bedGraph name=x\nchr1 0 25 1\n", "bedGraph text", "bedGraphToBigWig"),
        (b"chr1\t0\t25\t-1.5e-3\r\n", "bedGraph text", "bedGraphToBigWig"),
        (b"\xef\xbb\xbfchr1 0 25 nan\n", "bedGraph text", "bedGraphToBigWig"),
        (b"chr1\t0\t25\tpeak1\t900\t.\n", "BED text", "signal track"),
        (struct.pack(">I", 0x8789F2EB) + bytes(60), "a bigBed", "bigWig of the same experiment"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a Git LFS pointer, not the file itself",
            "git lfs pull",
        ),
        (b"PK\x03\x04abc", "a zip archive", "unzip"),
        (b'{"status": "error"}', "JSON text", "download it again"),
        (b"Not Found\n", "text that begins b'Not Found'", "download it again"),
        (b"\0\1\2\3", "bytes 00010203", "download it again"),
        (b"", "bytes ", "download it again"),
    ],
)
def test_what_is_handed_out_as_bigwig(head, kind, way_out):
    recognised = what_is(head[:512])
    assert recognised[0] == kind
    assert way_out in recognised[1]
