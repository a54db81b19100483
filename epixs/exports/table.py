"""Read and write the table of tracks in a folder: what each file is, and from what it was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from epixs.catalog.tsv import read_tsv
from epixs.errors import StoreError
from epixs.exports.names import one_line
from epixs.storage.files import write_text

TABLE = "tracks.tsv"

NUMBERS = {"low": float, "high": float, "bases": int, "size": int}

COLUMNS = (
    "file", "species", "assembly", "kind", "role", "biosample", "assay", "assay_class", "accession",
    "output_type", "line", "scale", *NUMBERS, "fingerprint",
)  # fmt: skip


def read_table(folder: Path) -> dict[str, dict[str, Any]]:
    """Read a folder's table as one record per file; empty if there is no table.

    Raises
    ------
    StoreError
        If the file is not a table of tracks.
    """
    path = folder / TABLE
    if not path.is_file():
        return {}
    mend = "delete the folder, and all tracks are written anew; or name another one"
    needed = [name for name in COLUMNS if name != "role"]  # earlier tables lack it
    table = read_tsv(path, needed, what="table of tracks", error=StoreError, next_step=mend)
    if "role" not in table:
        table["role"] = ""
    try:
        for name, number in NUMBERS.items():
            table[name] = [number(text) for text in table[name]]
    except ValueError as error:
        raise StoreError(f"{path} is damaged", got=str(error), next_step=mend) from error
    records = [dict(zip(COLUMNS, row, strict=True)) for row in table[list(COLUMNS)].to_numpy(dtype=object)]
    return {record["file"]: record for record in records}


def tracks_table(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Make a table of records."""
    return pd.DataFrame([dict(record) for record in records], columns=list(COLUMNS))


def write_table(folder: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Replace a folder's table in one step."""
    lines = ["\t".join(COLUMNS)]
    lines += ["\t".join(one_line(str(record[name])) for name in COLUMNS) for record in records]
    write_text(folder / TABLE, "\n".join(lines) + "\n")
