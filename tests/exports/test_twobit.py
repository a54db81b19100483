import struct

import pytest

from epixs.errors import RegionError
from epixs.exports.twobit import two_bit_sizes, write_unknown_sequence


def test_a_genome_of_n(tmp_path):
    path = tmp_path / "a.2bit"
    write_unknown_sequence(path, {"chr1": 5, "m": 1})
    head = struct.pack("<IIII", 0x1A412743, 0, 2, 0)
    index = b"\x04chr1" + struct.pack("<I", 16 + 9 + 6) + b"\x01m" + struct.pack("<I", 16 + 9 + 6 + 26)
    first = struct.pack("<IIIIII", 5, 1, 0, 5, 0, 0) + bytes(2)
    second = struct.pack("<IIIIII", 1, 1, 0, 1, 0, 0) + bytes(1)
    assert path.read_bytes() == head + index + first + second
    assert two_bit_sizes(path) == {"chr1": 5, "m": 1}


def test_a_genome_beyond_4_gb_of_file_has_wide_offsets(tmp_path):
    path = tmp_path / "a.2bit"
    sizes = {f"c{number}": 2**32 - 4 for number in range(5)}
    write_unknown_sequence(path, sizes)  # sparse: next to nothing on disk
    assert path.stat().st_size > 2**32
    assert path.stat().st_blocks * 512 < 1 << 20
    assert two_bit_sizes(path) == sizes


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 40, struct.pack("<IIII", 0x1A412743, 0, 2, 0), b"\x43\x27\x41\x1a" + b"\xff" * 60]
)
def test_what_is_no_2bit_is_refused(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(RegionError, match="is not a 2bit file"):
        two_bit_sizes(tmp_path / "a")
    with pytest.raises(RegionError, match="cannot be read"):
        two_bit_sizes(tmp_path / "nothing")
