"""Assemblies and the lengths of their chromosomes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from epixs.errors import RegionError
from epixs.genome.locus import MAX_CHROMOSOME


def reference_folder() -> Path:
    """Folder of the packaged reference data: `catalog/` of a checkout, `epixs/_catalog` of a wheel."""
    here = Path(__file__).resolve().parents[1]
    packaged = here / "_catalog"
    return packaged if packaged.is_dir() else here.parent / "catalog"


@dataclass(frozen=True)
class Assembly:
    """A genome assembly: its name and the length of each of its chromosomes in bp."""

    name: str
    chrom_sizes: Mapping[str, int]


def known_assemblies() -> list[str]:
    """Names of the assemblies whose chromosome sizes come with epixs."""
    suffix = ".chrom.sizes"
    found = (reference_folder() / "chrom_sizes").glob(f"*{suffix}")
    return sorted(path.name.removesuffix(suffix) for path in found)


OTHER_NAMES = {"GRCh38": "hg38", "GRCh37": "hg19", "GRCm38": "mm10", "NCBIM37": "mm9"}


def load_assembly(name: str, beside: Path | None = None) -> Assembly:
    """Find the chromosome sizes of an assembly.

    Parameters
    ----------
    name
        For instance `"hg38"`.
    beside
        Folder that is searched first for `NAME.chrom.sizes`, so that any genome can be used by
        putting that file beside the catalog.

    Raises
    ------
    RegionError
        If the name is not known, or its file is not a table of names and lengths.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.\-]+", name):
        raise RegionError("assembly name", got=repr(name), expected="letters, digits, '_', '.' and '-'")
    folders = ([beside] if beside else []) + [reference_folder() / "chrom_sizes"]
    for folder in folders:
        path = folder / f"{name}.chrom.sizes"
        if path.is_file():
            return Assembly(name, read_chrom_sizes(path))
    if name in OTHER_NAMES:
        raise RegionError("assembly name", got=repr(name), expected=f"{OTHER_NAMES[name]}, as UCSC names it")
    raise RegionError(
        "unknown assembly",
        got=repr(name),
        expected=f"one of {', '.join(known_assemblies())}",
        next_step=f"for another genome, put {name}.chrom.sizes (name, tab, length) beside the catalog",
    )


def read_chrom_sizes(path: Path) -> dict[str, int]:
    """Length of each chromosome, from a table of names and lengths.

    Raises
    ------
    RegionError
        If the file cannot be read, or is not such a table.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise RegionError(f"{path} cannot be read", got=error.strerror or type(error).__name__) from error
    sizes: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        if len(fields) < 2 or not is_number(fields[1]) or not 0 < int(fields[1]) <= MAX_CHROMOSOME:
            raise RegionError(f"{path}, line {number}", got=repr(line), expected="a name, a tab and a length")
        if sizes.setdefault(fields[0], int(fields[1])) != int(fields[1]):
            raise RegionError(
                f"{path}, line {number}: {fields[0]} again", got=fields[1], expected=sizes[fields[0]]
            )
    if not sizes:
        raise RegionError(f"{path} names no chromosome", expected="lines of a name, a tab and a length")
    return sizes


def is_number(text: str) -> bool:
    """Whether a text is a whole number that a coordinate can be."""
    return re.fullmatch(r"[0-9]{1,10}", text) is not None
