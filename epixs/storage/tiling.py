"""Tiles, each written by one task, and the shape of chunks and shards."""

from __future__ import annotations

from dataclasses import dataclass

Key = tuple[int, int]
"""Place of a tile in the ledger: `(row_group, bin_range)`."""


@dataclass(frozen=True)
class Layout:
    """Shape of chunks and shards. A tile is one shard, written whole by one task."""

    chunk_rows: int
    chunk_bins: int
    tile_bins: int


@dataclass(frozen=True)
class Tile:
    """One row group x one bin range: rows `[first_row, stop_row)` and bins `[first_bin, stop_bin)`."""

    row_group: int
    bin_range: int
    first_row: int
    stop_row: int
    first_bin: int
    stop_bin: int

    @property
    def key(self) -> Key:
        """The tile's place in the ledger."""
        return self.row_group, self.bin_range

    @property
    def n_values(self) -> int:
        """Number of values in the tile."""
        return (self.stop_row - self.first_row) * (self.stop_bin - self.first_bin)
