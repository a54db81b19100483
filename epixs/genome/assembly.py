"""Assemblies and the lengths of their chromosomes."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from epixs.errors import RegionError
from epixs.genome.locus import MAX_CHROMOSOME
from epixs.storage.files import text_encoding


def reference_folder() -> Path:
    """Find the packaged reference data: `catalog/` in a checkout, `epixs/_catalog` in a wheel."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "_catalog"
    return packaged if packaged.is_dir() else package.parent / "catalog"


@dataclass(frozen=True)
class Assembly:
    """A genome assembly.

    Parameters
    ----------
    name
        For instance `"hg38"`.
    chrom_sizes
        Length of each of its chromosomes in bp; empty as long as only the headers of tracks could tell.
    aliases
        Maps each name of a chromosome to one name that all names of that chromosome share.
    """

    name: str
    chrom_sizes: Mapping[str, int]
    aliases: Mapping[str, str] = field(default_factory=dict)


def known_assemblies() -> list[str]:
    """List the assemblies whose chromosome sizes come with epixs."""
    suffix = ".chrom.sizes"
    tables = (reference_folder() / "chrom_sizes").glob(f"*{suffix}")
    return sorted(path.name.removesuffix(suffix) for path in tables)


MAX_TABLE = 1 << 30
"""Maximum size of a table of chromosomes in bytes."""

ALIAS_SOURCES = frozenset({"assembly", "ensembl", "genbank", "ncbi", "refseq", "ucsc"})
"""Sources of names, as the last column of older alias tables gives them."""

OTHER_NAMES = {"GRCh38": "hg38", "GRCh37": "hg19", "GRCm38": "mm10", "NCBIM37": "mm9"}


def load_assembly(name: str, beside: Path | None = None, chrom_alias: Path | None = None) -> Assembly:
    """Find the chromosome sizes of an assembly.

    Parameters
    ----------
    name
        For instance `"hg38"`.
    beside
        Folder that is searched first for `NAME.chrom.sizes` and `NAME.chromAlias.txt`. So any genome can be
        used by putting the first file beside the catalog.
    chrom_alias
        Table of other names of its chromosomes, in UCSC's format, instead of the one in that folder.

    Raises
    ------
    RegionError
        If the name is not known, or its file is not a table of names and lengths.
    """
    assembly = find_assembly(name, beside, chrom_alias)
    if assembly.chrom_sizes:
        return assembly
    raise RegionError(
        "unknown assembly",
        got=repr(name),
        expected=f"one of {', '.join(known_assemblies())}",
        next_step=f"for another genome, put {name}.chrom.sizes (name, tab, length) beside the catalog",
    )


def find_assembly(name: str, beside: Path | None = None, chrom_alias: Path | None = None) -> Assembly:
    """Find an assembly as `load_assembly` does, but return an unknown one without chromosome sizes.

    Raises
    ------
    RegionError
        If the name is not valid, is another name of a known assembly, or a file has the wrong content.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.\-]+", name):
        raise RegionError("assembly name", got=repr(name), expected="letters, digits, '_', '.' and '-'")
    folders = ([beside] if beside else []) + [reference_folder() / "chrom_sizes"]
    tables = [folder / f"{name}.chrom.sizes" for folder in folders]
    sizes = next((read_chrom_sizes(path) for path in tables if path.is_file()), {})
    if not sizes and name in OTHER_NAMES:
        raise RegionError("assembly name", got=repr(name), expected=f"{OTHER_NAMES[name]}, as UCSC names it")
    if chrom_alias is None and beside is not None:
        usual = [beside / f"{name}.chromAlias.txt{ending}" for ending in ("", ".gz")]
        chrom_alias = next((path for path in usual if path.is_file()), None)
    return Assembly(name, sizes, read_chrom_alias(chrom_alias) if chrom_alias else {})


def read_chrom_sizes(path: Path) -> dict[str, int]:
    """Read the length of each chromosome from a table of names and lengths.

    Raises
    ------
    RegionError
        If the file cannot be read, or is not such a table.
    """
    lines = read_lines(path)
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


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file, plain or gzipped.

    Raises
    ------
    RegionError
        If it cannot be read, or is not text.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            content = file.read(MAX_TABLE + 1)
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise RegionError(f"{path} cannot be read", got=why) from error
    if len(content) > MAX_TABLE:
        raise RegionError(f"{path} is too large", expected=f"at most {MAX_TABLE >> 30} GiB of text")
    try:
        return content.decode(text_encoding(content)).splitlines()
    except UnicodeDecodeError as error:
        raise RegionError(f"{path} is not a text file", got=str(error)) from error


def read_chrom_alias(path: Path) -> dict[str, str]:
    """Read a table of chromosome names, and map all names of one chromosome to the same name.

    The format is UCSC's chromAlias: one row per sequence and one column per source of names. Its older form
    has one row per alias, with the source in the last column.

    Raises
    ------
    RegionError
        If the file cannot be read, or no row has two names.
    """
    lines = read_lines(path)
    same: dict[str, str] = {}

    def first(name: str) -> str:
        while same.setdefault(name, name) != name:
            same[name] = name = same[same[name]]
        return name

    pairs = 0
    for line in lines:
        names = [name for cell in line.split("\t") if (name := cell.strip())]
        if line[:1] == "#" or len(names) < 2:
            continue
        if len(names) == 3 and set(names[2].lower().split(",")) <= ALIAS_SOURCES:
            names = names[:2]
        for name in names[1:]:
            pairs += 1
            same[first(name)] = first(names[0])
    if not pairs:
        raise RegionError(
            f"{path} is not a table of chromosome names",
            got=repr(lines[0][:80]) if lines else "nothing",
            expected="the names of one chromosome per line, with tabs between them",
            next_step="for many genomes UCSC has such a table: ASSEMBLY.chromAlias.txt",
        )
    return {name: first(name) for name in list(same)}


def is_number(text: str) -> bool:
    """Tell whether a text is a whole number that can be a coordinate."""
    return re.fullmatch(r"[0-9]{1,10}", text) is not None
