"""The `epixs` command and the list of its verbs, in the order of `epixs --help`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from epixs.cli.crossvalidation import crossvalidate, split
from epixs.cli.evaluation import evaluate, plot, tables
from epixs.cli.exports import browse, export
from epixs.cli.growth import extend, fit_genome
from epixs.cli.guidance import plan
from epixs.cli.imputation import impute
from epixs.cli.ingest import catalog, ingest
from epixs.cli.show import info, status
from epixs.cli.stores import qc, remove, verify
from epixs.cli.terminal import Verb, Verbs, say
from epixs.cli.training import curves, train
from epixs.cli.worlds import demo, simulate

VERBS = (
    catalog, ingest, status, info, verify, qc, remove, split, train, curves, extend, fit_genome, impute,
    evaluate, crossvalidate, tables, plan, plot, export, browse, simulate, demo,
)  # fmt: skip

app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if sys.stderr.isatty() else None,  # in a pipe, usage errors without a frame
    help="Epigenomes across species: bigWig tracks to compendia to cross-species imputations.",
)
for verb in VERBS:
    app.command(verb.__name__.replace("_", "-"), cls=Verb)(verb)


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
