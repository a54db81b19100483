"""Read genes of a local BED, GFF or GTF file, to find them by name and to draw them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from epixs.errors import RegionError
from epixs.exports.names import inert
from epixs.genome.assembly import is_number

MOST_GENES, MOST_LINES, MOST_SIGNS = 1_000_000, 20_000_000, 60

MOST_DRAWN = 2_000
"""Maximum number of genes per answer. The longest are kept."""

GFF = (".gff", ".gff3", ".gtf")


@dataclass(frozen=True)
class Gene:
    """A gene, with 0-based and half-open coordinates."""

    chrom: str
    start: int
    end: int
    name: str
    strand: str


class Genes:
    """Genes by place and by name."""

    def __init__(self, genes: list[Gene]) -> None:
        self._by_chrom: dict[str, list[Gene]] = {}
        self._by_name: dict[str, Gene] = {}
        for gene in genes:
            self._by_chrom.setdefault(gene.chrom, []).append(gene)
            known = self._by_name.get(gene.name.upper())
            if gene.name and (known is None or known.end - known.start < gene.end - gene.start):
                self._by_name[gene.name.upper()] = gene
        self._starts = {chrom: np.array([g.start for g in of]) for chrom, of in self._by_chrom.items()}
        self._ends = {chrom: np.array([g.end for g in of]) for chrom, of in self._by_chrom.items()}

    def named(self, name: str) -> Gene | None:
        """Find a gene by name, ignoring case; the longest if several have the name."""
        return self._by_name.get(name.upper())

    def within(self, chrom: str, start: int, end: int) -> list[Gene]:
        """List the genes that a stretch touches."""
        if chrom not in self._by_chrom:
            return []
        touched = np.flatnonzero((self._starts[chrom] < end) & (self._ends[chrom] > start)).tolist()
        genes = [self._by_chrom[chrom][at] for at in touched]
        return sorted(sorted(genes, key=lambda g: g.start - g.end)[:MOST_DRAWN], key=lambda g: g.start)


def read_genes(path: str | Path) -> Genes:
    """Read a BED, GFF or GTF file, plain or gzipped.

    Raises
    ------
    RegionError
        If it cannot be read, names no gene, or names too many.
    """
    path = Path(path)
    ending = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    opener: Any = gzip.open if path.suffix == ".gz" else open
    genes: list[Gene] = []
    try:
        with opener(path, "rt", encoding="utf-8", errors="replace") as lines:
            rows = islice(lines, MOST_LINES)
            for gene in _from_gff(rows) if ending.lower() in GFF else _from_bed(rows):
                genes.append(gene)
                if len(genes) > MOST_GENES:
                    raise RegionError(f"{path} has too many genes", expected=f"{MOST_GENES:,} at most")
    except (OSError, EOFError, zlib.error) as error:
        raise RegionError(
            f"{path} cannot be read", got=getattr(error, "strerror", None) or str(error)
        ) from error
    if not genes:
        raise RegionError(f"{path} names no gene", expected="BED lines, or GFF lines of type `gene`")
    return Genes(genes)


def _from_bed(lines: Iterator[str]) -> Iterator[Gene]:
    for line in lines:
        fields = line.rstrip("\r\n").split("\t")
        if len(fields) < 3 or not (is_number(fields[1]) and is_number(fields[2])):
            continue
        name, strand = (fields[at] if len(fields) > at else "" for at in (3, 5))
        yield Gene(fields[0], int(fields[1]), int(fields[2]), _shown(name), _strand(strand))


def _from_gff(lines: Iterator[str]) -> Iterator[Gene]:
    for line in lines:
        fields = line.rstrip("\r\n").split("\t")
        if len(fields) < 9 or fields[2] != "gene" or not (is_number(fields[3]) and is_number(fields[4])):
            continue
        attributes = dict(_attributes(fields[8]))
        name = next(
            (attributes[key] for key in ("gene_name", "Name", "gene", "gene_id", "ID") if key in attributes),
            "",
        )
        yield Gene(fields[0], max(0, int(fields[3]) - 1), int(fields[4]), _shown(name), _strand(fields[6]))


def _attributes(text: str) -> Iterator[tuple[str, str]]:
    """Parse attributes of GFF3 (`key=value`) and GTF (`key "value"`)."""
    for part in text.split(";"):
        key, _, value = part.strip().replace("=", " ", 1).partition(" ")
        yield key, value.strip().strip('"')


def _shown(name: str) -> str:
    return inert(name, MOST_SIGNS) if name else ""


def _strand(text: str) -> str:
    return text if text in ("+", "-") else "."
