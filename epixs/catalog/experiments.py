"""The catalog: one row per experiment, written by hand or made from `metadata.tsv` of the ENCODE portal.

`catalog/README.md` describes its columns.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd

from epixs.catalog.tsv import read_tsv
from epixs.errors import CatalogError, RegionError, counted
from epixs.genome.assembly import Assembly, find_assembly, reference_folder
from epixs.storage.files import write_new
from epixs.storage.location import is_url

REQUIRED = ("species", "assembly", "biosample", "assay", "assay_class", "accession", "output_type", "path")

OPTIONAL = ("strand", "md5sum", "size", "perturbed")

ASSAY_CLASSES = ("histone", "protein_binding", "transcription", "accessibility", "other")

CORE_MINIMUM = 5

MISSING = "(missing)"
"""Text that no label may have: in stores it stands for a missing label."""

PROBLEMS_SHOWN = 12


@dataclass(frozen=True)
class Catalog:
    """The validated experiments of one species.

    Parameters
    ----------
    species
        For instance `"mouse"`.
    assembly
        The assembly with its chromosome sizes; without them if only the headers of the tracks tell them.
    experiments
        One row per experiment, columns `REQUIRED + OPTIONAL`, all text; `path` is absolute or a URL. The
        index is the line number in the file.
    """

    species: str
    assembly: Assembly
    experiments: pd.DataFrame


def slug(text: str) -> str:
    """Replace spaces by underscores, as in the parts of an assay's name."""
    return re.sub(r"\s+", "_", text.strip())


def vocabulary() -> pd.DataFrame:
    """Read the packaged assay vocabulary: how each assay's signal is chosen, named and classed."""
    return pd.read_csv(reference_folder() / "assays.tsv", sep="\t", dtype=str, keep_default_na=False)


def output_type_in(assay: str) -> str:
    """Return the output type that an assay's name ends with; empty if there is none."""
    return next((kind for ending, kind in _endings() if assay.endswith(ending)), "")


@functools.cache
def _endings() -> tuple[tuple[str, str], ...]:
    """List the endings of assay names that name an output type, with that type; longer endings come first."""
    lines = (reference_folder() / "output_types.txt").read_text(encoding="utf-8").split("\n")
    kinds = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    return tuple((f"_{slug(kind)}", kind) for kind in sorted(kinds, key=len, reverse=True))


def read_catalog(
    path: str | Path,
    species: str | None = None,
    *,
    check_files: bool = True,
    chrom_alias: str | Path | None = None,
) -> Catalog:
    """Read and validate the experiments of one species.

    Parameters
    ----------
    path
        A tab-separated file with the columns `REQUIRED`.
    species
        Needed if the file holds more than one.
    check_files
        Whether a local file that does not exist is a problem.
    chrom_alias
        Table of other names of the assembly's chromosomes, in UCSC's format. By default it is
        `ASSEMBLY.chromAlias.txt` beside the catalog, if that exists.

    Raises
    ------
    CatalogError
        If rows cannot be used. The message names each row and column, what was got and what was expected.
    """
    path = Path(path)
    table = _read_table(path)
    species_listed = list(dict.fromkeys(table["species"]))
    if species is None and len(species_listed) > 1:
        raise CatalogError(
            f"{path} holds several species",
            got=", ".join(species_listed),
            expected="one store per species",
            next_step=f"name one with --species, for instance --species {species_listed[0]}",
        )
    species = species or species_listed[0]
    table = table[table["species"] == species]
    if table.empty:
        raise CatalogError(
            f"{path} has no species", got=repr(species), expected=" or ".join(map(repr, species_listed))
        )
    problems = list(_row_problems(table)) + list(_table_problems(table))
    table = table.assign(path=[_resolve(path.parent, value) for value in table["path"]])
    if check_files:
        problems += missing_files(table)
    _raise_problems(path, problems)
    try:
        names = Path(chrom_alias) if chrom_alias else None
        assembly = find_assembly(table["assembly"].iloc[0], path.parent, names)
    except RegionError as error:
        raise CatalogError(f"{path}, row {table.index[0]}, column assembly: {error.message}") from error
    return Catalog(species, assembly, table)


def missing_files(experiments: pd.DataFrame) -> list[str]:
    """List, in one sentence each, the rows of a catalog whose local file does not exist."""
    return [
        f"row {row}, column path: got {value!r}, which does not exist; expected a file or a URL"
        for row, value in experiments["path"].items()
        if value and not is_url(value) and not os.path.isfile(value)
    ]


def _read_table(path: Path) -> pd.DataFrame:
    """Read the TSV as text; the index is the line number in the file."""
    table = read_tsv(
        path,
        REQUIRED,
        what="catalog",
        error=CatalogError,
        next_step="catalog/README.md describes the columns; `epixs catalog` makes one",
    )
    if table.empty:
        raise CatalogError(f"{path} has no rows", expected="one row per experiment")
    for column in OPTIONAL:
        if column not in table.columns:
            table[column] = ""
    columns = (*REQUIRED, *OPTIONAL)
    table = pd.DataFrame({column: [cell.strip() for cell in table[column]] for column in columns})
    table.index += 2
    return table


def _resolve(folder: Path, value: str) -> str:
    if is_url(value) or not value:
        return value
    return os.path.abspath(folder / value)


def _row_problems(table: pd.DataFrame) -> Iterable[str]:
    for row, record in zip(table.index, table.to_dict("records"), strict=True):  # a Series per row is slow
        for column in ("species", "assembly", "biosample", "assay", "accession", "output_type", "path"):
            if not record[column]:
                yield f"row {row}, column {column}: got nothing; expected a value"
            elif record[column] == MISSING:
                yield f"row {row}, column {column}: got {MISSING!r}; expected a name: this text means no name"
        if is_url(record["path"]) and "@" in urlsplit(record["path"]).netloc:
            yield (
                f"row {row}, column path: got a URL with a user name or password; expected a URL without, "
                "because stores keep it (keys for s3, gs and az go into the environment)"
            )
        if record["assay_class"] not in ASSAY_CLASSES:
            yield (
                f"row {row}, column assay_class: got {record['assay_class']!r}; "
                f"expected one of {', '.join(ASSAY_CLASSES)}"
            )
        named = output_type_in(record["assay"])
        if named and named != record["output_type"]:
            yield (
                f"row {row}, column output_type: got {record['output_type']!r}; "
                f"expected {named!r}, which the assay name {record['assay']!r} ends with"
            )


def _table_problems(table: pd.DataFrame) -> Iterable[str]:
    first_assembly = table["assembly"].iloc[0]
    for row, value in table["assembly"].items():
        if value != first_assembly:
            yield (
                f"row {row}, column assembly: got {value!r}; expected {first_assembly!r} as in row "
                f"{table.index[0]} (one assembly per species)"
            )
    for columns in (["biosample", "assay"], ["accession"]):
        seen: dict[tuple[str, ...], object] = {}
        for row, *values in table[columns].itertuples(name=None):
            key = tuple(values)
            if key in seen and any(key):
                yield (
                    f"row {row}, column {' and '.join(columns)}: got {', '.join(map(repr, key))} again; "
                    f"expected it once (first in row {seen[key]})"
                )
            seen.setdefault(key, row)


def _raise_problems(path: Path, problems: list[str]) -> None:
    if problems:
        listed = "\n  ".join(problems[:PROBLEMS_SHOWN])
        more = len(problems) - PROBLEMS_SHOWN
        rest = f"\n  and {more} more" if more > 0 else ""
        raise CatalogError(
            f"{path}: {counted(len(problems), 'problem')}\n  {listed}{rest}\nCorrect these rows"
        )


def core_experiments(table: pd.DataFrame, minimum: int = CORE_MINIMUM) -> pd.DataFrame:
    """Keep biosamples with at least `minimum` assays and assays with at least `minimum` biosamples.

    The filter is repeated until nothing changes, within each species (Core set of Schreiber et al. 2019).
    """
    while True:
        assays = table.groupby(["species", "biosample"])["assay"].transform("nunique")
        biosamples = table.groupby(["species", "assay"])["biosample"].transform("nunique")
        kept = table[(assays >= minimum) & (biosamples >= minimum)]
        if len(kept) == len(table):
            return kept
        table = kept


def write_catalog(table: pd.DataFrame, path: str | Path, *, paths_from: str | Path | None = None) -> None:
    """Write experiments as a catalog TSV.

    Parameters
    ----------
    table
        Experiments, with the columns `REQUIRED`.
    path
        The TSV to write.
    paths_from
        Folder that relative paths in `table` start from; they are written relative to the TSV's folder.
    """
    if paths_from is not None:
        folder = os.path.abspath(Path(path).parent)
        table = table.assign(
            path=[
                value
                if is_url(value) or os.path.isabs(value)
                else os.path.relpath(Path(paths_from) / value, folder)
                for value in table["path"]
            ]
        )
    columns = [*REQUIRED, *(column for column in OPTIONAL if column in table.columns)]
    text = table[columns].astype(str).map(lambda cell: re.sub(r"[\t\r\n]+", " ", cell))
    lines = ["\t".join(columns), *("\t".join(row) for row in text.itertuples(index=False, name=None))]
    write_new(Path(path), "\n".join(lines) + "\n", CatalogError)
