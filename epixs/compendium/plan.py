"""The plan of a store: experiments, regions, settings, layout, and the fingerprint of its content."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd
from msgspec import Meta

from epixs.compendium.schema import EXPERIMENT_LABELS, SIGNAL, SPREAD, Variable
from epixs.compendium.transform import STEPS_PER_UNIT, TRANSFORM
from epixs.declared import checked
from epixs.errors import StoreError
from epixs.genome.regions import BIN_SIZE, Regions
from epixs.storage.fingerprint import digest
from epixs.storage.store import SCHEMA_VERSION
from epixs.storage.tiling import Layout, Tile
from epixs.tracks import Uncovered

CHUNK_ROWS = 16

CHUNK_BINS = 16_384
"""Bins per chunk: 16 experiments x 16,384 bins of float32 are 1 MiB."""

Size = Annotated[int, Meta(ge=-1, lt=1 << 62)]
"""Length of a file or chromosome; -1 where unknown."""

LABELS = ("accession", "biosample", "assay", "assay_class", "output_type", "strand", "md5sum")

REGION_FIELDS = ("name", "chrom", "start", "end")

FEWEST_SHARD_CHUNKS, MOST_SHARD_CHUNKS = 16, 96

FEWEST_TILES = 16
"""Number of tiles to aim at: small stores get small shards, so that a few cores can share the work."""

COMPRESSION_RATIO = 0.40
"""Ratio of stored to uncompressed bytes, measured on 16 real histone tracks (docs/store.md)."""


def experiment_names(experiments: pd.DataFrame, removed: Collection[str] = ()) -> npt.NDArray[np.object_]:
    """Name each experiment "biosample / assay", so that an observed and an imputed one have the same name.

    Within a store, names are unique. The accession follows if an experiment was removed, because there may be
    another one of its pair, and if the names of two pairs would be equal.

    Examples
    --------
    >>> table = pd.DataFrame({"biosample": ["liver"], "assay": ["H3K4me3"], "accession": ["ENCFF1"]})
    >>> experiment_names(table)
    array(['liver / H3K4me3'], dtype=object)
    """
    gone, taken = set(removed), set()
    names = np.empty(len(experiments), dtype=object)
    labels = (experiments[name].tolist() for name in ("biosample", "assay", "accession"))
    for number, (biosample, assay, accession) in enumerate(zip(*labels, strict=True)):
        pair = f"{biosample} / {assay}"
        long = f"{pair} / {accession}"
        name = long if accession in gone else pair
        names[number] = long if name in taken else name
        taken.add(name)
    return names


def choose_layout(n_experiments: int, n_bins: int) -> Layout:
    """Choose chunks of about 1 MiB, and shards of 16 MiB for small stores, up to 96 MiB for large ones."""
    chunk_bins = min(CHUNK_BINS, n_bins)
    groups, chunks = -(-n_experiments // CHUNK_ROWS), -(-n_bins // chunk_bins)
    wanted = groups * chunks // FEWEST_TILES
    per_tile = min(chunks, max(FEWEST_SHARD_CHUNKS, min(MOST_SHARD_CHUNKS, wanted)))
    spans = -(-chunks // per_tile)  # of equal size, as far as whole chunks allow
    return Layout(min(CHUNK_ROWS, n_experiments), chunk_bins, chunk_bins * -(-chunks // spans))


@dataclass(frozen=True)
class Plan:
    """Everything that decides the content of a store.

    Parameters
    ----------
    kind
        `"observed"` or `"imputed"`.
    species
        The one species of the store.
    experiments
        One row per experiment, with the columns of `schema.EXPERIMENT_LABELS`.
    regions
        The regions of the bins, with the name of the assembly.
    uncovered
        How bases without a value count.
    provenance
        Other things on which the content depends; for an imputed store, its model.
    fixed_layout
        Layout of an existing store; a new store gets its own.
    states
        Path, size and version of each source when the plan was made; None if it is gone, or was not asked.
    chrom_alias
        Other names of the regions' chromosomes that sources may use, as in `Assembly.aliases`; no part of the
        content.
    """

    kind: str
    species: str
    experiments: pd.DataFrame
    regions: Regions
    uncovered: Uncovered
    provenance: dict[str, Any]
    fixed_layout: Layout | None = None
    states: Sequence[Any] = ()
    chrom_alias: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def layout(self) -> Layout:
        """Chunk and shard shape."""
        return self.fixed_layout or choose_layout(self.n_experiments, self.n_bins)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Variables that are written tile by tile: the signal, and its spread if a model gives it."""
        return (SIGNAL, SPREAD) if SPREAD.name in self.provenance else (SIGNAL,)

    @property
    def n_experiments(self) -> int:
        """Number of rows of the store."""
        return len(self.experiments)

    @property
    def n_bins(self) -> int:
        """Number of bins of the store."""
        return self.regions.n_bins

    @property
    def grid(self) -> tuple[int, int]:
        """Number of row groups and bin ranges."""
        return -(-self.n_experiments // self.layout.chunk_rows), -(-self.n_bins // self.layout.tile_bins)

    @property
    def n_bytes(self) -> int:
        """Uncompressed size in bytes of all variables that are written tile by tile."""
        return self.n_experiments * self.n_bins * 4 * len(self.variables)

    def tiles(self, rows: int | None = None) -> Iterator[Tile]:
        """Yield all tiles, row group by row group; `rows` sets another number of rows per tile."""
        rows, bins = rows or self.layout.chunk_rows, self.layout.tile_bins
        for group in range(-(-self.n_experiments // rows)):
            for span in range(self.grid[1]):
                yield Tile(
                    group,
                    span,
                    group * rows,
                    min(self.n_experiments, (group + 1) * rows),
                    span * bins,
                    min(self.n_bins, (span + 1) * bins),
                )

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Settings, by name, that a resumed run must share."""
        labels = self.experiments[list(LABELS)].to_numpy().tolist()
        return {
            "schema": SCHEMA_VERSION,
            "kind": self.kind,
            "species": self.species,
            "assembly": self.regions.assembly,
            "bin_size": BIN_SIZE,
            "transform": f"{TRANSFORM}/{STEPS_PER_UNIT}",
            "uncovered": self.uncovered,
            "regions": f"{len(self.regions)} with {self.n_bins} bins "
            f"({digest(_columns(self.regions, REGION_FIELDS))})",
            "experiments": f"{self.n_experiments} ({digest(labels)})",
            "provenance": digest(self.provenance),
        }

    @cached_property
    def fingerprint(self) -> str:
        """Digest of `settings`."""
        return digest(self.settings)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON can hold it; `from_dict` reads it."""
        return {
            "kind": self.kind,
            "species": self.species,
            "experiments": self.experiments.to_dict(orient="list"),
            "assembly": self.regions.assembly,
            "regions": _columns(self.regions, REGION_FIELDS),
            "uncovered": self.uncovered,
            "provenance": self.provenance,
            "chrom_sizes": dict(self.regions.chrom_sizes),
            "chrom_alias": dict(self.chrom_alias),
        }

    @classmethod
    def from_dict(cls, content: Any, problem: str) -> Plan:
        """Read a plan that `to_dict` wrote.

        Raises
        ------
        StoreError
            If it is not such a plan; the message is `problem` and the field.
        """
        saved: SavedPlan = checked(SavedPlan, content, problem, StoreError)
        columns = {variable.name: saved["experiments"].get(variable.name) for variable in EXPERIMENT_LABELS}
        for variable in EXPERIMENT_LABELS:
            kind = list[str] if variable.dtype == "string" else list[Size]
            checked(kind, columns[variable.name], f"{problem}: experiments.{variable.name}", StoreError)
        regions = Regions(saved["assembly"], *saved["regions"], saved.get("chrom_sizes", {}))
        table = pd.DataFrame(columns)
        if not regions.sound or table.empty:
            raise StoreError(problem, got="impossible regions" if len(table) else "no experiments")
        labels = (saved["kind"], saved["species"], table, regions)
        alias = saved.get("chrom_alias", {})
        return cls(*labels, saved["uncovered"], saved["provenance"], chrom_alias=alias)


class SavedPlan(TypedDict):
    """A plan as JSON holds it, with tables by columns."""

    kind: str
    species: str
    assembly: str
    experiments: dict[str, list[str | int]]
    regions: tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...], tuple[int, ...]]
    uncovered: Uncovered
    provenance: dict[str, Any]
    chrom_sizes: NotRequired[dict[str, Size]]
    chrom_alias: NotRequired[dict[str, str]]


def _columns(regions: Regions, names: tuple[str, ...]) -> list[list[Any]]:
    return [list(getattr(regions, name)) for name in names]
