"""`epixs split` and `crossvalidate`: exclude folds in turn, and score how well each model imputes them."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from epixs.cli.options import AsJson, DryRun, Quiet, Scheduler, SplitBy, Workers
from epixs.cli.terminal import (
    bytes_text,
    check_present,
    counting,
    listed,
    print_json,
    progress_bar,
    remark,
    say,
    seconds_text,
    show_table,
    start_tensorflow,
)
from epixs.errors import counted


def split(
    stores: Annotated[list[str], typer.Argument(metavar="STORE", help="one compendium per species")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder for fold-1.tsv, fold-2.tsv, ...")],
    by: Annotated[SplitBy, typer.Option(help="unit that stays together in one fold")] = SplitBy.experiment,
    folds: Annotated[
        int | None, typer.Option(help="number of folds, 3 by default; not with --by class")
    ] = None,
    assay_class: Annotated[str, typer.Option(help="exclude only experiments of this class")] = "",
    seed: Annotated[int, typer.Option(min=0, help="seed of the assignment to folds")] = 0,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Split experiments into folds, each a table that `epixs train --exclude` reads."""
    check_present("store", *stores)
    from epixs.axis.splits import split as run

    made = run(stores, by=by.value, folds=folds, assay_class=assay_class, seed=seed, out=out)
    rows = []
    for number, fold in enumerate(made.folds, 1):
        for species in dict.fromkeys(pair[0] for pair in fold.pairs):
            mine = [pair for pair in fold.pairs if pair[0] == species]
            counts = len(mine), len({pair[2] for pair in mine}), len({pair[1] for pair in mine})
            withheld = sum(place[0] == species for place in fold.regions)
            rows.append([fold.name, f"fold-{number}.tsv", species, *counts, withheld])
    show_table(
        f"{len(made.folds)} folds by {by.value}, seed {seed}",
        ["fold", "file", "species", "experiments", "assays", "biosamples", "withheld regions"],
        rows,
    )
    if made.kept:
        names = listed([" / ".join(pair[1:]) for pair in made.kept])
        remark(
            f"{counted(len(made.kept), 'experiment')} in no fold, so that each assay and biosample keeps one "
            f"in training: {names}"
        )
    if made.lost:
        names = listed([f"{assay} (fold {fold})" for fold, assay in made.lost])
        remark(f"excluded in all of these species, so that no model can impute it: {names}")
    if by.value == "region":
        remark("`epixs crossvalidate` withholds these regions; `epixs train --exclude` does not")
    say(f"{out}: split {made.fingerprint}")
    if json:
        folds_made = [
            {"name": fold.name, "file": out / f"fold-{number}.tsv", "experiments": made.table(fold),
             "regions": [list(place) for place in fold.regions]}
            for number, fold in enumerate(made.folds, 1)
        ]  # fmt: skip
        print_json({"fingerprint": made.fingerprint, "folds": folds_made, "always_trained_on": made.kept})


def crossvalidate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file, docs/crossvalidation.md")],
    out: Annotated[
        Path | None, typer.Option(metavar="RUN", help="folder of the run, instead of the one in the file")
    ] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    dry_run: DryRun = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train without each fold, impute it and score it, for all models and training sets. Resumes."""
    from epixs.crossvalidation.settings import read_config
    from epixs.errors import EpixsWarning

    settings = read_config(config)
    check_present(
        "store", settings.split.store, *(path for one in settings.training_sets for path in one.others)
    )
    start_tensorflow()
    from epixs.cluster.client import open_client
    from epixs.crossvalidation.plan import estimated_seconds, plan_crossvalidation
    from epixs.crossvalidation.run import crossvalidate as run

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EpixsWarning)
        plan = plan_crossvalidation(settings)
        _show_plan(plan)
        if dry_run:
            seconds = estimated_seconds(plan)
            say(
                f"the steps of training alone would take {seconds_text(seconds)}, one fit after the other on "
                "this machine (estimated from a few of them); reading, imputing and scoring take extra time"
            )
            if json:
                print_json({"plan": plan.to_dict() | {"training_seconds": seconds}})
            return
        in_this_process = workers is None and scheduler is None
        with (
            contextlib.nullcontext() if in_this_process else open_client(workers, scheduler) as client,
            progress_bar() as bar,
        ):
            scores = run(settings, out=out, client=client, progress=counting(bar, "fits"))
    for text in scores.attrs["notes"]:
        remark(text)
    folder = out or Path(settings.run.folder)
    _show_means(folder)
    say(f"{folder / 'scores.tsv'}: {counted(len(scores), 'row')} of {counted(len(plan.fits), 'fit')}")
    if json:
        print_json({"run": folder, "plan": plan.to_dict(), "scores": scores, "notes": scores.attrs["notes"]})


def _show_means(folder: Path) -> None:
    """Show the means of all methods over the experiments that all of them have."""
    from epixs.errors import ConfigError
    from epixs.evaluation.comparison import tables
    from epixs.evaluation.runs import NOBODY

    try:
        made = tables(folder)
    except ConfigError as error:  # say, all experiments were trained on
        remark(str(error))
        return
    for title, table in (
        (f"{made.metric} of experiments whose assay was trained on", made.imputation),
        (f"{made.metric} of experiments whose assay was not trained on in their species", made.zero_shot),
    ):
        rows = [
            [row.training_set if row.training_set != NOBODY else "", row.method, row.experiments, row.mean]
            for row in table.itertuples()
            if row.group == "overall"
        ]
        if rows:
            show_table(title, ["training set", "method", "experiments", "mean"], rows)
    for note in made.notes:
        remark(note)
    say(f"intervals and tests: epixs tables {folder}")


def _show_plan(plan: Any) -> None:
    """Show the held-out folds, the fits, and the experiments that cannot be imputed."""
    split = plan.split
    held_out = [
        [f"fold {fold.name}", f"{counted(len(fold.pairs), 'experiment')} of "
         f"{counted(len({pair[2] for pair in fold.pairs}), 'assay')}"
         + (f", in {counted(len(fold.regions), 'withheld region')}" if fold.regions else "")]
        for fold in split.folds
    ]  # fmt: skip
    show_table(f"held out in {plan.species}, by {split.by}", ["fold", "what"], held_out)
    rows: list[list[Any]] = []
    for (training_set, model), cost in plan.costs.items():
        fits = [fit for fit in plan.fits if (fit.training_set, fit.model) == (training_set, model)]
        scored = sum(len(fit.pairs) for fit in fits)
        rows.append(
            [training_set, f"{model} ({fits[0].settings.kind})", len(fits), scored, cost.experiments,
             f"{cost.steps_per_epoch:,} x {cost.epochs:,}", bytes_text(cost.memory_bytes)]
        )  # fmt: skip
    columns = ["training set", "model", "fits", "scored", "trained on", "steps x epochs", "memory"]
    show_table(counted(len(plan.fits), "fit"), columns, rows)
    if split.kept:
        remark(
            f"{counted(len(split.kept), 'experiment')} always trained on, as an assay or a biosample would "
            f"otherwise have none in training: {listed([' / '.join(pair[1:]) for pair in split.kept])}"
        )
    same: dict[Any, list[str]] = {}
    for fit in plan.fits:
        names = same.setdefault((fit.stores, fit.fold, frozenset(fit.exclude)), [])
        names += [fit.training_set] if fit.training_set not in names else []
    for several in dict.fromkeys(tuple(names) for names in same.values() if len(names) > 1):
        remark(f"WARNING: {' and '.join(several)} are the same experiments: each fit would be done twice")
    lacking: dict[str, list[str]] = {}
    for training_set, _, pair in plan.not_imputed:
        lacking.setdefault(training_set, []).append(" / ".join(pair[1:]))
    for training_set, pairs in lacking.items():
        remark(
            f"{training_set}: {counted(len(pairs), 'held-out experiment')} cannot be imputed, because no "
            f"experiment of the assay or biosample is left to train on: {listed(pairs, 3)}"
        )
