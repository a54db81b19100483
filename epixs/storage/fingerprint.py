"""Compute fingerprints of content, and checksums of values."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

try:
    import deflate
except ImportError:  # pragma: no cover
    deflate = None


def digest(content: Any) -> str:
    """Compute a short, stable digest of anything that JSON can hold."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def checksum(values: npt.NDArray[np.float32]) -> str:
    """Compute the CRC-32 of one row of a tile as little-endian float32, in eight hexadecimal digits."""
    return f"{crc32(np.ascontiguousarray(values, dtype='<f4').data):08x}"


def crc32(data: memoryview) -> int:
    """Compute the CRC-32 that zlib, gzip and PNG use."""
    return int(deflate.crc32(data)) if deflate is not None else zlib.crc32(data)
