"""`epixs status`, `info`, `verify`, `qc` and `remove`: what a store holds and whether it is sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from epixs.cli.app import app
from epixs.terminal import (
    EXIT_ROWS_FAILED,
    counted,
    fail,
    fail_rows,
    out,
    progress_bar,
    say,
    table_of,
)


@app.command()
def status(store: Annotated[str, typer.Argument(help="a store, finished or not")]) -> None:
    """Show how far a store is and which experiments could not be read; exit code 1 if there are any."""
    from epixs.compendium.store import store_status

    state = store_status(store)
    say(
        f"{store}: {state.status}, {state.tiles_done} of {state.tiles} tiles written, "
        f"{len(state.failed)} of {state.experiments} experiments could not be read"
    )
    for name, reason in state.removed:
        say(f"  {name} is removed: {reason}")
    if state.status != "complete":
        say("run the command that writes it again: it resumes where it stopped")
    fail_rows(state.failed)
    if state.failed:
        raise typer.Exit(EXIT_ROWS_FAILED)


@app.command()
def remove(
    store: Annotated[str, typer.Argument(help="a finished store")],
    accessions: Annotated[list[str], typer.Argument(metavar="ACCESSION...", help="experiments to remove")],
    reason: Annotated[str, typer.Option(help="why, for those who read the store")] = "no reason given",
    undo: Annotated[bool, typer.Option("--undo", help="take the mark back")] = False,
) -> None:
    """Mark experiments as removed: nothing uses them any more. Their values stay for --undo."""
    from epixs.compendium.lock import writing
    from epixs.compendium.write import remove_experiments, restore_experiments

    with writing(store):
        if undo:
            restore_experiments(store, accessions)
        else:
            remove_experiments(store, accessions, reason)
    say(f"{store}: {', '.join(accessions)} {'is back' if undo else 'removed'}")


@app.command()
def verify(
    store: Annotated[str, typer.Argument(help="a store, observed or imputed")],
    sources: Annotated[
        bool, typer.Option("--sources", help="read the bigWigs again and compare with them too")
    ] = False,
    backend: Annotated[
        str, typer.Option(help="with --sources: epixs, or pybigwig for an independent reader")
    ] = "epixs",
    chrom_sizes: Annotated[
        Path | None, typer.Option(help="with --sources: chromosome sizes of a genome of your own")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="have faulty tiles written again by the next run")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="worker processes on this machine")] = None,
    scheduler: Annotated[str | None, typer.Option(help="address of a running Dask scheduler")] = None,
) -> None:
    """Check every tile of a store against its checksum; exit code 1 if one is not as it was written."""
    from epixs.cluster import open_client
    from epixs.compendium.store import read_attributes
    from epixs.compendium.verify import forget
    from epixs.compendium.verify import verify as run
    from epixs.errors import ConfigError
    from epixs.genome import Assembly, read_chrom_sizes

    if backend not in ("epixs", "pybigwig"):
        raise ConfigError("--backend", got=repr(backend), expected="epixs or pybigwig")
    reader: Any = backend
    name = read_attributes(store)["assembly"]
    assembly = Assembly(name, read_chrom_sizes(chrom_sizes)) if chrom_sizes else None
    with open_client(workers, scheduler) as client, progress_bar() as bar:
        task = bar.add_task("checking tiles", total=None)
        faults = run(
            store,
            sources=sources,
            assembly=assembly if sources else None,
            backend=reader,
            client=client,
            progress=lambda p: bar.update(task, completed=p.tiles_done, total=p.tiles),
        )
    for fault in faults:
        fail(f"{store}, tile {fault.row_group}/{fault.bin_range}: {fault.what}")
    if not faults:
        say(f"{store}: every tile is as it was written")
        return
    if repair:
        forget(store, faults)
    fail(
        f"{len(faults)} tile(s) are not as they should be. "
        + (
            "Run the command that wrote the store again: it writes them anew"
            if repair
            else "With --repair, the command that wrote the store will write them anew"
        )
    )
    raise typer.Exit(EXIT_ROWS_FAILED)


@app.command()
def qc(
    store: Annotated[str, typer.Argument(help="an observed store")],
    report: Annotated[Path, typer.Option(help="folder for qc.html and qc.tsv")],
    workers: Annotated[int | None, typer.Option(min=1, help="worker processes on this machine")] = None,
    scheduler: Annotated[str | None, typer.Option(help="address of a running Dask scheduler")] = None,
) -> None:
    """Measure every experiment, name those that stand out, and write a page to look at."""
    from epixs.cluster import open_client
    from epixs.compendium.store import read_attributes
    from epixs.files import check_report_folder
    from epixs.qc import quality
    from epixs.qc_page import write_qc

    check_report_folder(report)
    attributes = read_attributes(store)
    with open_client(workers, scheduler) as client, progress_bar() as bar:
        task = bar.add_task("measuring", total=None)
        table = quality(
            store,
            client=client,
            progress=lambda p: bar.update(task, completed=p.tiles_done, total=p.tiles),
        )
    noted = table[table["notes"] != ""]
    names = ["biosample", "assay", "accession", "notes"]
    if len(noted):
        out.print(table_of("experiments that stand out", names, noted[names].to_numpy().tolist()))
    else:
        say("no experiment stands out")
    for path in write_qc(
        table, report, f"{attributes['species']} ({attributes['assembly']}): {Path(store).name}"
    ):
        say(f"wrote {path}")


@app.command()
def info(store: Annotated[str, typer.Argument(help="a store")]) -> None:
    """Show what a store holds: species, bins, units and experiments."""
    from epixs.compendium.store import experiments_of, open_compendium, regions_of

    dataset = open_compendium(store, unfinished=True)
    regions, table = regions_of(dataset), experiments_of(dataset)
    rows = [
        [name, dataset.attrs[name]]
        for name in ("kind", "status", "species", "assembly", "units", "uncovered")
    ]
    size = f"{regions.n_bins:,} of {dataset.attrs['bin_size']} bp"
    rows.append(["bins", f"{size} in {counted(len(regions), 'region')}"])
    rows.append(
        [
            "experiments",
            f"{len(table):,}: {counted(table['biosample'].nunique(), 'biosample')} x "
            f"{counted(table['assay'].nunique(), 'assay')}",
        ]
    )
    out.print(table_of(str(store), ["what", "value"], rows))
    columns = ["accession", "biosample", "assay", "assay_class", "status", "signal_mean", "signal_max"]
    out.print(table_of("experiments", columns, table[columns].to_numpy().tolist()))
