"""Read and check tab-separated tables that people and portals write; all cells are text."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from epixs.errors import EpixsError
from epixs.storage.files import text_encoding

MAX_BYTES = 1 << 30

MAX_LINE = 1 << 20

GZIP = b"\x1f\x8b"
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def read_tsv(
    path: Path,
    required: Sequence[str],
    *,
    what: str,
    error: type[EpixsError],
    next_step: str | None = None,
    renamed: Mapping[str, str] | None = None,
    preamble: bool = False,
) -> pd.DataFrame:
    """Read a table with a header line. Every cell is text, an empty one `""`. Blank lines are left out.

    The index is the line number minus 2, not counting a preamble: 0 for the line after the header.

    Parameters
    ----------
    path
        TSV file, uncompressed, UTF-8 or, as spreadsheets save it, UTF-16.
    required
        Columns that it must have.
    what, error
        Name of the file's kind for messages, and the type of error to raise.
    next_step
        Advice in the error if the file or a column is missing.
    renamed
        Other names of columns, with the names used here. A column that already has the name used here wins.
    preamble
        Whether the header may be the second line, after a line of something else.

    Raises
    ------
    EpixsError
        Of type `error`, if the file is missing, larger than 1 GiB, no tab-separated table, or lacks a column.
    """
    if not path.is_file():
        raise error(
            f"{what} {path} {'is a folder' if path.is_dir() else 'does not exist'}", next_step=next_step
        )
    if path.stat().st_size > MAX_BYTES:
        raise error(f"{path} is too large", got=f"{path.stat().st_size:,} bytes", expected="at most 1 GiB")
    with path.open("rb") as file:
        head = file.read(4)
    if head.startswith(GZIP):
        raise error(f"{path} is gzipped", expected="text", next_step=f"unpack it: `gunzip -k {path}`")
    encoding = text_encoding(head)
    skip = 1 if preamble and _header_is_second(path, required, encoding) else 0
    try:
        _check_no_nul(path, encoding, skip, error)
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
                encoding=encoding,
                skiprows=skip,
            )
    except pd.errors.ParserWarning as cause:
        raise error(
            f"{path}: a row has more cells than the header has columns",
            expected="as many tabs in every row",
            next_step="look for a tab within a cell, a column without a name, or a header that is missing",
        ) from cause
    except UnicodeError as cause:
        raise error(
            f"{path} is not UTF-8 text: {cause}",
            expected="a tab-separated table",
            next_step="save it as text in UTF-8, with tabs between the cells",
        ) from cause
    except pd.errors.EmptyDataError as cause:
        raise error(
            f"{path} is empty", expected=f"a table of {', '.join(required)}", next_step=next_step
        ) from cause
    except pd.errors.ParserError as cause:
        reason = str(cause).removeprefix("Error tokenizing data. C error: ").strip()
        raise error(f"{path} is not a tab-separated table: {reason}") from cause
    twice = sorted({str(column) for column in required if f"{column}.1" in table.columns})
    if twice:
        raise error(f"{path} has a column twice", got=twice[0], expected="each column once")
    if len(table.columns) == 1 and "," in table.columns[0]:
        raise error(f"{path} is comma-separated", expected="tabs", next_step=next_step)
    if len(table.columns) == 1 and set(required) <= set(str(table.columns[0]).split()):
        raise error(
            f"{path} has spaces between its columns",
            got=repr(str(table.columns[0])[:80]),
            expected="tabs: names may hold spaces",
            next_step="replace those between columns by tabs",
        )
    if len(table.columns) == 1 < len(required) and table.columns[0] not in required:
        raise error(
            f"{path} is not a tab-separated table",
            got=repr(str(table.columns[0])[:80]),
            expected=f"a header line with the columns {', '.join(required)}",
            next_step=next_step,
        )
    rows = zip(*(table[column].tolist() for column in table.columns), strict=True)
    filled = [any(cell.strip() for cell in row) for row in rows]
    table = table.loc[np.array(filled, dtype=bool)]
    other = {old: new for old, new in (renamed or {}).items() if new not in table.columns}
    table = table.rename(columns=other)
    missing = [column for column in required if column not in table.columns]
    if missing:
        raise error(
            f"{path}: missing column {', '.join(missing)}",
            got=", ".join(map(str, table.columns[:12])),
            expected=", ".join(required),
            next_step=next_step,
        )
    for column in required:
        cells = table[column].tolist()
        odd = next((number for number, cell in enumerate(cells) if CONTROL.search(cell)), None)
        if odd is not None:
            raise _unseen(path, table.index[odd] + 2, column, cells[odd], error)
    return table


def _check_no_nul(path: Path, encoding: str, skip: int, error: type[EpixsError]) -> None:
    """Refuse a cell with a NUL, where some versions of pandas silently end the cell."""
    with path.open(encoding=encoding) as file:
        header: list[str] = []
        for row, line in enumerate(file, 1 - skip):
            cells = line.rstrip("\n").split("\t")
            header = cells if row == 1 else header
            for number, cell in enumerate(cells):
                if "\0" in cell:
                    name = header[number] if number < len(header) else str(number + 1)
                    raise _unseen(path, row, ascii(name)[1:-1], cell, error)


def _unseen(path: Path, row: int, column: str, cell: str, error: type[EpixsError]) -> EpixsError:
    return error(
        f"{path}, row {row}, column {column}: an invisible character",
        got=ascii(cell[:80]),
        expected="text without control characters",
    )


def _header_is_second(path: Path, required: Sequence[str], encoding: str) -> bool:
    """Tell whether the second line of a file, and not the first, has the required columns."""
    with path.open(encoding=encoding, errors="replace") as file:
        first, second = ({*file.readline(MAX_LINE).rstrip("\r\n").split("\t")} for _ in range(2))
    return not set(required) <= first and set(required) <= second
