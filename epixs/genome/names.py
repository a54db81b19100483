"""Match chromosomes whose names differ between files and assemblies: `1` and `chr1`, `MT` and `chrM`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from epixs.genome.assembly import Assembly

MITOCHONDRION = frozenset({"m", "mt", "mito", "mtdna", "mitochondrion", "mitochondrion_genome"})
"""Names of the mitochondrion, in lower case and without `chr`."""


def plain_name(chrom: str) -> str:
    """Return a chromosome's name without `chr`; the mitochondrion is `MT`.

    Examples
    --------
    >>> [plain_name(name) for name in ("chr1", "1", "chrM", "MT", "Chr2L", "chrUn_x")]
    ['1', '1', 'MT', 'MT', '2L', 'Un_x']
    """
    bare = re.sub(r"^chr(?=.)", "", chrom, flags=re.IGNORECASE)
    return "MT" if bare.lower() in MITOCHONDRION else bare


def own_name(chrom: str, known: Iterable[str]) -> str:
    """Return the name among `known` that means `chrom`; without exactly one such name, return `chrom`.

    Examples
    --------
    >>> own_name("chr1", ["1", "2"]), own_name("MT", ["chrM"]), own_name("X", ["chr1"])
    ('1', 'chrM', 'X')
    """
    names = set(known)
    if chrom in names:
        return chrom
    wanted = plain_name(chrom)
    same = [name for name in names if plain_name(name) == wanted]
    return same[0] if len(same) == 1 else chrom


@dataclass(frozen=True)
class ChromosomeNames:
    """The names that a file has for the chromosomes of an assembly.

    Parameters
    ----------
    names
        The file's name of each chromosome that the file has.
    other_lengths
        Chromosomes among them that have another length in the file.
    ambiguous
        Chromosomes without a clear name: several names of the file could mean one chromosome, or one name
        could mean several chromosomes. They are not in `names`.
    """

    names: dict[str, str]
    other_lengths: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()


def match_chromosomes(lengths: Mapping[str, int], assembly: Assembly) -> ChromosomeNames:
    """Find the chromosomes of an assembly in a file.

    Equal names are matched first, then names of the assembly's alias table. The others are matched without
    `chr`, and `M` with `MT`, if only one name on either side fits; those of equal length go first.

    Parameters
    ----------
    lengths
        Length of each chromosome, by the file's names.
    assembly
        The assembly, with its own names and lengths.
    """
    sizes = assembly.chrom_sizes
    names = {chrom: chrom for chrom in lengths if chrom in sizes}

    def left(key: Callable[[str], str | None]) -> list[tuple[str, str]]:
        """List pairs of an unmatched chromosome and an unmatched name with the same key."""
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
    names |= _unique(left(plain_name))  # another length: a sign of another assembly
    other = tuple(chrom for chrom, name in names.items() if sizes[chrom] != lengths[name])
    unclear = {chrom: None for key in (assembly.aliases.get, plain_name) for chrom, _ in left(key)}
    return ChromosomeNames(names, other, tuple(unclear))


def _unique(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Keep the pairs whose members both occur in no other pair."""
    chroms, names = (Counter(side) for side in zip(*pairs, strict=True)) if pairs else (Counter(), Counter())
    return {chrom: name for chrom, name in pairs if chroms[chrom] == names[name] == 1}
