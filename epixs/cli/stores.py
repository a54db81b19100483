"""`epixs verify`, `qc` and `remove`: whether a store is sound, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from epixs.cli.app import app
from epixs.cli.terminal import EXIT_ROWS_FAILED, fail, out, progress_bar, say, table_of


@app.command()
def remove(
    store: Annotated[str, typer.Argument(help="a finished store")],
    accessions: Annotated[list[str], typer.Argument(metavar="ACCESSION...", help="experiments to remove")],
    reason: Annotated[str, typer.Option(help="why, for those who read the store")] = "no reason given",
    undo: Annotated[bool, typer.Option("--undo", help="take the mark back")] = False,
) -> None:
    """Mark experiments as removed: nothing uses them any more. Their values stay for --undo."""
    from epixs.compendium.remove import remove_experiments, restore_experiments

    if not undo:
        remove_experiments(store, accessions, reason)
        say(f"{store}: {', '.join(accessions)} removed")
        return
    back = restore_experiments(store, accessions)
    for accession in accessions:
        say(
            f"{store}: {accession} {'is back' if accession in back else 'was not removed: it stays as it is'}"
        )


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
    from epixs.checks.verify import forget
    from epixs.checks.verify import verify as run
    from epixs.cluster.client import open_client
    from epixs.compendium.read import read_attributes
    from epixs.errors import ConfigError
    from epixs.genome.assembly import Assembly, read_chrom_sizes

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
    from epixs.checks.qc import quality
    from epixs.cluster.client import open_client
    from epixs.compendium.read import read_attributes
    from epixs.report.qc_page import write_qc
    from epixs.storage.files import check_report_folder

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
