"""Inflating zlib streams: by libdeflate where it is installed, else the standard library; the same bytes.

The package `deflate` brings libdeflate, whose functions take and give back Python's lock once a call. So that
threads scale, a whole run of blocks is inflated by one kernel, which calls the library's C function itself.
"""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Sequence
from typing import Any

import llvmlite.binding
import numpy as np
import numpy.typing as npt
from numba import types

from epixs.compiled import compiled

try:
    import deflate
except ImportError:  # pragma: no cover
    deflate = None


FINE, NO_MEMORY = 0, -1

RETURNS = {1: "damaged", 2: "damaged", 3: "more than {limit} bytes"}
"""What libdeflate's functions return, of the streams that we do not take."""


class InflateError(ValueError):
    """Data that are not a zlib stream, or hold more than they may.

    Parameters
    ----------
    block
        Which one of a run.
    """

    def __init__(self, message: str, block: int = 0) -> None:
        super().__init__(message)
        self.block = block


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


def inflate_run(
    data: bytes, offsets: npt.NDArray[np.int64], limit: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Inflate zlib streams that lie behind one another, each of at most `limit` bytes.

    Parameters
    ----------
    data
        The streams.
    offsets
        Where each begins in `data`, and where the last one ends; shape `(block + 1,)`.
    limit
        Bytes of one block, at most. Memory for that many of each is set aside.

    Returns
    -------
    The blocks behind one another, each filled up with zeros to whole words of four bytes; and where each
    begins, and the last one ends, shape `(block + 1,)`.

    Raises
    ------
    InflateError
        If a stream is damaged, cut short or longer.
    """
    if not KERNEL:
        return _inflate_one_by_one(data, offsets, limit)
    raw = np.empty((offsets.size - 1) * (limit + -limit % 4), np.uint8)
    begins = np.zeros(offsets.size, np.int64)
    result, block = _inflate_blocks(np.frombuffer(data, np.uint8), offsets, limit, raw, begins)
    if result == NO_MEMORY:
        raise MemoryError("no memory to inflate blocks of a bigWig")
    if result != FINE:
        raise InflateError(RETURNS[result].format(limit=limit), block)
    return raw[: begins[-1]], begins


def _inflate_one_by_one(
    data: bytes, offsets: npt.NDArray[np.int64], limit: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """`inflate_run` without the kernel."""
    blocks = []
    for block, (begin, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        try:
            blocks.append(inflate(data[begin:end], limit))
        except InflateError as error:
            raise InflateError(str(error), block) from error
    return in_words(blocks)


def in_words(blocks: Sequence[bytes]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Lay blocks behind one another as `inflate_run` does."""
    padded = [block + bytes(-len(block) % 4) for block in blocks]
    begins = np.zeros(len(blocks) + 1, np.int64)
    np.cumsum([len(block) for block in padded], out=begins[1:])
    return np.frombuffer(b"".join(padded), np.uint8), begins


def _find_libdeflate() -> bool:
    """Make libdeflate's C functions known to numba, where the package exports them."""
    try:
        library = ctypes.CDLL(getattr(deflate, "_deflate", deflate).__file__)
        for name in ("alloc_decompressor", "free_decompressor", "zlib_decompress"):
            function = getattr(library, f"libdeflate_{name}")
            llvmlite.binding.add_symbol(f"libdeflate_{name}", ctypes.cast(function, ctypes.c_void_p).value)
    except (AttributeError, OSError, TypeError):
        return False
    return True


KERNEL = _find_libdeflate()

POINTER = SIZE = types.uintp

_alloc = types.ExternalFunction("libdeflate_alloc_decompressor", POINTER())

_free = types.ExternalFunction("libdeflate_free_decompressor", types.void(POINTER))

_decompress = types.ExternalFunction(
    "libdeflate_zlib_decompress", types.int32(POINTER, POINTER, SIZE, POINTER, SIZE, POINTER)
)


@compiled()
def _inflate_blocks(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    limit: int,
    raw: npt.NDArray[np.uint8],
    begins: npt.NDArray[np.int64],
) -> tuple[Any, Any]:
    """Inflate each block of `data` into `raw`, and where it begins there into `begins`.

    Returns
    -------
    What libdeflate returned last, and for which block.
    """
    decompressor = _alloc()
    if decompressor == 0:
        return NO_MEMORY, 0
    size = np.zeros(1, np.uintp)
    at, result = np.int64(0), FINE
    for block in range(offsets.size - 1):
        result = _decompress(
            decompressor,
            data.ctypes.data + offsets[block],
            offsets[block + 1] - offsets[block],
            raw.ctypes.data + at,
            limit,
            size.ctypes.data,
        )
        if result != FINE:
            break
        at += np.int64(size[0])
        while at % 4:
            raw[at] = 0
            at += 1
        begins[block + 1] = at
    _free(decompressor)
    return result, block
