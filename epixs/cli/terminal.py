"""Print messages, tables and progress on the command line, and end with an exit code."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import math
import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import indent
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
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.status import Status
from rich.table import Table

from epixs.cli.examples import EXAMPLES
from epixs.errors import EpixsError

EXIT_DONE = 0


EXIT_ROWS_FAILED = 1


EXIT_MISTAKE = 2


EXIT_INTERRUPTED = 130


EXIT_CODES = {
    EXIT_DONE: "All was done.",
    EXIT_ROWS_FAILED: "Finished with faults: some experiments could not be read (`ingest`, `status`), files "
    "cannot be read (`ingest --dry-run`), or tiles are faulty (`verify`).",
    EXIT_MISTAKE: "Nothing more was done: an option, an input or a file is not as it should be, a disk is "
    "full, or a cluster or object store cannot be reached. The message says what to do.",
    EXIT_INTERRUPTED: "Interrupted by Ctrl-C. What was written is kept; the message says how to go on. "
    "`browse`, which ends in no other way, ends with 0.",
}
"""Meaning of each exit code."""


SECONDS_PER_LINE = 60.0
"""Least time between two lines of progress in a file or a pipe."""

RESUME = "what was written is kept; run the same command again to resume"

RESUMING = ("ingest", "remove", "fit-genome", "impute", "crossvalidate", "export")
"""Verbs that resume where they were interrupted."""


WARNING = "WARNING: "


ROWS_SHOWN = 12


REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


out = Console()


err = Console(stderr=True)


notes = Console(stderr=True)
"""Console of notes and progress, which `--quiet` leaves out. Warnings and errors go to `err`."""


def plain(text: object) -> str:
    """Replace control characters: names from files must not move the cursor or clear the screen."""
    return "".join(
        sign if sign in "\n\t" or unicodedata.category(sign) != "Cc" else "\N{REPLACEMENT CHARACTER}"
        for sign in str(text)
    )


def say(message: str) -> None:
    """Print a sentence to standard output, as it is."""
    out.print(plain(message), markup=False, highlight=False, soft_wrap=True)


def reserve_stdout(context: typer.Context, wanted: bool) -> bool:
    """Leave standard output to the JSON of `--json`: messages for people go to standard error."""
    if wanted:
        out.stderr = True
        context.call_on_close(lambda: setattr(out, "stderr", False))
    return wanted


def leave_out_notes(context: typer.Context, wanted: bool) -> bool:
    """Leave notes and progress out, as `--quiet` asks."""
    if wanted:
        notes.quiet = True
        context.call_on_close(lambda: setattr(notes, "quiet", False))
    return wanted


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object to standard output. Numbers that do not exist are null."""
    print(json.dumps(as_json(content), allow_nan=False, ensure_ascii=False, indent=1))


def as_json(value: Any) -> Any:
    """Convert a value for JSON: tables to lists of objects, dataclasses to objects, NaN to null."""
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return [as_json(row) for row in value.to_dict("records")]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): as_json(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [as_json(one) for one in value]
    if hasattr(value, "item"):  # a number of numpy
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


MADE_BY = {
    "store": "make one with `epixs ingest` or `epixs impute`",
    "run": "make one with `epixs crossvalidate`, or with `epixs evaluate --report`",
    "model folder": "train one with `epixs train`",
    "metadata": "download metadata.tsv from the ENCODE portal",
    "catalog": "docs/catalog.md describes the columns; `epixs catalog` makes one",
    "regions file": "give a BED file with --regions, or `--regions genome`",
    "file": "check the path",
    "--exclude": "give a tab-separated file with the columns species, biosample and assay",
    "panel": "give a tab-separated file with the columns species, biosample and assay",
    "--pairs": "give a tab-separated file with the columns species, biosample and assay",
}


def refuse(where: str, options: dict[str, Any]) -> None:
    """Refuse options that would be ignored."""
    from epixs.errors import ConfigError

    given = [name for name, value in options.items() if value]
    if given:
        raise ConfigError(
            ", ".join(given), got=f"given {where}", expected="without, as it has no effect there"
        )


def check_present(what: str, *paths: str | Path | None) -> None:
    """Refuse a missing path before its reader is imported, which takes a second or more."""
    for path in paths:
        if path is not None and "://" not in str(path) and not Path(path).exists():
            raise EpixsError(f"{what} {path} does not exist", next_step=MADE_BY[what])


def fail(message: str) -> None:
    """Print an error to standard error, as it is."""
    err.print("error:", style="bold red", end=" ")
    err.print(plain(message), markup=False, highlight=False, soft_wrap=True)


def remark(message: str) -> None:
    """Print a remark to standard error, as it is. A remark that begins with `WARNING: ` is highlighted."""
    if message.startswith(WARNING):
        err.print("warning:", style="bold yellow", end=" ")
        err.print(plain(message.removeprefix(WARNING)), markup=False, highlight=False, soft_wrap=True)
    else:
        notes.print(f"note: {plain(message)}", markup=False, highlight=False, soft_wrap=True)


def fail_rows(failed: list[tuple[str, str]]) -> None:
    """Print the experiments `(accession, reason)` that could not be read. Equal reasons are printed once."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for accession, reason in failed:
        groups.setdefault(reason.partition(" ")[2], []).append((accession, reason))  # without the file's path
    for group in list(groups.values())[:ROWS_SHOWN]:
        accession, reason = group[0]
        more = f" and {len(group) - 1:,} more" if len(group) > 1 else ""
        fail(f"{accession}{more} could not be read: {reason}")
    if len(groups) > ROWS_SHOWN:
        fail(f"and {len(groups) - ROWS_SHOWN:,} more reasons: `epixs info` lists every experiment")


class Verb(typer.core.TyperCommand):
    """A verb whose help ends with an example to paste, which is not wrapped."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        super().format_help(ctx, formatter)
        if self.name in EXAMPLES:
            formatter.write(f"\nExample:\n\n{indent(EXAMPLES[self.name], '  ')}\n")


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
            told = stop.args[0] if stop.args else RESUME if ctx.invoked_subcommand in RESUMING else ""
            fail(f"interrupted: {told}" if told else "interrupted")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except OSError as error:
            if error.errno == errno.EPIPE:  # who read the output has gone, as `head` does
                raise
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
    """Answer Ctrl-C with a verb's message on the files that are kept, and what to do next."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(kept()) from None


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Hide the messages of TensorFlow's C++ on absent GPUs, which come before it can be configured."""
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


def waiting(what: str) -> Status:
    """Show a message on a terminal while something takes long."""
    return notes.status(what)


def start_tensorflow() -> None:
    """Import TensorFlow without its messages on absent GPUs."""
    with waiting("starting TensorFlow"), silenced():
        import tensorflow as tf

        tf.config.list_physical_devices()


class _Lines(Progress):
    """Progress for a file, such as the log of a cluster's job: a line now and then, and no bar."""

    def __init__(self) -> None:
        super().__init__(disable=True)
        self._said = time.monotonic()

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Take up the changes, and print them if the last line is old enough."""
        super().update(task_id, **changes)
        task, now = self._tasks[task_id], time.monotonic()
        if now - self._said < SECONDS_PER_LINE:
            return
        self._said = now
        state = task.fields.get("state") or f"{task.completed:,.0f} of {task.total or 0:,.0f}"
        left = "" if task.time_remaining is None else f", {seconds_text(task.time_remaining)} left"
        took = seconds_text(task.elapsed or 0)
        notes.print(plain(f"{task.description}: {state}, {took} elapsed{left}"), markup=False, soft_wrap=True)


def progress_bar(state: Any = None) -> Progress:
    """Make a progress bar with counts (or another column), time taken and time left, on standard error.

    In a file or a pipe, it is a line per minute.
    """
    if not notes.is_terminal:
        return _Lines()
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=8 if state else 40),  # a state leaves no more room on 80 columns
        state or MofNCompleteColumn(),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=notes,
        disable=notes.quiet,
    )


def counting(bar: Progress, what: str) -> Callable[[Any], None]:
    """Make a `progress` callback that advances a new task of the bar."""
    task = bar.add_task(what, total=None)
    return lambda now: bar.update(task, completed=now.tiles_done, total=now.tiles)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table: framed and folded on a terminal, else one whole line per row in aligned columns."""
    if out.is_terminal:
        out.print(table_of(title, columns, rows))
        return
    cells = [[plain(column) for column in columns], *([plain(_text(value)) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    say(title)
    for row in cells:
        say("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def table_of(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Make a table to print. Cells hold text from people and files, so markup in them is escaped."""
    table = Table(title=escape(plain(title)), title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(plain(_text(value))) for value in row))
    return table


def _text(value: object) -> str:
    """Format a cell. A number that does not exist is a dash."""
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4f}"
    return f"{value:,}" if type(value) is int else str(value)


NO_TEST = "how well it does there says nothing of tracks that nobody measured"
"""What is said of tracks that a model was trained on."""


def listed(names: Sequence[str], most: int = 5) -> str:
    """List the first few of some names: `a, b, ...`."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def bytes_text(n_bytes: float) -> str:
    """Write bytes as people read them: `1.5 MB`."""
    return decimal(int(n_bytes))


def seconds_text(seconds: float) -> str:
    """Write seconds as people read them: `3.2 s`, `12 min`, `5.1 h`."""
    for unit, size, digits in (("s", 120.0, 1), ("min", 7200.0, 0)):
        if seconds < size:
            return f"{seconds / (1 if unit == 's' else 60):.{digits}f} {unit}"
    return f"{seconds / 3600:.1f} h"
