"""What the command line says and how: messages, tables, progress, exit codes."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from epixs.errors import EpixsError

EXIT_ROWS_FAILED = 1


EXIT_MISTAKE = 2


EXIT_INTERRUPTED = 130


RESUME = "what was written is kept; run the same command again to resume"


PIPED_WIDTH = 160


WARNING = "WARNING: "


ROWS_SHOWN = 12


REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


out = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)


err = Console(stderr=True)


def plain(text: object) -> str:
    """Text without control characters: names from files must not move the cursor or clear the screen."""
    return "".join(
        sign if sign in "\n\t" or unicodedata.category(sign) != "Cc" else "\N{REPLACEMENT CHARACTER}"
        for sign in str(text)
    )


def say(message: str) -> None:
    """Print a sentence to standard output, as it is."""
    out.print(plain(message), markup=False, highlight=False, soft_wrap=True)


def fail(message: str) -> None:
    """Print an error to standard error, as it is."""
    err.print("error:", style="bold red", end=" ")
    err.print(plain(message), markup=False, highlight=False, soft_wrap=True)


def remark(message: str) -> None:
    """Print a remark to standard error, as it is; one that begins with `WARNING: ` stands out."""
    if message.startswith(WARNING):
        err.print("warning:", style="bold yellow", end=" ")
        message = message.removeprefix(WARNING)
    else:
        message = f"note: {message}"
    err.print(plain(message), markup=False, highlight=False, soft_wrap=True)


def fail_rows(failed: list[tuple[str, str]]) -> None:
    """Print which experiments `(accession, reason)` could not be read; the same reason once."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for accession, reason in failed:
        groups.setdefault(reason.partition(" ")[2], []).append((accession, reason))  # but for the file's path
    for group in list(groups.values())[:ROWS_SHOWN]:
        accession, reason = group[0]
        more = f" and {len(group) - 1:,} more" if len(group) > 1 else ""
        fail(f"{accession}{more} could not be read: {reason}")
    if len(groups) > ROWS_SHOWN:
        fail(f"and {len(groups) - ROWS_SHOWN:,} more reasons: `epixs info` lists every experiment")


class Verbs(typer.core.TyperGroup):
    """Turns the user's own mistakes into one message and an exit code, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except EpixsError as error:
            fail(error.message)
            raise typer.Exit(EXIT_MISTAKE) from None
        except KeyboardInterrupt as stop:
            fail(f"interrupted: {stop.args[0] if stop.args else RESUME}")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                fail(f"the disk is full: {error.filename or error.strerror}. Free some space; {RESUME}")
            elif error.errno in (*REFUSED, errno.ENOENT):
                what = "its permissions" if error.errno in REFUSED else "that its folder exists"
                fail(f"cannot write or read {error.filename}: {error.strerror}. Check {what}")
            else:
                fail(str(error))
            raise typer.Exit(EXIT_MISTAKE) from None


@contextlib.contextmanager
def on_interrupt(kept: Callable[[], str]) -> Iterator[None]:
    """Have Ctrl-C answered with what a verb knows of what is kept, and what to do next."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(kept()) from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what TensorFlow's C++ says of absent GPUs, before it can be configured, off the screen."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def start_tensorflow() -> None:
    """Import TensorFlow without what it says of GPUs that are not there."""
    with quiet():
        import tensorflow as tf

        tf.config.list_physical_devices()


def progress_bar(state: Any = None) -> Progress:
    """Progress with counts (or another column), time taken and time left, on standard error."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=8 if state else 40),  # a state leaves no more room on 80 columns
        state or MofNCompleteColumn(),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=err,
    )


def table_of(title: str, columns: list[str], rows: list[list[Any]]) -> Table:
    """A table to print; cells are text that people and files wrote, so markup in them is escaped."""
    table = Table(title=escape(plain(title)), title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    return table


def _cell(value: object) -> str:
    """A cell's text; a number that does not exist is a dash."""
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4f}"
    return escape(plain(value))


def counted(number: int, noun: str) -> str:
    """A number and its noun, in the plural but for 1: `1 experiment`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first few of some names: `a, b, ...`."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def bytes_text(n_bytes: float) -> str:
    """Bytes as people read them: `1.5 MB`."""
    return decimal(int(n_bytes))


def seconds_text(seconds: float) -> str:
    """Seconds as people read them: `3.2 s`, `12 min`, `5.1 h`."""
    for unit, size, digits in (("s", 120.0, 1), ("min", 7200.0, 0)):
        if seconds < size:
            return f"{seconds / (1 if unit == 's' else 60):.{digits}f} {unit}"
    return f"{seconds / 3600:.1f} h"
