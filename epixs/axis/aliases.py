"""Match assays that catalogs name differently: tables of aliases, and names that may mean the same."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from epixs.catalog.experiments import output_type_in, slug
from epixs.catalog.tsv import read_tsv
from epixs.errors import AxisError, closest

COLUMNS = ("assay", "alias")


@dataclass(frozen=True)
class Alias:
    """One row of a table: the assay that stores call `alias` is `assay` in the model.

    It holds for one species, or for all if `species` is empty.
    """

    assay: str
    alias: str
    species: str = ""


def read_aliases(path: str | Path) -> list[Alias]:
    """Read a TSV with the columns `assay` and `alias`, and perhaps `species`.

    Raises
    ------
    AxisError
        If the file is missing, lacks a column, leaves a name empty, or gives an alias two assays.
    """
    path = Path(path)
    table = read_tsv(
        path,
        COLUMNS,
        what="--assay-alias",
        error=AxisError,
        next_step="give a tab-separated file with the columns assay (the name in the model) and alias (the "
        "name in a store); a column species limits an alias to one species",
    )
    species = table["species"] if "species" in table.columns else [""] * len(table)
    rows = [
        Alias(assay.strip(), alias.strip(), name.strip())
        for assay, alias, name in zip(table["assay"], table["alias"], species, strict=True)
    ]
    check_aliases(rows, str(path))
    return rows


def check_aliases(aliases: Sequence[Alias], where: str = "aliases") -> None:
    """Check that no name is empty, and that each alias means one assay.

    Raises
    ------
    AxisError
        If that is not so; the message names the alias.
    """
    given: dict[tuple[str, str], str] = {}
    for row in aliases:
        if not row.assay or not row.alias:
            raise AxisError(f"{where}: an empty name", got=f"{row.assay!r}, {row.alias!r}")
        if given.setdefault((row.species, row.alias), row.assay) != row.assay:
            raise AxisError(
                f"{where}: {row.alias!r} is given two assays",
                got=row.assay,
                expected=given[row.species, row.alias],
            )
    chained = sorted(
        {row.alias for row in aliases if row.alias != row.assay} & {row.assay for row in aliases}
    )
    if chained:
        raise AxisError(
            f"{where}: {chained[0]!r} is both an assay and an alias",
            expected="one name for each assay, and the others as its aliases",
        )


def aliases_of(species: str, names: Sequence[str], aliases: Sequence[Alias]) -> dict[str, str]:
    """Map each assay of a species that has another name in the model to that name."""
    assays = {row.alias: row.assay for row in aliases if row.species in ("", species)}
    assays |= {row.alias: row.assay for row in aliases if row.species == species}  # the specific row wins
    return {name: assays[name] for name in names if assays.get(name, name) != name}


def check_used(aliases: Sequence[Alias], names: Mapping[str, Sequence[str]]) -> None:
    """Check that every alias is the name of an assay of some store; `names` are those of each species.

    Raises
    ------
    AxisError
        If an alias is not; the message names it and the closest assay.
    """
    for row in aliases:
        known = sorted({n for species, own in names.items() if row.species in ("", species) for n in own})
        if row.species and row.species not in names:
            raise AxisError(
                "alias of a species that no store has",
                got=f"{row.species!r}{closest(row.species, names)}",
                expected=" or ".join(names),
            )
        if row.alias not in known:
            raise AxisError(
                "alias that no store has",
                got=f"{row.alias!r}{closest(row.alias, known)}",
                expected="the name of an assay of a store",
                next_step="list them with `epixs info STORE`",
            )


def near_names(names: Mapping[str, Sequence[str]]) -> list[tuple[str, str, str, str]]:
    """List pairs of assays that may be the same: `(species, assay, other species, other assay)`.

    Either one name has all the words of the other, as in `H3K4me3` and `ChIP-seq_H3K4me3_signal_p-value`, or
    they differ only in the output type. Neither species has the other's name, and no further name fits.
    """
    pairs = []
    species = list(names)
    for at, one in enumerate(species):
        for other in species[at + 1 :]:
            only_one = sorted(set(names[one]) - set(names[other]))
            only_other = sorted(set(names[other]) - set(names[one]))
            fits = {a: [b for b in only_other if _alike(a, b)] for a in only_one}
            back = {b: [a for a in only_one if _alike(a, b)] for b in only_other}
            pairs += [(one, a, other, b[0]) for a, b in fits.items() if len(b) == 1 and len(back[b[0]]) == 1]
    return pairs


def _alike(one: str, other: str) -> bool:
    a, b = _words(one), _words(other)
    return bool(a and b) and (a <= b or b <= a or _words(_core(one)) == _words(_core(other)))


@functools.cache
def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", name.lower()))


@functools.cache
def _core(name: str) -> str:
    """Remove the output type at the end of an assay's name."""
    kind = output_type_in(name)
    return name.removesuffix(f"_{slug(kind)}") if kind else name


def alias_command(pairs: Sequence[tuple[str, str, str, str]], path: str) -> str:
    """Return the shell command that writes a table of aliases for similar names."""
    cells = [*COLUMNS, *(name for _, assay, _, other in pairs for name in (assay, other))]
    return f"printf '%s\\t%s\\n' {' '.join(map(shlex.quote, cells))} > {path}"
