"""`epixs catalog` and `epixs ingest`: from files to a store."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from epixs.cli.options import AsJson, DryRun, Quiet, Scheduler, Uncovered, Workers
from epixs.cli.terminal import (
    EXIT_ROWS_FAILED,
    bytes_text,
    check_present,
    counting,
    err,
    fail_rows,
    listed,
    print_json,
    progress_bar,
    remark,
    say,
    show_table,
    waiting,
)
from epixs.errors import counted

GENOME = "genome"
"""Value of --regions for a whole genome, as in `epixs.genome.bed`, which is slow to import."""


def catalog(
    metadata: Annotated[
        list[Path],
        typer.Argument(
            metavar="METADATA", help="metadata.tsv of the ENCODE portal, or the reference's manifests"
        ),
    ],
    out: Annotated[Path, typer.Option(help="catalog TSV to write")],
    core: Annotated[
        bool, typer.Option("--core", help="only >= 5 assays per biosample and biosamples per assay")
    ] = False,
    keep_perturbed: Annotated[
        bool | None,
        typer.Option(
            "--keep-perturbed/--drop-perturbed",
            help="RNA-seq after CRISPR, shRNA or siRNA; by default dropped, but kept from a manifest",
        ),
    ] = None,
    assembly: Annotated[str | None, typer.Option(help="assembly; by default each organism's newest")] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="the portal's experiment report (TSV), which names biosamples by summary"),
    ] = None,
    species: Annotated[
        str | None,
        typer.Option(help="only this species; or the name for an organism that epixs does not know"),
    ] = None,
    organisms: Annotated[
        Path | None,
        typer.Option(metavar="TSV", help="further organisms: columns organism, species, assemblies"),
    ] = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Turn an ENCODE portal metadata.tsv into a catalog: one bigWig per (biosample, assay)."""
    check_present("metadata", *metadata)
    from epixs.catalog.portal import make_catalog

    with waiting("reading tables"):
        chosen = make_catalog(
            metadata,
            out,
            core=core,
            keep_perturbed=keep_perturbed,
            assembly=assembly,
            report=report,
            species=species,
            organisms=organisms,
        )
    for text in chosen.notes:
        remark(text)
    for species in chosen.outside_core:
        remark(f"no experiment of {species} is in the Core; without --core its experiments are kept")
    for reason, count in chosen.dropped.items():
        say(f"  {count:>7,} {'file' if count == 1 else 'files'} left out: {reason}")
    _remark_on_biosamples(chosen, out, report)
    counts = chosen.table.groupby(["species", "assembly"])
    columns = ["species", "assembly", "experiments", "biosamples", "assays"]
    rows = [
        [*key, len(part), part["biosample"].nunique(), part["assay"].nunique()]
        for key, part in counts
        if isinstance(key, tuple)
    ]
    show_table(str(out), columns, rows)
    if "perturbed" in chosen.table.columns:
        perturbed = int((chosen.table["perturbed"] == "yes").sum())
        remark(
            f"{counted(perturbed, 'experiment')} after CRISPR, shRNA or siRNA, marked `perturbed` in the "
            "catalog; --drop-perturbed leaves them out"
        )
    if json:
        counted_species = [dict(zip(columns, row, strict=True)) for row in rows]
        print_json(
            {
                "catalog": out,
                "species": counted_species,
                "files_left_out": chosen.dropped,
                "others": chosen.others,
            }
        )


def _remark_on_biosamples(selection: Any, catalog: Path, report: Path | None) -> None:
    """Say which experiments may be of different biosamples under one name."""
    from epixs.catalog.portal import others_beside

    others = selection.others
    if len(others):
        labels = others.groupby(["species", "biosample", "assay"]).ngroups
        first = others.iloc[0]
        why = "under the same name in the report" if report else "which the table does not tell apart"
        remark(
            f"WARNING: {counted(labels, 'pair')} of biosample and assay have several experiments, {why}: "
            f"for instance {first['biosample']} / {first['assay']}. They may differ in life stage, donor or "
            "other conditions. One of each was taken, of one series (laboratory, donor, date) where there is "
            f"one; {counted(len(others), 'other experiment')} are listed in {others_beside(catalog)}"
            + ("" if report else ". --report REPORT.tsv, the portal's experiment report, tells them apart")
        )
    if selection.audited:
        files = f"{counted(len(selection.audited), 'file')} with an audit error of the portal"
        remark(f"{files}, used because there is no better one: {listed(selection.audited)}")
    if selection.unnamed:
        remark(
            f"{counted(len(selection.unnamed), 'experiment')} of the table are not in {report}, and named by "
            f"the table: {listed(selection.unnamed)}"
        )


def ingest(
    catalog: Annotated[Path, typer.Argument(metavar="CATALOG", help="catalog TSV")],
    out: Annotated[str, typer.Option(help="Zarr store to write, or to resume; also s3://...")],
    regions: Annotated[
        str | None,
        typer.Option(help="BED of the regions to hold; or a chrom.sizes table, or genome: all of it"),
    ] = None,
    species: Annotated[str | None, typer.Option(help="species of the catalog to ingest")] = None,
    chrom_alias: Annotated[
        Path | None, typer.Option(help="other names of its chromosomes: a chromAlias table of UCSC")
    ] = None,
    append: Annotated[
        bool, typer.Option("--append", help="add the catalog's experiments, and the regions, to the store")
    ] = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    uncovered: Annotated[
        Uncovered, typer.Option(help="bases without a value: zero, or nan to leave them out")
    ] = Uncovered.zero,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="read rows again that failed before")
    ] = False,
    tile: Annotated[
        str | None, typer.Option(metavar="I/N", help="only share I of N, in this process, for job arrays")
    ] = None,
    dry_run: DryRun = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Align bigWigs into one Zarr compendium. A second run resumes."""
    check_present("catalog", catalog)
    check_present("regions file", None if regions == GENOME else regions)
    part = _part(tile)
    mode: Any = uncovered.value
    from epixs.checks.remarks import remarks_on
    from epixs.cluster.client import open_client
    from epixs.compendium.schema import REMOVED
    from epixs.ingestion.inputs import read_inputs
    from epixs.ingestion.preview import preview
    from epixs.ingestion.run import ingest as run
    from epixs.storage.store import UNFINISHED

    table, placed, notes = read_inputs(
        catalog, regions, out, species=species, chrom_alias=chrom_alias, append=append
    )
    for note in notes:
        remark(note)
    plan = preview(out, table, placed, mode, append=append)
    planned = _show_ingest_plan(plan, table)
    if append:
        _say_what_is_added(plan, out)
    if dry_run:
        unreadable = _show_unreadable(plan, table)
        if json:
            print_json({"store": out, "plan": planned, "unreadable": unreadable})
        raise typer.Exit(EXIT_ROWS_FAILED if unreadable else 0)
    with _client_or_part(part, workers, scheduler, open_client) as client, progress_bar() as bar:
        if client is not None:
            remark(f"Dask dashboard: {client.dashboard_link}")
        done = run(
            table,
            placed,
            out,
            uncovered=mode,
            client=client,
            retry_failed=retry_failed,
            part=part,
            append=append,
            plan=plan,
            progress=counting(bar, "ingesting tiles"),
        )
    if json:
        notes = done.attrs.get("notes", [])
        print_json({"store": out, "plan": planned, "experiments": done, "notes": notes})
    if (done["status"] == UNFINISHED).all():
        say(f"{out}: share {tile} is written; the share that ends last finishes the store")
        return
    removed = done[done["status"].str.startswith(REMOVED)]
    failed = done[(done["status"] != "ok") & ~done["status"].str.startswith(REMOVED)]
    readable = f"{len(done) - len(failed) - len(removed)} of {len(done)} experiments readable"
    say(f"{out}: {readable}{f', {len(removed)} removed' if len(removed) else ''}")
    named = sorted(set(removed["accession"]) & set(table.experiments["accession"]))
    if named:
        remark(
            f"the catalog names removed experiments, which stay removed: {listed(named)}; "
            "`epixs remove --undo` restores them"
        )
    again = int(done.attrs.get("read_again", 0))
    if again:
        remark(f"{counted(again, 'experiment')} read again: their files had changed since they were read")
    _remark_on_sizes(table.experiments, done)
    for text in done.attrs.get("notes", ()):
        remark(text)
    for text in remarks_on(done, plan.species, mode):
        remark(text)
    if len(failed):
        fail_rows(list(zip(failed["accession"], failed["status"], strict=True)))
        err.print(
            "Their rows are missing (NaN), as `epixs status` says. Mend the files or the catalog and run the "
            "same command again (with --retry-failed if the files have not changed).",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(EXIT_ROWS_FAILED)


def _remark_on_sizes(catalog: Any, done: Any) -> None:
    """Say which files have another size than the catalog gives."""
    sizes = dict(zip(done["accession"], done["source_size"], strict=True))
    given = {a: int(s) for a, s in zip(catalog["accession"], catalog["size"], strict=True) if s.isdigit()}
    wrong = [name for name, size in given.items() if sizes.get(name, -1) not in (-1, size)]
    if wrong:
        remark(
            f"WARNING: {counted(len(wrong), 'file')} of another size than the catalog gives: {listed(wrong)}"
        )


def _show_unreadable(plan: Any, table: Any) -> dict[str, str]:
    """Open every file's header, and name with a reason the files that cannot be read over these regions."""
    from epixs.ingestion.cost import unreadable_sources

    with progress_bar() as bar:
        task = bar.add_task("checking headers", total=plan.n_experiments)
        unreadable = unreadable_sources(
            plan, table.assembly, lambda d, n: bar.update(task, completed=d, total=n)
        )
    fail_rows(list(unreadable.items()))
    say(f"{plan.n_experiments - len(unreadable)} of {plan.n_experiments} files fit; nothing was written")
    return dict(unreadable)


def _part(text: str | None) -> tuple[int, int] | None:
    """Read `I/N`."""
    from epixs.errors import ConfigError

    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise ConfigError("--tile", got=repr(text), expected="I/N with 1 <= I <= N, for instance 3/100")
    return int(match[1]), int(match[2])


def _client_or_part(
    part: tuple[int, int] | None, workers: int | None, scheduler: str | None, open_client: Any
) -> Any:
    """Open the Dask client, or none for one share of a job array."""
    from epixs.errors import ConfigError

    if part is None:
        return open_client(workers, scheduler)
    if workers or scheduler:
        raise ConfigError("--tile with --workers or --scheduler", got="both", expected="one of them")
    return contextlib.nullcontext()


def _say_what_is_added(plan: Any, path: str) -> None:
    from epixs.compendium.read import stored_plan
    from epixs.storage.location import absolute
    from epixs.storage.store import store_exists

    if not store_exists(absolute(path)):
        remark(f"{path} does not exist yet: a new store is made")
        return
    now = stored_plan(path)
    rows, bins = plan.n_experiments - now.n_experiments, plan.n_bins - now.n_bins
    say(f"adds {counted(rows, 'experiment')} and {counted(bins, 'bin')} to {path}")


def _show_ingest_plan(plan: Any, table: Any) -> dict[str, Any]:
    """Show the plan of an ingest and its cost, and return both as numbers."""
    from epixs.ingestion.cost import project_cost

    cost = project_cost(plan, table.assembly)
    rows = [
        ["species, assembly", f"{plan.species}, {plan.regions.assembly}"],
        [
            "experiments x bins",
            f"{plan.n_experiments:,} x {plan.n_bins:,} ({counted(len(plan.regions), 'region')})",
        ],
        ["source files", bytes_text(cost.bytes_in)],
        ["store (estimated)", f"{bytes_text(cost.bytes_out)} in {cost.objects:,} objects"],
        ["tiles", f"{cost.tiles:,}"],
        ["memory per worker", bytes_text(cost.worker_bytes)],
        ["core time (probed)", "unknown" if cost.core_seconds is None else f"{cost.core_seconds:,.0f} s"],
    ]
    show_table("ingest plan", ["what", "how much"], rows)
    return {
        "species": plan.species,
        "assembly": plan.regions.assembly,
        "experiments": plan.n_experiments,
        "bins": plan.n_bins,
        "regions": len(plan.regions),
        **vars(cost),
    }
