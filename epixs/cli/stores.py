"""`epixs verify`, `qc` and `remove`: check a store, measure its experiments, and mark some as removed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from epixs.cli.options import AsJson, Backend, Quiet, Scheduler, Workers
from epixs.cli.terminal import (
    EXIT_ROWS_FAILED,
    check_present,
    counting,
    fail,
    print_json,
    progress_bar,
    refuse,
    say,
    show_table,
)
from epixs.errors import counted


def remove(
    store: Annotated[str, typer.Argument(metavar="STORE", help="a finished store")],
    accessions: Annotated[list[str], typer.Argument(metavar="ACCESSION", help="experiments to remove")],
    reason: Annotated[str, typer.Option(help="why, for those who read the store")] = "no reason given",
    undo: Annotated[bool, typer.Option("--undo", help="take the mark back")] = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Mark experiments as removed: nothing uses them any more. Their values stay for --undo."""
    check_present("store", store)
    from epixs.compendium.remove import remove as run

    changed = run(store, accessions, reason=reason, undo=undo)
    if not undo:
        say(f"{store}: {', '.join(accessions)} removed")
    for accession in accessions if undo else ():
        was = "is back" if accession in changed else "was not removed: it stays as it is"
        say(f"{store}: {accession} {was}")
    if json:
        print_json({"store": store, "restored" if undo else "removed": changed})


def verify(
    store: Annotated[
        str,
        typer.Argument(metavar="STORE", help="a store, observed or imputed; or the folder of a track hub"),
    ],
    sources: Annotated[
        bool, typer.Option("--sources", help="read the bigWigs again and compare with them too")
    ] = False,
    backend: Annotated[
        Backend, typer.Option(help="with --sources: epixs, or pybigwig for an independent reader")
    ] = Backend.epixs,
    chrom_sizes: Annotated[
        Path | None, typer.Option(help="with --sources: chromosome sizes of a genome of your own")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="have faulty tiles written again by the next run")
    ] = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check every tile of a store against its checksum; exit code 1 if one is not as it was written.

    Or check a track hub of `epixs export --hub` against UCSC's specification.
    """
    check_present("store", store)
    if (Path(store) / "hub.txt").is_file() and not (Path(store) / "zarr.json").exists():
        refuse(
            "with a track hub",
            {"--sources": sources, "--chrom-sizes": chrom_sizes, "--repair": repair, "--workers": workers,
             "--scheduler": scheduler},
        )  # fmt: skip
        _verify_hub(store, json=json)
        return
    from epixs.checks.verify import verify as run
    from epixs.cluster.client import open_client
    from epixs.compendium.read import read_attributes
    from epixs.genome.assembly import Assembly, read_chrom_sizes

    reader: Any = backend.value
    name = read_attributes(store)["assembly"]
    assembly = Assembly(name, read_chrom_sizes(chrom_sizes)) if chrom_sizes and sources else None
    with open_client(workers, scheduler) as client, progress_bar() as bar:
        faults = run(
            store,
            sources=sources,
            assembly=assembly,
            backend=reader,
            repair=repair,
            client=client,
            progress=counting(bar, "checking tiles"),
        )
    for fault in faults:
        fail(f"{store}, tile {fault.row_group}/{fault.bin_range}: {fault.what}")
    if json:
        print_json({"store": store, "faults": faults, "repair": repair})
    if not faults:
        say(f"{store}: every tile is as it was written")
        return
    fail(
        f"not as it should be: {counted(len(faults), 'tile')}. "
        + (
            "Run the command that wrote the store again: it writes them anew"
            if repair
            else "With --repair, the command that wrote the store will write them anew"
        )
    )
    raise typer.Exit(EXIT_ROWS_FAILED)


def _verify_hub(folder: str, *, json: bool) -> None:
    """Check a track hub."""
    from epixs.exports.hub_check import check_hub

    faults = check_hub(folder)
    if json:
        print_json({"hub": folder, "faults": faults})
    if not faults:
        say(f"{folder}: a valid track hub")
        return
    for fault in faults:
        fail(f"{folder}: {fault}")
    fail(f"{counted(len(faults), 'fault')}: `epixs export --hub` into this folder writes its texts anew")
    raise typer.Exit(EXIT_ROWS_FAILED)


def qc(
    store: Annotated[str, typer.Argument(metavar="STORE", help="an observed store")],
    report: Annotated[Path, typer.Option(help="folder for qc.html and qc.tsv")],
    workers: Workers = None,
    scheduler: Scheduler = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure every experiment, name those that stand out, and write a page to look at."""
    from epixs.storage.files import check_report_folder

    check_report_folder(report)
    check_present("store", store)
    from epixs.cluster.client import open_client
    from epixs.compendium.read import read_attributes
    from epixs.report.qc_page import qc as run

    read_attributes(store)  # fails before workers are started
    with open_client(workers, scheduler) as client, progress_bar() as bar:
        table = run(store, report, client=client, progress=counting(bar, "measuring"))
    noted = table[table["notes"] != ""]
    names = ["biosample", "assay", "accession", "notes"]
    if len(noted):
        show_table("experiments that stand out", names, noted[names].to_numpy().tolist())
    else:
        say("no experiment stands out")
    for path in table.attrs["files"]:
        say(f"wrote {path}")
    if json:
        print_json({"store": store, "experiments": table, "files": table.attrs["files"]})
