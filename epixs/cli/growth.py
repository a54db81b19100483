"""`epixs extend` and `fit-genome`: fit new labels or new regions to a trained model."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from epixs.cli.options import (
    AsJson,
    AssayAlias,
    DryRun,
    Epochs,
    Exclude,
    Force,
    MaxMinutes,
    ModelDir,
    Quiet,
    Resume,
    Scheduler,
    Seed,
    Workers,
)
from epixs.cli.terminal import (
    bytes_text,
    check_present,
    counting,
    listed,
    on_interrupt,
    print_json,
    progress_bar,
    remark,
    say,
    show_table,
    start_tensorflow,
)
from epixs.cli.training_shown import (
    excluded,
    remark_on_experiments,
    remark_on_names,
    say_how_it_ended,
    say_where_it_stands,
    what_training_left,
    with_progress,
    with_units,
)
from epixs.errors import counted


def extend(
    model_dir: ModelDir,
    store: Annotated[
        str, typer.Argument(metavar="STORE", help="store with new biosamples or assays, or of a new species")
    ],
    out: Annotated[Path, typer.Option(metavar="NEW_DIR", help="new folder for the extended model")],
    exclude: Exclude = None,
    assay_alias: AssayAlias = None,
    max_minutes: MaxMinutes = None,
    epochs: Epochs = None,
    resume: Resume = False,
    force: Force = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Add new biosamples, assays or a new species to a model, whose weights stay unchanged."""
    from epixs.errors import TrainingError
    from epixs.storage.files import check_new_folder

    if not resume:
        check_new_folder(out, TrainingError)
    check_present("model folder", model_dir)
    check_present("store", store)
    check_present("--exclude", exclude)
    from epixs.axis.aliases import read_aliases
    from epixs.compendium.read import open_compendium
    from epixs.models.description import read_description

    pairs, aliases = excluded(exclude), read_aliases(assay_alias) if assay_alias else []
    read_description(model_dir)
    open_compendium(store)
    start_tensorflow()
    from epixs.models.folder import open_model
    from epixs.training.devices import use_cores
    from epixs.training.extension import extend as run
    from epixs.training.extension import extended_bounds, plan_extension

    use_cores()
    trained = open_model(model_dir)
    plan = plan_extension(trained, store, pairs, aliases)
    rows = [
        ["new species", plan.species if plan.new_species else "none"],
        ["new biosamples", _named(plan.biosamples)],
        ["new assays", _named(plan.assays)],
        ["new experiments", f"{plan.added:,}"],
    ]
    show_table("extension", ["what", "which"], rows)
    remark_on_experiments(plan.fit_axis, plan.axis)
    remark_on_names(plan.axis)
    for text in _beyond_bounds(extended_bounds(trained, plan.axis), plan.fit_axis):
        remark(text)
    if plan.new_species and trained.kind.reads_signal and len(trained.axis.species) == 1:
        remark(
            "the model was trained on one species, so that assays were rarely hidden from it: expect little "
            f"of zero-shot tracks of {plan.species}"
        )
    if plan.untouched:
        remark(
            f"{counted(plan.untouched, 'new experiment')} of biosamples and assays that the model knows: "
            "nothing to fit, never trained on"
        )
    if resume:
        say_where_it_stands(out)
    with on_interrupt(lambda: what_training_left(out)):
        done = with_progress(
            functools.partial(
                run,
                trained,
                store,
                out,
                exclude=pairs,
                aliases=aliases,
                epochs=epochs,
                max_minutes=max_minutes,
                resume=resume,
                force=force,
            )
        )
    verdicts = say_how_it_ended(out, done, plan.fit_axis)
    if json:
        new = {"new_species": plan.new_species, "new_biosamples": plan.biosamples, "new_assays": plan.assays}
        print_json({"model": out, **new, **with_units(done), "verdicts": verdicts})


def fit_genome(
    model_dir: ModelDir,
    store: Annotated[
        str, typer.Argument(metavar="STORE", help="compendium of a species of the model, on any regions")
    ],
    out: Annotated[str, typer.Option(help="store of genome factors to write, or to resume")],
    exclude: Exclude = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="passes over the positions")] = None,
    seed: Seed = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    dry_run: DryRun = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit genome factors of any regions, block by block, with all else frozen. A second run resumes."""
    check_present("model folder", model_dir)
    check_present("store", store)
    check_present("--exclude", exclude)
    from epixs.cluster.client import open_client
    from epixs.models.description import check_before_loading

    pairs = tuple(excluded(exclude))
    check_before_loading(model_dir, store)
    start_tensorflow()
    from epixs.factors.fit import fit_genome as run
    from epixs.factors.selection import factor_cost, plan_factors
    from epixs.models.folder import open_model

    trained = open_model(model_dir)
    plan, notes = plan_factors(trained, store, exclude=pairs, epochs=epochs, seed=seed)
    for note in notes:
        remark(note)
    remark_on_experiments(plan.axis)
    cost = factor_cost(plan)
    rows = [
        ["species, assembly", f"{plan.part.species}, {plan.part.regions.assembly}"],
        ["experiments x bins", f"{cost.experiments:,} x {cost.bins:,}"],
        ["blocks", f"{cost.blocks:,} of {plan.block_positions:,} positions of 5 kbp"],
        ["epochs", f"{cost.epochs:,}"],
        ["store of factors", bytes_text(cost.bytes_out)],
        ["memory per worker", bytes_text(cost.worker_bytes)],
    ]
    show_table("genome factors", ["what", "how much"], rows)
    planned = {"species": plan.part.species, "assembly": plan.part.regions.assembly, **vars(cost)}
    if dry_run:
        if json:
            print_json({"store": out, "plan": planned, "notes": notes})
        return
    with open_client(workers, scheduler) as client, progress_bar() as bar:
        done = run(
            trained,
            store,
            out,
            exclude=pairs,
            epochs=epochs,
            seed=seed,
            client=client,
            progress=counting(bar, "fitting blocks"),
        )
    say(f"{out}: held-out MSE {done['held_out_mse']:.5f}")
    if json:
        print_json({"store": out, "plan": planned, **done, "notes": notes})


def _beyond_bounds(bounds: dict[str, list[float]], axis: Any) -> list[str]:
    """Note the assays whose new tracks reach beyond the range that imputed values are clipped to."""
    notes = []
    for part in axis.parts:
        for assay, rows in part.training.groupby("assay"):
            low, high = bounds.get(assay, (-math.inf, math.inf))
            if rows["signal_max"].max() > high or rows["signal_min"].min() < low:
                notes.append(
                    f"{assay}: new tracks reach from {rows['signal_min'].min():.3g} to "
                    f"{rows['signal_max'].max():.3g}; "
                    f"imputed values are clipped to {low:.3g} and {high:.3g}, the range of training"
                )
    return notes


def _named(names: Sequence[str]) -> str:
    return f"{len(names):,}: {listed(names)}" if names else "none"
