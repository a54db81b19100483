"""Recognise a table of the portal by its first lines, because people confuse them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from epixs.catalog.tsv import GZIP, MAX_LINE
from epixs.errors import CatalogError
from epixs.storage.files import text_encoding

MANIFEST_COLUMNS = ("Biosample summary", "Assay", "Download URL")
"""Columns by which the manifests published with the reference model are recognised."""

GET_METADATA = (
    "get metadata.tsv: on the portal, search for experiments, press Download, and take the address in "
    "the first line of files.txt"
)


def recognise(path: Path) -> Literal["metadata", "manifest"]:
    """Tell a manifest from the portal's `metadata.tsv`; any unknown table counts as the latter.

    Raises
    ------
    CatalogError
        If it is another file of the portal. The message says which one it is, and which one to get instead.
    """
    first, second = _first_lines(path)
    if first.lower().startswith(("http://", "https://")):
        address = first if "metadata" in first else second if "metadata" in second else ""
        raise CatalogError(
            f"{path} is the portal's list of addresses (files.txt), which does not describe the files",
            expected="metadata.tsv",
            next_step=f"the list names it: `curl -L -o metadata.tsv '{address}'`"
            if address
            else GET_METADATA,
        )
    for line in (first, second):
        columns = {cell.strip(' "') for cell in line.split("\t")} | {
            cell.strip(' "') for cell in line.split(",")
        }
        if set(MANIFEST_COLUMNS) <= columns:
            return "manifest"
        if "File accession" in columns:
            return "metadata"
        if "Accession" in columns and columns & {"Assay name", "Assay title", "Biosample summary"}:
            raise CatalogError(
                f"{path} is the portal's experiment report, which has a line per experiment, not per file",
                expected="metadata.tsv of the same experiments",
                next_step=GET_METADATA
                + "; then give this report with --report, to name biosamples by summary",
            )
        if "Accession" in columns and columns & {"Dataset", "File format", "File type"}:
            raise CatalogError(
                f"{path} is the portal's file report, which does not say what the experiments are",
                expected="metadata.tsv of the same experiments",
                next_step=GET_METADATA,
            )
    return "metadata"


def _first_lines(path: Path) -> tuple[str, str]:
    """Read the first two lines that are not empty; `""` for each that is missing or not text."""
    if not path.is_file():
        return "", ""
    with path.open("rb") as file:
        head = file.read(2 * MAX_LINE)
    if head.startswith(GZIP):
        return "", ""
    lines = [line.strip(' "\t') for line in head.decode(text_encoding(head), errors="replace").splitlines()]
    first, second, *_ = *(line for line in lines[:100] if line), "", ""
    return first, second
