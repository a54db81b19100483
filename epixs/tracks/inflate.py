"""Inflate zlib streams with libdeflate if it is installed, else with the standard library.

Both give the same bytes. The package `deflate` contains libdeflate, but its functions release and take
Python's lock once per call. To let threads scale, one kernel inflates a whole run of blocks and calls the
library's C function directly.
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
"""Return codes of libdeflate for streams that we refuse, in words."""


class InflateError(ValueError):
    """Data that are not a zlib stream, or too large when inflated.

    Parameters
    ----------
    block
        Number of the block within its run.
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
    """Inflate as `inflate` does, with the standard library."""
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
    """Inflate concatenated zlib streams, each of at most `limit` bytes.

    Parameters
    ----------
    data
        The streams.
    offsets
        First byte of each stream in `data`, and the end of the last one; shape `(block + 1,)`.
    limit
        Maximum size of one inflated block in bytes. So much memory is allocated for each block.

    Returns
    -------
    The concatenated blocks, each padded with zeros to whole words of four bytes; and the first byte of each
    block, and the end of the last one, shape `(block + 1,)`.

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
    """Inflate as `inflate_run` does, without the kernel."""
    blocks = []
    for block, (begin, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        try:
            blocks.append(inflate(data[begin:end], limit))
        except InflateError as error:
            raise InflateError(str(error), block) from error
    return in_words(blocks)


def in_words(blocks: Sequence[bytes]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Concatenate and pad blocks as `inflate_run` does."""
    padded = [block + bytes(-len(block) % 4) for block in blocks]
    begins = np.zeros(len(blocks) + 1, np.int64)
    np.cumsum([len(block) for block in padded], out=begins[1:])
    return np.frombuffer(b"".join(padded), np.uint8), begins


def _find_libdeflate() -> bool:
    """Make libdeflate's C functions known to numba, if the package exports them."""
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
    """Inflate each block of `data` into `raw`, and write its first byte in `raw` into `begins`.

    Returns
    -------
    The last return code of libdeflate, and the number of its block.
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
