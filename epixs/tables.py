"""Tab-separated tables that people and portals write, read as text and checked."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from epixs.errors import EpixsError

MAX_BYTES = 1 << 30
GZIP = b"\x1f\x8b"


def read_tsv(
    path: Path,
    required: Sequence[str],
    *,
    what: str,
    error: type[EpixsError],
    next_step: str | None = None,
) -> pd.DataFrame:
    """Read a table with a header line; every cell is text, an empty one is `""`.

    Parameters
    ----------
    path
        TSV file, uncompressed, UTF-8.
    required
        Columns it must have.
    what, error
        What the file is, and the type of error to raise.
    next_step
        What to do where the file or a column is missing.

    Raises
    ------
    EpixsError
        Of type `error`, if the file is missing, larger than 1 GiB, no tab-separated table or lacks a column.
    """
    if not path.is_file():
        raise error(
            f"{what} {path} {'is a folder' if path.is_dir() else 'does not exist'}", next_step=next_step
        )
    if path.stat().st_size > MAX_BYTES:
        raise error(f"{path} is too large", got=f"{path.stat().st_size:,} bytes", expected="at most 1 GiB")
    with path.open("rb") as file:
        if file.read(len(GZIP)) == GZIP:
            raise error(f"{path} is gzipped", expected="text", next_step=f"unpack it: `gunzip -k {path}`")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # cells beyond the header's are dropped
            table = pd.read_csv(
                path,
                sep="\t",
                dtype=str,
                keep_default_na=False,
                quoting=3,
                index_col=False,
                skip_blank_lines=False,
                compression=None,
                encoding="utf-8-sig",
            )
    except pd.errors.ParserWarning as cause:
        raise error(
            f"{path}: a row has more cells than the header has columns",
            expected="as many tabs in every row",
            next_step="look for a tab within a cell, or a column without a name",
        ) from cause
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as cause:
        raise error(f"{path} is not a tab-separated table: {cause}") from cause
    if len(table.columns) == 1 and "," in table.columns[0]:
        raise error(f"{path} is comma-separated", expected="tabs", next_step=next_step)
    missing = [column for column in required if column not in table.columns]
    if missing:
        raise error(
            f"{path}: missing column {', '.join(missing)}",
            got=", ".join(map(str, table.columns[:12])),
            expected=", ".join(required),
            next_step=next_step,
        )
    return table
