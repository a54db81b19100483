"""The `epixs` command: each verb wires public calls, shows a plan, progress and a table."""

from __future__ import annotations

import contextlib
import math
import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import TextColumn

from epixs.terminal import (
    EXIT_ROWS_FAILED,
    Verbs,
    bytes_text,
    counted,
    err,
    fail,
    on_interrupt,
    out,
    progress_bar,
    remark,
    say,
    start_tensorflow,
    table_of,
)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what TensorFlow says of missing GPUs helps no one

SHOWN = 5

app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Epigenomes across species: bigWig tracks to compendia to cross-species imputations.",
)


def main() -> None:
    """Entry point of the `epixs` command."""
    app()


@app.command()
def catalog(
    metadata: Annotated[Path, typer.Argument(help="metadata.tsv of the ENCODE portal")],
    out_path: Annotated[Path, typer.Option("--out", help="catalog TSV to write")],
    core: Annotated[
        bool, typer.Option("--core", help=">= 5 assays per biosample and biosamples per assay")
    ] = False,
    keep_perturbed: Annotated[bool, typer.Option(help="keep RNA-seq after CRISPR, shRNA or siRNA")] = False,
    assembly: Annotated[str | None, typer.Option(help="instead of each organism's newest")] = None,
) -> None:
    """Turn an ENCODE portal metadata.tsv into a catalog: one bigWig per (biosample, assay)."""
    from epixs.catalog import write_catalog
    from epixs.portal import select_experiments

    selection = select_experiments(metadata, core=core, keep_perturbed=keep_perturbed, assembly=assembly)
    write_catalog(selection.table, out_path, paths_from=metadata.parent)
    for reason, count in selection.dropped.items():
        out.print(f"  {count:>7,} files left out: {reason}", highlight=False)
    counts = selection.table.groupby(["species", "assembly"])
    rows = [
        [*key, len(part), part["biosample"].nunique(), part["assay"].nunique()]
        for key, part in counts
        if isinstance(key, tuple)
    ]
    out.print(table_of(str(out_path), ["species", "assembly", "experiments", "biosamples", "assays"], rows))


@app.command()
def ingest(
    catalog_path: Annotated[Path, typer.Argument(metavar="CATALOG", help="catalog TSV")],
    regions: Annotated[Path, typer.Option(help="BED of the regions to hold")],
    out_path: Annotated[Path, typer.Option("--out", help="Zarr store to write, or to go on with")],
    species: Annotated[str | None, typer.Option(help="which species of the catalog")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="worker processes on this machine")] = None,
    scheduler: Annotated[str | None, typer.Option(help="address of a running Dask scheduler")] = None,
    uncovered: Annotated[
        str, typer.Option(help="bases without a value: zero, or nan to leave them out")
    ] = "zero",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="read rows again that failed before")
    ] = False,
    tile: Annotated[
        str | None, typer.Option(metavar="I/N", help="only part I of N, in this process, for job arrays")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="show the plan and its cost, write nothing")
    ] = False,
) -> None:
    """Align bigWigs into one Zarr compendium. Run again, it resumes."""
    from epixs.catalog import PROBLEMS_SHOWN, missing_files, read_catalog
    from epixs.cluster import open_client
    from epixs.compendium.ingest import UNFINISHED, plan_ingest
    from epixs.compendium.ingest import ingest as run
    from epixs.errors import ConfigError
    from epixs.genome import read_regions

    if uncovered not in ("zero", "nan"):
        raise ConfigError("--uncovered", got=repr(uncovered), expected="zero or nan")
    mode: Any = uncovered
    part = _part(tile)
    table = read_catalog(catalog_path, species, check_files=False)
    placed, notes = read_regions(regions, table.assembly)
    for note in notes:
        err.print(f"note: {note}", highlight=False, markup=False)
    plan = plan_ingest(table, placed, mode)
    _show_ingest_plan(plan, table)
    gone = missing_files(table.experiments)
    for problem in gone[:PROBLEMS_SHOWN]:
        fail(f"{catalog_path}, {problem}")
    if len(gone) > PROBLEMS_SHOWN:
        fail(f"and {len(gone) - PROBLEMS_SHOWN} more files that do not exist")
    if dry_run:
        raise typer.Exit(EXIT_ROWS_FAILED if gone else 0)
    with _client_or_part(part, workers, scheduler, open_client) as client, progress_bar() as bar:
        if client is not None:
            err.print(f"Dask dashboard: {client.dashboard_link}", highlight=False)
        task = bar.add_task("ingesting tiles", total=None)
        done = run(
            table,
            placed,
            out_path,
            uncovered=mode,
            client=client,
            retry_failed=retry_failed,
            part=part,
            progress=lambda p: bar.update(task, completed=p.tiles_done, total=p.tiles),
        )
    if (done["status"] == UNFINISHED).all():
        say(f"{out_path}: part {tile} is written; the store is finished by the last part")
        return
    failed = done[done["status"] != "ok"]
    say(f"{out_path}: {len(done) - len(failed)} of {len(done)} experiments complete")
    if len(failed):
        for row in failed.itertuples():
            fail(f"{row.accession} ({row.biosample} / {row.assay}): {row.status}")
        err.print(
            f"{len(failed)} experiment(s) could not be read; their rows are missing (NaN), as `status` says. "
            "Mend the files and run the same command again (with --retry-failed if they have not changed).",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(EXIT_ROWS_FAILED)


def _part(text: str | None) -> tuple[int, int] | None:
    """Read `I/N`."""
    from epixs.errors import ConfigError

    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ConfigError("--tile", got=repr(text), expected="I/N with 1 <= I <= N, for instance 3/100")
    return int(found[1]), int(found[2])


def _client_or_part(
    part: tuple[int, int] | None, workers: int | None, scheduler: str | None, open_client: Any
) -> Any:
    """The Dask client, or none for one part of a job array."""
    from epixs.errors import ConfigError

    if part is None:
        return open_client(workers, scheduler)
    if workers or scheduler:
        raise ConfigError("--tile with --workers or --scheduler", got="both", expected="one of them")
    return contextlib.nullcontext()


def _show_ingest_plan(plan: Any, table: Any) -> None:
    from epixs.compendium.ingest import project_cost

    cost = project_cost(plan, table.assembly)
    rows = [
        ["species, assembly", f"{plan.species}, {plan.regions.assembly}"],
        ["experiments x bins", f"{plan.n_experiments:,} x {plan.n_bins:,} ({len(plan.regions)} regions)"],
        ["source files", bytes_text(cost.bytes_in)],
        ["store (estimated)", f"{bytes_text(cost.bytes_out)} in {cost.objects:,} objects"],
        ["tiles", f"{cost.tiles:,}"],
        ["memory per worker", bytes_text(cost.worker_bytes)],
        ["core time (probed)", "unknown" if cost.core_seconds is None else f"{cost.core_seconds:,.0f} s"],
    ]
    out.print(table_of("ingest plan", ["what", "how much"], rows))


@app.command()
def status(store: Annotated[Path, typer.Argument(help="a store, finished or not")]) -> None:
    """Show how far a store is and which experiments could not be read."""
    from epixs.compendium.store import store_status

    state = store_status(store)
    colour = "green" if state.status == "complete" else "yellow"
    out.print(
        f"{escape(str(store))}: [{colour}]{escape(state.status)}[/], "
        f"{state.tiles_done} of {state.tiles} tiles written"
    )
    for accession, reason in state.failed:
        out.print(f"  {accession} could not be read: {reason}", markup=False, highlight=False, soft_wrap=True)
    if state.status != "complete":
        out.print("run the command that writes it again: it resumes where it stopped")


@app.command()
def verify(
    store: Annotated[Path, typer.Argument(help="a store, observed or imputed")],
    sources: Annotated[
        bool, typer.Option("--sources", help="read the bigWigs again and compare with them too")
    ] = False,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="have faulty tiles written again by the next run"),
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="worker processes on this machine")] = None,
    scheduler: Annotated[str | None, typer.Option(help="address of a running Dask scheduler")] = None,
) -> None:
    """Check every tile of a store against its checksum; exit code 1 if one is not as it was written."""
    from epixs.cluster import open_client
    from epixs.compendium.store import read_attributes
    from epixs.compendium.verify import verify as run

    read_attributes(store)
    with open_client(workers, scheduler) as client, progress_bar() as bar:
        task = bar.add_task("checking tiles", total=None)
        faults = run(
            store,
            sources=sources,
            client=client,
            progress=lambda p: bar.update(task, completed=p.tiles_done, total=p.tiles),
        )
    for fault in faults:
        fail(f"{store}, tile {fault.row_group}/{fault.bin_range}: {fault.what}")
    if faults:
        fail(
            f"{len(faults)} tile(s) are not as they should be. Make the store again, or run its ingest again"
        )
        raise typer.Exit(EXIT_ROWS_FAILED)
    say(f"{store}: every tile is as it was written")


@app.command()
def qc(
    store: Annotated[Path, typer.Argument(help="an observed store")],
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
    for path in write_qc(table, report, f"{attributes['species']} ({attributes['assembly']}): {store.name}"):
        say(f"wrote {path}")


@app.command()
def info(store: Annotated[Path, typer.Argument(help="a store")]) -> None:
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
    columns = ["biosample", "assay", "assay_class", "status", "signal_mean", "signal_max"]
    out.print(table_of("experiments", columns, table[columns].to_numpy().tolist()))


@app.command()
def train(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="one compendium per species")],
    out_path: Annotated[Path, typer.Option("--out", metavar="MODEL_DIR", help="new folder for the model")],
    exclude: Annotated[
        Path | None, typer.Option(help="TSV of species, biosample, assay never to train on")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML with settings")] = None,
    model: Annotated[str | None, typer.Option(help="kind of model (avocado)")] = None,
    hidden: Annotated[str | None, typer.Option(help="widths of the hidden layers, e.g. 2048,2048")] = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="stop by then; the learning rate is planned for it")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="passes over the positions")] = None,
    seed: Annotated[int | None, typer.Option(help="decides everything that is drawn")] = None,
) -> None:
    """Train one model over all species jointly; keeps the best checkpoint on held-out entries."""
    from epixs.config import TrainConfig, read_config
    from epixs.errors import TrainingError
    from epixs.files import check_new_folder
    from epixs.joint import joint_axis, read_pairs

    check_new_folder(out_path, TrainingError)
    settings = (read_config(config) if config else TrainConfig()).replace(
        model=model, hidden=_widths(hidden), max_minutes=max_minutes, epochs=epochs, seed=seed
    )
    axis = joint_axis(stores, read_pairs(exclude, what="--exclude") if exclude else ())
    _show_training_plan(axis, settings)
    with on_interrupt(lambda: _what_training_left(out_path)):
        start_tensorflow()
        done = _train_with_progress(axis, settings, out_path)
    if done["stopped_early"]:
        say(f"stopped early: no better since epoch {done['best_epoch']}")
    best = f"best held-out MSE {done['held_out_mse']:.5f}"
    say(f"{out_path}: {best} in epoch {done['best_epoch']} of {done['epochs']}")


def _show_training_plan(axis: Any, settings: Any) -> None:
    from epixs.cost import estimate_cost

    cost = estimate_cost(axis, settings)
    rows: list[list[Any]] = [
        ["species", ", ".join(axis.species)],
        [
            "experiments",
            f"{cost.experiments:,} ({axis.n_experiments - cost.experiments} excluded)",
        ],
        ["biosamples x assays", f"{axis.n_biosamples:,} x {len(axis.assays):,}"],
        ["positions", f"{cost.positions:,}"],
        ["parameters", f"{cost.parameters:,}"],
        ["memory", f"{bytes_text(cost.memory_bytes)} (allowed {settings.memory_gb:g} GB)"],
        ["steps per epoch", f"{cost.steps_per_epoch:,}, at most {counted(cost.epochs, 'epoch')}"],
    ]
    out.print(table_of("training plan", ["what", "how much"], rows))


def _train_with_progress(axis: Any, settings: Any, out_path: Path) -> dict[str, Any]:
    from epixs.training import train as run

    with progress_bar(TextColumn("{task.fields[state]}")) as bar:
        task = bar.add_task("training", total=None, state="reading")

        def report(now: Any) -> None:
            held_out = "" if math.isnan(now.held_out_mse) else f"  held-out {now.held_out_mse:.4f}"
            bar.update(
                task,
                completed=(now.epoch - 1) * now.steps_per_epoch + now.step,
                total=now.epochs * now.steps_per_epoch,
                description=f"epoch {now.epoch}/{now.epochs}",
                state=f"loss {now.loss:.4f}{held_out}",
            )

        return run(axis, settings, out_path, report=report)


def _what_training_left(out_path: Path) -> str:
    if (out_path / "model.json").is_file():
        return f"{out_path} holds the best model so far"
    return f"no epoch had ended, so no model was saved in {out_path}; run the same command again"


def _widths(text: str | None) -> tuple[int, ...] | None:
    from epixs.errors import ConfigError

    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError("--hidden", got=repr(text), expected="widths like 2048,2048") from None


@app.command()
def impute(
    model_dir: Annotated[Path, typer.Argument(metavar="MODEL_DIR", help="folder that `epixs train` wrote")],
    store: Annotated[Path, typer.Argument(help="compendium of the species to impute")],
    out_path: Annotated[Path, typer.Option("--out", help="imputed store to write, or to go on with")],
    pairs: Annotated[Path | None, typer.Option(help="TSV of species, biosample, assay to impute")] = None,
    everything: Annotated[bool, typer.Option("--all", help="also what was trained on")] = False,
) -> None:
    """Impute what was not measured: by default every pair the model was not trained on."""
    from epixs.compendium.store import open_compendium
    from epixs.errors import ConfigError
    from epixs.joint import read_pairs

    if pairs is not None and everything:
        raise ConfigError("--pairs and --all", got="both", expected="one of them")
    if (model_dir / "zarr.json").is_file() and (store / "model.json").is_file():
        raise ConfigError(
            "the model comes first, then the store",
            got=f"the store {model_dir}, then the model {store}",
            next_step=f"swap them: `epixs impute {store} {model_dir} --out {out_path}`",
        )
    wanted = read_pairs(pairs, what="--pairs") if pairs else None
    start_tensorflow()
    from epixs.imputation import impute as run
    from epixs.imputation import unknown_biosamples
    from epixs.trained import open_model

    trained = open_model(model_dir)
    unknown = unknown_biosamples(trained, store)
    if unknown and wanted is None:
        named = ", ".join(unknown[:SHOWN]) + (", ..." if len(unknown) > SHOWN else "")
        remark(
            f"{counted(len(unknown), 'biosample')} of {store} had no part in training, not imputed: {named}"
        )
    with progress_bar() as bar:
        task = bar.add_task("imputing tiles", total=None)
        done = run(
            trained,
            store,
            out_path,
            pairs=wanted,
            everything=everything,
            progress=lambda p: bar.update(task, completed=p.tiles_done, total=p.tiles),
        )
    say(f"{out_path}: {counted(len(done), 'imputed experiment')}")
    species = open_compendium(store).attrs["species"]
    every = trained.axis.all_pairs(species) if everything else trained.axis.missing_pairs(species)
    if wanted is None and len(done) < len(every):
        lacking = counted(len(every) - len(done), "pair")
        say(f"{lacking} left out: of a biosample or an assay without any training experiment")


@app.command()
def evaluate(
    imputed: Annotated[Path, typer.Argument(help="imputed store")],
    store: Annotated[Path, typer.Argument(help="observed store of the same species")],
    report: Annotated[Path | None, typer.Option(help="folder for scores.tsv and summary.tsv")] = None,
    other: Annotated[
        list[Path] | None,
        typer.Option(help="other species' store for the zero-shot baselines, if it was moved"),
    ] = None,
) -> None:
    """Score imputed against observed tracks, beside average activity and zero-shot baselines."""
    from epixs.evaluation import evaluate as run
    from epixs.files import check_report_folder
    from epixs.metrics import METRICS
    from epixs.report import write_report

    if report:
        check_report_folder(report)
    with progress_bar() as bar:
        task = bar.add_task("scoring experiments", total=None)
        scores = run(
            imputed, store, others=other or (), progress=lambda d, n: bar.update(task, completed=d, total=n)
        )
    for text in scores.notes:
        remark(text)
    names = ["role", "assay", "biosample", "method", *METRICS]
    out.print(table_of("per experiment", names, scores.scores[names].to_numpy().tolist()))
    names = ["role", "assay_class", "method", "scored", *METRICS]
    out.print(table_of("means over experiments", names, scores.summary()[names].to_numpy().tolist()))
    if report:
        for path in write_report(scores, report):
            say(f"wrote {path}")
    for role, (better, tracks) in scores.better_than_average().items():
        better_on = f"{better} of {counted(tracks, 'track')}"
        say(f"{role}: imputed better than average activity on {better_on} (MSE over all bins)")


@app.command()
def plot(
    imputed: Annotated[Path, typer.Argument(help="imputed store")],
    store: Annotated[Path, typer.Argument(help="observed store of the same species")],
    biosample: Annotated[str, typer.Option()],
    assay: Annotated[str, typer.Option()],
    locus: Annotated[str, typer.Option(help="for instance chr19:3,000,000-3,100,000")],
    out_path: Annotated[Path, typer.Option("--out", help="picture to write (.png, .svg, .pdf)")],
) -> None:
    """Draw one experiment along a locus: observed, imputed and average activity."""
    from epixs.figures import plot_tracks

    notes = plot_tracks(imputed, store, biosample=biosample, assay=assay, locus=locus, out=out_path)
    for text in notes:
        remark(text)
    say(f"wrote {out_path}")


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="new or empty folder")],
    size: Annotated[str, typer.Option(help="demo or tiny")] = "demo",
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Write a simulated two-species world as bigWigs, with a portal-style metadata.tsv."""
    from epixs.simulate import simulate as run

    files = run(folder, size=size, seed=seed)
    say(
        f"{folder}: {counted(len(files), 'file')}; "
        f"next: epixs catalog {folder}/metadata.tsv --out {folder}/catalog.tsv"
    )


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="new folder for everything the demo makes")] = Path("demo"),
    size: Annotated[str, typer.Option(help="demo or tiny")] = "demo",
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Run the whole path on a simulated world: from bigWigs to zero-shot scores."""
    again = f"the demo does not resume: delete {folder} and run it again (`make demo` deletes it itself)"
    with on_interrupt(lambda: again):
        start_tensorflow()
        from epixs.demo import run_demo

        run_demo(folder, size=size, seed=seed, console=out)


if __name__ == "__main__":
    main()
