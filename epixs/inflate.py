"""Inflating and CRC-32: libdeflate where it is installed, else the standard library; the same bytes."""

from __future__ import annotations

import zlib

try:
    import deflate
except ImportError:  # pragma: no cover
    deflate = None


class InflateError(ValueError):
    """Data that are not a zlib stream, or hold more than they may."""


def inflate(data: bytes, limit: int) -> bytes:
    """Inflate one whole zlib stream of at most `limit` bytes.

    Raises
    ------
    InflateError
        If it is damaged, cut short or longer.
    """
    if deflate is None:
        return inflate_slowly(data, limit)
    try:
        return bytes(deflate.zlib_decompress(data, limit))
    except deflate.DeflateError as error:
        raise InflateError(f"damaged, or more than {limit} bytes") from error


def inflate_slowly(data: bytes, limit: int) -> bytes:
    """`inflate` with the standard library."""
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(data, limit)
    except zlib.error as error:
        raise InflateError(str(error)) from error
    if not stream.eof:
        raise InflateError(f"cut short, or more than {limit} bytes")
    return raw


def crc32(data: memoryview) -> int:
    """CRC-32 as zlib, gzip and PNG have it."""
    return int(deflate.crc32(data)) if deflate is not None else zlib.crc32(data)
