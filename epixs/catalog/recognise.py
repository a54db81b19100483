"""Which table of the portal a file is, by its first lines: people give one for another."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from epixs.catalog.tsv import GZIP, MAX_LINE
from epixs.errors import CatalogError
from epixs.storage.files import text_encoding

MANIFEST_COLUMNS = ("Biosample summary", "Assay", "Download URL")
"""Columns of the manifests that were published with the reference model, by which they are known."""

GET_METADATA = (
    "get metadata.tsv: on the portal, search for experiments, press Download, and take the address in "
    "the first line of files.txt"
)


def recognise(path: Path) -> Literal["metadata", "manifest"]:
    """Say whether a table is a manifest, or else for what the portal's `metadata.tsv` is taken.

    Raises
    ------
    CatalogError
        If it is another file of the portal, which cannot be used instead: what it is, and which one to get.
    """
    first, second = _first_lines(path)
    if first.lower().startswith(("http://", "https://")):
        address = first if "metadata" in first else second if "metadata" in second else ""
        raise CatalogError(
            f"{path} is the portal's list of addresses (files.txt), which says nothing of the files",
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
    """The first two lines that hold anything; empty where there are none, or the file is no text."""
    if not path.is_file():
        return "", ""
    with path.open("rb") as file:
        head = file.read(2 * MAX_LINE)
    if head.startswith(GZIP):
        return "", ""
    lines = [line.strip(' "\t') for line in head.decode(text_encoding(head), errors="replace").splitlines()]
    first, second, *_ = *(line for line in lines[:100] if line), "", ""
    return first, second
