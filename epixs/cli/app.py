"""The `epixs` command; its verbs are in the modules beside this one."""

from __future__ import annotations

import typer

from epixs.terminal import Verbs

app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Epigenomes across species: bigWig tracks to compendia to cross-species imputations.",
)
