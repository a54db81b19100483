"""Chromosomes that files and assemblies call differently: `1` and `chr1`, `MT` and `chrM`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from epixs.genome.assembly import Assembly

MITOCHONDRION = frozenset({"m", "mt", "mito", "mtdna", "mitochondrion", "mitochondrion_genome"})
"""Names of the mitochondrion, in lower case and without `chr`."""


def plain_name(chrom: str) -> str:
    """A chromosome's name without `chr`; the mitochondrion is `MT`.

    Examples
    --------
    >>> [plain_name(name) for name in ("chr1", "1", "chrM", "MT", "Chr2L", "chrUn_x")]
    ['1', '1', 'MT', 'MT', '2L', 'Un_x']
    """
    plain = re.sub(r"^chr(?=.)", "", chrom, flags=re.IGNORECASE)
    return "MT" if plain.lower() in MITOCHONDRION else plain


def own_name(chrom: str, known: Iterable[str]) -> str:
    """The name that some chromosomes have for what others call `chrom`; as it is, unless one can be meant.

    Examples
    --------
    >>> own_name("chr1", ["1", "2"]), own_name("MT", ["chrM"]), own_name("X", ["chr1"])
    ('1', 'chrM', 'X')
    """
    names = set(known)
    if chrom in names:
        return chrom
    plain = plain_name(chrom)
    found = [name for name in names if plain_name(name) == plain]
    return found[0] if len(found) == 1 else chrom


@dataclass(frozen=True)
class ChromosomeNames:
    """How a file names the chromosomes of an assembly.

    Parameters
    ----------
    names
        The file's name of each chromosome that it has.
    other_lengths
        Those of them that have another length in the file.
    ambiguous
        Chromosomes that several names of the file could mean, or one name several of them; not in `names`.
    """

    names: dict[str, str]
    other_lengths: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()


def match_chromosomes(lengths: Mapping[str, int], assembly: Assembly) -> ChromosomeNames:
    """Find the chromosomes of an assembly in a file.

    Names that are equal go first, then those of the assembly's alias table. What is left is matched without
    `chr`, and `M` with `MT`, where the lengths agree and only one name on either side can be meant.

    Parameters
    ----------
    lengths
        Length of each chromosome, by the file's names.
    assembly
        Theirs, by its own.
    """
    sizes = assembly.chrom_sizes
    names = {chrom: chrom for chrom in lengths if chrom in sizes}

    def left(key: Callable[[str], str | None]) -> list[tuple[str, str]]:
        """Pairs of a chromosome and a name, neither in use, with the same key."""
        taken = set(names.values())
        by_key: dict[str | None, list[str]] = {}
        for name in lengths:
            if name not in taken:
                by_key.setdefault(key(name), []).append(name)
        by_key.pop(None, None)
        own = [chrom for chrom in sizes if chrom not in names] if by_key else []
        return [(chrom, name) for chrom in own for name in by_key.get(key(chrom), ())]

    names |= _unique(left(assembly.aliases.get))
    names |= _unique([(chrom, name) for chrom, name in left(plain_name) if sizes[chrom] == lengths[name]])
    names |= _unique(left(plain_name))  # of another length: what tells another assembly
    other = tuple(chrom for chrom, name in names.items() if sizes[chrom] != lengths[name])
    unclear = {chrom: None for key in (assembly.aliases.get, plain_name) for chrom, _ in left(key)}
    return ChromosomeNames(names, other, tuple(unclear))


def _unique(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Pairs both of whose members come once."""
    chroms, names = (Counter(side) for side in zip(*pairs, strict=True)) if pairs else (Counter(), Counter())
    return {chrom: name for chrom, name in pairs if chroms[chrom] == names[name] == 1}
