"""`epixs impute`, `evaluate` and `plot`: from models to imputations, scores and pictures."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from epixs.cli.app import app
from epixs.cli.terminal import counted, listed, out, progress_bar, remark, say, start_tensorflow, table_of


@app.command()
def impute(
    model_dir: Annotated[Path, typer.Argument(metavar="MODEL_DIR", help="folder that `epixs train` wrote")],
    store: Annotated[str, typer.Argument(help="compendium of the species to impute")],
    out_path: Annotated[str, typer.Option("--out", help="imputed store to write, or to go on with")],
    pairs: Annotated[Path | None, typer.Option(help="TSV of species, biosample, assay to impute")] = None,
    everything: Annotated[bool, typer.Option("--all", help="also what was trained on")] = False,
    factors: Annotated[
        str | None, typer.Option(help="genome factors of the store's regions, from `epixs fit-genome`")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="worker processes on this machine")] = None,
    scheduler: Annotated[str | None, typer.Option(help="address of a running Dask scheduler")] = None,
) -> None:
    """Impute what was not measured: by default every pair the model was not trained on.

    Run again, it resumes. Without --workers or --scheduler, this process imputes, on all cores or its GPU.
    """
    from epixs.catalog.pairs import read_pairs
    from epixs.cluster.client import open_client
    from epixs.compendium.read import open_compendium
    from epixs.errors import ConfigError
    from epixs.factors.store import open_factors
    from epixs.models.description import read_description

    if pairs is not None and everything:
        raise ConfigError("--pairs and --all", got="both", expected="one of them")
    if (model_dir / "zarr.json").is_file() and (Path(store) / "model.json").is_file():
        raise ConfigError(
            "the model comes first, then the store",
            got=f"the store {model_dir}, then the model {store}",
            next_step=f"swap them: `epixs impute {store} {model_dir} --out {out_path}`",
        )
    wanted = read_pairs(pairs, what="--pairs") if pairs else None
    if read_description(model_dir).interrupted:
        remark(
            f"training of {model_dir} was interrupted: these are its best weights until then; "
            "`epixs train ... --resume` goes on with it"
        )
    start_tensorflow()
    from epixs.imputation.pairs import unknown_biosamples
    from epixs.imputation.write import impute as run
    from epixs.models.folder import open_model

    trained = open_model(model_dir)
    fitted = open_factors(factors) if factors else None
    unknown = unknown_biosamples(trained, store, fitted)
    if unknown and wanted is None:
        few = listed(unknown)
        remark(f"{counted(len(unknown), 'biosample')} of {store} had no part in training, not imputed: {few}")
    here = workers is None and scheduler is None
    with (
        contextlib.nullcontext() if here else open_client(workers, scheduler) as client,
        progress_bar() as bar,
    ):
        task = bar.add_task("imputing tiles", total=None)
        done = run(
            trained,
            store,
            out_path,
            pairs=wanted,
            everything=everything,
            factors=fitted,
            client=client,
            progress=lambda p: bar.update(task, completed=p.tiles_done, total=p.tiles),
        )
    say(f"{out_path}: {counted(len(done), 'imputed experiment')}")
    observed = open_compendium(store)
    species = observed.attrs["species"]
    elsewhere = sum(pair[0] != species for pair in wanted or ())
    if elsewhere:
        remark(
            f"{counted(elsewhere, 'pair')} of other species than {species} not imputed: {store} is not theirs"
        )
    for text in _units_of_zero_shot(trained.axis, species, {str(name) for name in done["assay"]}):
        remark(text)
    if observed.attrs["uncovered"] == "nan":
        remark(
            f"{store} has bins without a value: where no experiment that was trained on has one, what is "
            "imputed "
            "comes from biosample and assay alone"
        )
    unknown_assays = sorted(set(map(str, observed.assay.to_numpy())) - _names_of(trained.axis, species))
    if unknown_assays and wanted is None:
        few = listed(unknown_assays)
        remark(
            f"{counted(len(unknown_assays), 'assay')} of {store} had no part in training, not imputed: {few}"
        )
    every = trained.axis.all_pairs(species) if everything else trained.axis.missing_pairs(species)
    if wanted is None and len(done) < len(every):
        lacking = counted(len(every) - len(done), "pair")
        say(f"{lacking} left out: of a biosample or an assay without any training experiment")


def _units_of_zero_shot(axis: Any, species: str, imputed: set[str]) -> list[str]:
    """A note on assays trained on in other species alone, in other units than this species' tracks have."""
    own, every = axis.units(species), axis.units()
    mine = {unit for units in own.values() for unit in units}
    part = axis.part(species)
    strange = [
        assay
        for assay, units in every.items()
        if assay not in own and part.store_name(assay) in imputed and not set(units) <= mine
    ]
    if not strange:
        return []
    named = listed([f"{part.store_name(assay)} ({', '.join(every[assay])})" for assay in strange])
    return [
        f"trained on in other species alone, and in other units than the tracks of {species} "
        f"({listed(sorted(mine))}): "
        f"{named}. Which of the two scales the imputed values have is not known; compare them by rank"
    ]


def _names_of(axis: Any, species: str) -> set[str]:
    """Assays of a model, as itself and as a species' store names them."""
    return {*axis.assays, *axis.part(species).aliases}


@app.command()
def evaluate(
    imputed: Annotated[str, typer.Argument(help="imputed store")],
    store: Annotated[str, typer.Argument(help="observed store of the same species")],
    report: Annotated[Path | None, typer.Option(help="folder for scores.tsv and summary.tsv")] = None,
    other: Annotated[
        list[str] | None,
        typer.Option(help="other species' store for the zero-shot baselines, if it was moved"),
    ] = None,
) -> None:
    """Score imputed against observed tracks, beside average activity and zero-shot baselines."""
    from epixs.evaluation.metrics import METRICS
    from epixs.evaluation.scores import AVERAGE, ZERO_SHOT, partly_scored
    from epixs.evaluation.scores import evaluate as run
    from epixs.report.tables import write_report
    from epixs.storage.files import check_report_folder

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
    names = ["role", "assay_class", "method", "scored", "correlated", *METRICS]
    out.print(table_of("means over experiments", names, scores.summary()[names].to_numpy().tolist()))
    if report:
        for path in write_report(scores, report):
            say(f"wrote {path}")
    over = "MSE over the bins that all methods know" if partly_scored(scores.scores) else "MSE over all bins"
    verdicts = [("mse", over)]
    if not scores.scores["same_units"].all():  # errors of other units say nothing
        verdicts.append(("spearman", "by rank, Spearman"))
    for metric, how in verdicts:
        for method in (AVERAGE, *ZERO_SHOT):
            for role, (better, tracks) in scores.better_than(method, metric).items():
                better_on = f"{better} of {counted(tracks, 'track')}"
                say(f"{role}: imputed better than {method} on {better_on} ({how})")


@app.command()
def plot(
    imputed: Annotated[str, typer.Argument(help="imputed store")],
    store: Annotated[str, typer.Argument(help="observed store of the same species")],
    biosample: Annotated[str, typer.Option()],
    assay: Annotated[str, typer.Option()],
    locus: Annotated[str, typer.Option(help="for instance chr19:3,000,000-3,100,000")],
    out_path: Annotated[Path, typer.Option("--out", help="picture to write (.png, .svg, .pdf)")],
) -> None:
    """Draw one experiment along a locus: observed, imputed and average activity."""
    from epixs.report.figures import plot_tracks

    notes = plot_tracks(imputed, store, biosample=biosample, assay=assay, locus=locus, out=out_path)
    for text in notes:
        remark(text)
    say(f"wrote {out_path}")
