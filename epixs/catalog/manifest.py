"""Read the published lists of the reference model's training experiments: one row per bigWig.

`ENCODE2018Core.tsv` and `ENCODE2018Sparse.tsv` (Schreiber et al. 2020) name assays as we do, and biosamples
by the portal's summary. They do not name species and assembly, which are human and hg38.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from epixs.catalog.recognise import MANIFEST_COLUMNS
from epixs.catalog.tsv import read_tsv
from epixs.catalog.vocabulary import is_perturbed, rule_of_name, strand_of
from epixs.errors import CatalogError

PORTAL = "https://www.encodeproject.org"

EDITED = "genetic_modification_"
"""Beginning of the names of assays whose biosamples were edited."""

OLDER_NAMES = {"Accession_x": "Accession"}

SPECIES, ASSEMBLY = "human", "hg38"


def read_manifests(
    paths: Sequence[Path], species: str | None = None, assembly: str | None = None
) -> pd.DataFrame:
    """Turn published manifests into rows of a catalog; column `perturbed` is True or False.

    Raises
    ------
    CatalogError
        If a table lacks a column, or an assay has no output type.
    """
    tables = [
        read_tsv(
            path, (*MANIFEST_COLUMNS, "Accession"), what="manifest", error=CatalogError, renamed=OLDER_NAMES
        )
        for path in paths
    ]
    table = pd.concat(tables, ignore_index=True)
    rows = [
        _row(assay.strip(), summary.strip(), paths[0])
        for assay, summary in zip(table["Assay"], table["Biosample summary"], strict=True)
    ]
    named = pd.DataFrame(rows, columns=["assay", "assay_class", "output_type", "strand", "perturbed"])
    return named.assign(
        species=species or SPECIES,
        assembly=assembly or ASSEMBLY,
        biosample=table["Biosample summary"].str.strip(),
        accession=table["Accession"].str.strip(),
        path=[f"{PORTAL}{url}" if url.startswith("/") else url for url in table["Download URL"].str.strip()],
    )


def _row(assay: str, summary: str, path: Path) -> tuple[str, str, str, str, bool]:
    rule, output_type = rule_of_name(assay.removeprefix(EDITED))
    if not output_type:
        raise CatalogError(
            f"{path}: assay",
            got=repr(assay),
            expected="a name that ends with one of catalog/output_types.txt",
        )
    perturbed = rule is not None and (rule["perturbed"] == "yes" or is_perturbed(rule, summary))
    return assay, rule["assay_class"] if rule else "other", output_type, strand_of(output_type), perturbed
