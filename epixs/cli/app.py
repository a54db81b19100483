"""The `epixs` command; its verbs are in the modules beside this one."""

from __future__ import annotations

from typing import Annotated

import typer

from epixs.cli.terminal import Verbs, say

app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Epigenomes across species: bigWig tracks to compendia to cross-species imputations.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from epixs.storage.version import epixs_version

        say(f"epixs {epixs_version()}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    pass
