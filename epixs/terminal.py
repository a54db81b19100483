"""What the command line says and how: messages, tables, progress, exit codes."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any

import typer
from rich.console import Console
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
KEPT = {
    "train": "what was written is kept: MODEL_DIR holds the best model so far, if an epoch had ended",
    "demo": "what was written is kept; start again in another folder",
}

out = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
err = Console(stderr=True)


def say(message: str) -> None:
    """Print a sentence to standard output, as it is."""
    out.print(message, markup=False, highlight=False, soft_wrap=True)


def fail(message: str) -> None:
    """Print an error to standard error, as it is."""
    err.print("error:", style="bold red", end=" ")
    err.print(message, markup=False, highlight=False, soft_wrap=True)


class Verbs(typer.core.TyperGroup):
    """Turns the user's own mistakes into one message and an exit code, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except EpixsError as error:
            fail(error.message)
            raise typer.Exit(EXIT_MISTAKE) from None
        except KeyboardInterrupt:
            fail(f"interrupted: {KEPT.get(str(ctx.invoked_subcommand), RESUME)}")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                fail(f"the disk is full: {error.filename or error.strerror}. Free some space; {RESUME}")
            elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                fail(f"cannot write or read {error.filename}: {error.strerror}. Check its permissions")
            else:
                fail(str(error))
            raise typer.Exit(EXIT_MISTAKE) from None


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
        BarColumn(),
        state or MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=err,
    )


def table_of(title: str, columns: list[str], rows: list[list[Any]]) -> Table:
    """A table to print; cells are text that people and files wrote, so markup in them is escaped."""
    table = Table(title=escape(title), title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(f"{cell:.4f}" if isinstance(cell, float) else escape(str(cell)) for cell in row))
    return table


def bytes_text(n_bytes: float) -> str:
    """Bytes as people read them: `1.5 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"
