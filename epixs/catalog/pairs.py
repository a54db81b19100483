"""Pairs: experiments identified by (species, biosample, assay), and tables of such pairs."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from epixs.catalog.tsv import read_tsv
from epixs.errors import AxisError, closest

Pair = tuple[str, str, str]
"""Type of a pair: `(species, biosample, assay)`."""


def read_pairs(path: str | Path, *, what: str = "pairs file") -> list[Pair]:
    """Read a TSV with the columns `species biosample assay`; error messages call it `what`.

    Raises
    ------
    AxisError
        If the file is missing, lacks a column or repeats a pair.
    """
    path = Path(path)
    table = read_tsv(
        path,
        ("species", "biosample", "assay"),
        what=what,
        error=AxisError,
        next_step="give a tab-separated file with the columns species, biosample and assay",
    )
    pairs = list(
        zip(
            table["species"].str.strip(),
            table["biosample"].str.strip(),
            table["assay"].str.strip(),
            strict=True,
        )
    )
    repeated = (
        [pair for pair in dict.fromkeys(pairs) if pairs.count(pair) > 1]
        if len(set(pairs)) < len(pairs)
        else []
    )
    if repeated:
        raise AxisError(f"{path} repeats a pair", got=" / ".join(repeated[0]), expected="each pair once")
    return pairs


def why_unknown(biosample: str, assay: str, biosamples: Collection[str], assays: Collection[str]) -> str:
    """Say which of an experiment's two labels is unknown, and name a similar known one."""
    labels = (("biosample", biosample, biosamples), ("assay", assay, assays))
    unknown = [
        f"unknown {what} {name!r}{closest(name, known)}" for what, name, known in labels if name not in known
    ]
    return " and ".join(unknown) or "biosample and assay are known, but not together"
