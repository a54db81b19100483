"""`epixs train`, `extend`, `fit-genome` and `curves`: from stores to a model, and how it was learnt."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import TextColumn

from epixs.cli.options import (
    AsJson,
    AssayAlias,
    DryRun,
    Epochs,
    Exclude,
    Force,
    MaxMinutes,
    ModelDir,
    Picture,
    Resume,
    Scheduler,
    Seed,
    Workers,
)
from epixs.cli.terminal import (
    bytes_text,
    check_present,
    counted,
    counting,
    listed,
    on_interrupt,
    print_json,
    progress_bar,
    remark,
    say,
    seconds_text,
    show_table,
    start_tensorflow,
)

ASSAYS_SHOWN = 20
"""Assays in the table of errors, those furthest behind average activity first."""


def train(
    stores: Annotated[list[str], typer.Argument(metavar="STORE...", help="one compendium per species")],
    out: Annotated[Path, typer.Option(metavar="MODEL_DIR", help="new folder for the model")],
    exclude: Exclude = None,
    config: Annotated[Path | None, typer.Option(help="TOML with settings")] = None,
    model: Annotated[
        str | None, typer.Option(help="kind of model: context or avocado; else chosen by the tracks")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="SPECIES",
            help="species that zero-shot imputation is meant for; else chosen by what is excluded",
        ),
    ] = None,
    assay_alias: AssayAlias = None,
    hidden: Annotated[str | None, typer.Option(help="widths of the hidden layers, e.g. 2048,2048")] = None,
    max_minutes: MaxMinutes = None,
    epochs: Epochs = None,
    seed: Seed = None,
    resume: Resume = False,
    force: Force = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="write event files to MODEL_DIR/tensorboard as well")
    ] = False,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Train one model over all species jointly; keeps the best checkpoint on held-out entries."""
    from epixs.errors import EpixsWarning, TrainingError
    from epixs.models.settings import choose_kind, make_settings, read_settings
    from epixs.storage.files import check_new_folder

    if not (resume or dry_run):
        check_new_folder(out, TrainingError)
    check_present("store", *stores)
    check_present("--exclude", exclude)
    chosen: dict[str, Any] = {"target": target, "max_minutes": max_minutes, "epochs": epochs, "seed": seed}
    chosen["hidden"] = _widths(hidden)
    from epixs.axis.aliases import read_aliases
    from epixs.axis.join import joint_axis

    aliases = read_aliases(assay_alias) if assay_alias else ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EpixsWarning)  # the plan says it at length
        axis = joint_axis(stores, _excluded(exclude), aliases)
    kind, why = (model, "as --model says") if model else choose_kind(axis)
    settings = read_settings(config, model, default_kind=kind) if config else make_settings(kind)
    why = why if settings.kind == kind else f"as {config} says"
    settings = settings.replace(**chosen)
    plan = _show_training_plan(axis, settings, why)
    if dry_run:
        start_tensorflow()
        from epixs.training.run import time_steps

        probe = time_steps(axis, settings)
        _show_probe(probe)
        if json:
            print_json({"plan": {**plan, **vars(probe)}})
        return
    if resume:
        _say_where_it_stands(out)
    with on_interrupt(lambda: _what_training_left(out)):
        start_tensorflow()
        from epixs.training.run import train as run

        fit = functools.partial(run, axis, settings, out, resume=resume, force=force, tensorboard=tensorboard)
        done = _with_progress(fit)
    verdicts = _say_how_it_ended(out, done, axis)
    if json:
        print_json({"model": out, "plan": plan, **_with_units(done), "verdicts": verdicts})


def extend(
    model_dir: ModelDir,
    store: Annotated[str, typer.Argument(help="store with new biosamples or assays, or of a new species")],
    out: Annotated[Path, typer.Option(metavar="NEW_DIR", help="new folder for the extended model")],
    exclude: Exclude = None,
    assay_alias: AssayAlias = None,
    max_minutes: MaxMinutes = None,
    epochs: Epochs = None,
    resume: Resume = False,
    force: Force = False,
    json: AsJson = False,
) -> None:
    """Fit new biosamples, assays or a new species, and leave all that the model knows as it is."""
    from epixs.errors import TrainingError
    from epixs.storage.files import check_new_folder

    if not resume:
        check_new_folder(out, TrainingError)
    check_present("model folder", model_dir)
    check_present("store", store)
    check_present("--exclude", exclude)
    from epixs.axis.aliases import read_aliases

    pairs, aliases = _excluded(exclude), read_aliases(assay_alias) if assay_alias else []
    start_tensorflow()
    from epixs.models.folder import open_model
    from epixs.training.devices import use_cores
    from epixs.training.extension import extend as run
    from epixs.training.extension import plan_extension

    use_cores()
    trained = open_model(model_dir)
    plan = plan_extension(trained, store, pairs, aliases)
    rows = [
        ["new species", plan.species if plan.new_species else "none"],
        ["new biosamples", _named(plan.biosamples)],
        ["new assays", _named(plan.assays)],
        ["experiments to fit", f"{plan.fit_axis.n_training:,}"],
    ]
    show_table("extension", ["what", "which"], rows)
    _remark_on_experiments(plan.fit_axis)
    for text in _beyond_bounds(trained, plan.fit_axis):
        remark(text)
    if plan.untouched:
        remark(
            f"{counted(plan.untouched, 'new experiment')} of biosamples and assays that the model knows: "
            "nothing to fit, never trained on"
        )
    if resume:
        _say_where_it_stands(out)
    with on_interrupt(lambda: _what_training_left(out)):
        done = _with_progress(
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
    verdicts = _say_how_it_ended(out, done, plan.axis)
    if json:
        new = {"new_species": plan.new_species, "new_biosamples": plan.biosamples, "new_assays": plan.assays}
        print_json({"model": out, **new, **_with_units(done), "verdicts": verdicts})


def _beyond_bounds(trained: Any, axis: Any) -> list[str]:
    """Notes on assays whose new tracks reach beyond what the model has been shown, where it is cut."""
    notes = []
    for part in axis.parts:
        for assay, rows in part.training.groupby("assay"):
            low, high = trained.bounds.get(assay, (-math.inf, math.inf))
            if rows["signal_max"].max() > high or rows["signal_min"].min() < low:
                notes.append(
                    f"{assay}: new tracks reach from {rows['signal_min'].min():.3g} to "
                    f"{rows['signal_max'].max():.3g}; "
                    f"what is imputed is cut at {low:.3g} and {high:.3g}, which the model was trained on"
                )
    return notes


def fit_genome(
    model_dir: ModelDir,
    store: Annotated[str, typer.Argument(help="compendium of a species of the model, on any regions")],
    out: Annotated[str, typer.Option(help="store of genome factors to write, or to go on with")],
    exclude: Exclude = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="passes over the positions")] = None,
    seed: Seed = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Fit genome factors of any regions, block by block, all else frozen. Run again, it resumes."""
    check_present("model folder", model_dir)
    check_present("store", store)
    check_present("--exclude", exclude)
    from epixs.cluster.client import open_client

    pairs = tuple(_excluded(exclude))
    start_tensorflow()
    from epixs.factors.fit import fit_genome as run
    from epixs.factors.selection import factor_cost, plan_factors
    from epixs.models.folder import open_model

    trained = open_model(model_dir)
    plan, notes = plan_factors(trained, store, exclude=pairs, epochs=epochs, seed=seed)
    for note in notes:
        remark(note)
    _remark_on_experiments(plan.axis)
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


def _excluded(path: Path | None) -> list[Any]:
    """The pairs of `--exclude`; a table without any is remarked on."""
    from epixs.catalog.pairs import read_pairs

    if path is None:
        return []
    pairs = read_pairs(path, what="--exclude")
    if not pairs:
        remark(f"{path} has no rows: nothing is excluded")
    return pairs


def _named(names: Sequence[str]) -> str:
    return f"{len(names):,}: {listed(names)}" if names else "none"


def _say_how_it_ended(out: Path, done: dict[str, Any], axis: Any) -> list[Any]:
    """Show errors beside the baselines, worst assays first; the last lines have to be true by themselves."""
    from epixs.training.verdict import verdicts_on

    if "had_ended" in done:
        verdicts = verdicts_on(done["errors"])
        best = f"epoch {done['best_epoch']} of {done['epochs']} is kept" if done["epochs"] else "no history"
        say(
            "; ".join(
                [f"{out}: this run has ended, nothing is left to do", best, *(v.short for v in verdicts)]
            )
        )
        return verdicts
    tracks = "held_out_tracks_mse" in done
    what = "whole tracks" if tracks else done["held_out"]
    errors = sorted(
        done["errors"], key=lambda e: (e.species, e.assay != "", -_ratio(e.model, e.average_activity))
    )
    if errors:
        columns = ["species", "assay", "entries", "model", "average activity", "mean"]
        shown = [e for e in errors if not e.assay]
        shown += [e for e in errors if e.assay][:ASSAYS_SHOWN]
        rows = [
            [e.species, e.assay or "compared", f"{e.entries:,}", e.model, e.average_activity, e.mean]
            for e in sorted(shown, key=errors.index)
        ]
        show_table(f"MSE on {what}", columns, rows)
        hidden = sum(bool(e.assay) for e in errors) - (len(shown) - sum(not e.assay for e in shown))
        if hidden:
            say(f"and {counted(hidden, 'assay')} more: history.csv has all of them")
    everywhere = {assay for part in axis.parts for assay in part.training["assay"]}
    for part in axis.parts:
        lacking = sorted(part.store_name(name) for name in everywhere - set(part.training["assay"]))
        if lacking and len(part.training):
            remark(
                f"not among these, for {part.species} has no training experiment of them: {listed(lacking)}"
            )
    if done["stopped_early"]:
        say(f"stopped early: no better since epoch {done['best_epoch']}")
    made, planned, wanted = (int(done[name]) for name in ("epochs", "planned_epochs", "wanted_epochs"))
    if done["time_ran_out"]:
        remark(
            f"WARNING: time ran out in epoch {made} of {planned} planned: the learning rate had not come "
            "down. Give it more --max-minutes, or train anew with fewer --epochs"
        )
    elif planned < wanted:
        remark(
            f"{counted(planned, 'epoch')} fitted into the time, of {wanted} that would be planned without "
            "--max-minutes"
        )
    best = f"{'last' if done['keeps_last'] else 'best'} held-out MSE {done['held_out_mse']:.5f}"
    if tracks:
        best += f", {done['held_out_tracks_mse']:.5f} on whole tracks,"
    verdicts = verdicts_on(errors)
    short = ", ".join(f"{verdict.species}: {verdict.judgement}" for verdict in verdicts)
    say(f"{out}: {best} in epoch {done['best_epoch']} of {done['epochs']}; {short}")
    for verdict in verdicts:
        _judge(verdict, what)
    return verdicts


def _with_units(done: dict[str, Any]) -> dict[str, Any]:
    """What a run returned, its errors named by what they are: MSE, in squared arcsinh units."""
    names = {"model": "model_mse", "average_activity": "average_activity_mse", "mean": "mean_mse"}
    errors = [{names.get(key, key): value for key, value in vars(error).items()} for error in done["errors"]]
    return done | {"errors": errors}


def _judge(verdict: Any, what: str) -> None:
    """One sentence on whether a species' error is any good."""
    from epixs.training.verdict import ALONE, UNKNOWN, USELESS

    species, mse = verdict.species, f"MSE {verdict.model_mse:.4f}"
    if verdict.judgement == UNKNOWN:
        remark(f"nothing of {species} was held out: how good the model is there is not known")
        return
    if verdict.judgement == ALONE:
        remark(
            f"{species}: {mse} on {what}; each of its assays has one training experiment: there is "
            "nothing to compare with"
        )
        return
    alone = verdict.assays_alone
    text = (
        f"{species}: {mse}, average activity {verdict.average_activity_mse:.4f}, the mean "
        f"{verdict.mean_mse:.4f} on {what}; better than average activity on {verdict.assays_better} of "
        + counted(verdict.assays_compared, "assay")
        + (
            f" ({counted(alone, 'further assay')} with one training experiment cannot be compared)"
            * bool(alone)
        )
    )
    if verdict.judgement == USELESS:
        remark(f"WARNING: {text}. It is worse than a constant: this model is of no use for {species}")
    elif verdict.is_bad:
        remark(f"WARNING: {text}. Averages of the measured tracks are better than this model")
    else:
        say(text)


def _ratio(error: float, other: float) -> float:
    """How far behind a baseline an error is; without a baseline, not at all."""
    return error / other if other > 0 else 0.0


def curves(model_dir: ModelDir, out: Picture) -> None:
    """Draw the learning curves of a run: loss and held-out error by epoch."""
    check_present("model folder", model_dir)
    from epixs.report.figures import curves as run

    run(model_dir, out=out)
    say(f"wrote {out}")


def _show_training_plan(axis: Any, settings: Any, why: str) -> dict[str, Any]:
    """Show what will be trained and what it will take; returns the same as numbers."""
    from epixs.models.kinds import kind_named
    from epixs.training.cost import estimate_cost

    axis = axis.hold_out(settings.training.held_out_tracks, settings.training.seed)
    cost = estimate_cost(axis, settings)
    notes = kind_named(settings.kind).plan_notes(axis, settings)
    rows: list[list[Any]] = [
        ["kind of model", f"{settings.kind} ({why})"],
        ["species", ", ".join(axis.species)],
        [
            "experiments",
            f"{cost.experiments:,} ({axis.n_experiments - cost.experiments - axis.n_held_out} excluded, "
            f"{axis.n_held_out} held out whole)",
        ],
        ["biosamples x assays", f"{axis.n_biosamples:,} x {len(axis.assays):,}"],
        ["positions", f"{cost.positions:,}"],
        ["parameters", f"{cost.parameters:,}"],
        ["memory", f"{bytes_text(cost.memory_bytes)} (allowed {settings.training.memory_gb:g} GB)"],
        [
            "training signal",
            f"{bytes_text(cost.signal_bytes)}, "
            + ("in memory" if cost.in_memory else "out of core: read again in each epoch"),
        ],
        ["steps per epoch", f"{cost.steps_per_epoch:,} of {cost.batch_size:,} entries"],
        ["epochs", f"at most {cost.epochs:,}"],
        *map(list, notes.rows),
    ]
    show_table("training plan", ["what", "how much"], rows)
    species = [
        {
            "species": part.species,
            "bins": part.n_positions[0],
            "biosamples": part.training["biosample"].nunique(),
            "assays": part.training["assay"].nunique(),
            "trained_on": len(part.training),
            "excluded": int(part.experiments["excluded"].sum()),
            **{name.replace(" ", "_"): texts[number] for name, texts in notes.by_species.items()},
        }
        for number, part in enumerate(axis.parts)
    ]
    columns = [name.replace("_", " ") for name in species[0]]
    show_table("species", columns, [[*row.values()] for row in species])
    _remark_on_experiments(axis)
    _remark_on_sharing(axis)
    for text in notes.remarks:
        remark(text)
    return {
        "kind": settings.kind,
        "species": species,
        "held_out_experiments": axis.n_held_out,
        **{name.replace(" ", "_").replace("-", "_"): text for name, text in notes.rows},
        **vars(cost),
    }


def _remark_on_experiments(axis: Any) -> None:
    """Say what takes no part, and what cannot be learnt from what does."""
    from epixs.checks.remarks import mixed_units, remarks_on, two_spellings
    from epixs.compendium.read import experiments_of, open_compendium
    from epixs.compendium.status import store_status

    for part in axis.parts:
        dataset = open_compendium(part.source)
        table = experiments_of(dataset)
        empty = table[(table["status"] == "ok") & table["signal_max"].isna()]
        if len(empty):
            some = f"{counted(len(empty), 'experiment')} of {part.species}"
            remark(
                f"{some} without any value in these regions, no part of training: "
                f"{listed([*empty['accession']])}"
            )
        trained_on = table.iloc[part.training["row"]]
        for text in remarks_on(trained_on, part.species, dataset.attrs["uncovered"]):
            remark(text)
        state = store_status(part.source)
        for rows, what in ((state.failed, "could not be read"), (state.removed, "removed")):
            if rows:
                some = f"{counted(len(rows), 'experiment')} of {part.species}"
                names = listed([name for name, _ in rows])
                remark(f"{some} {'takes' if len(rows) == 1 else 'take'} no part, {what}: {names}")
    units: dict[str, dict[str, list[str]]] = {}
    for part in axis.parts:  # excluded ones as well: it is they that will be imputed
        for assay, kinds in part.experiments.groupby("assay")["output_type"]:
            units.setdefault(str(assay), {})[part.species] = sorted(set(kinds))
    for text in two_spellings(axis.species, "species"):
        remark(text)
    several = {assay: kinds for assay, kinds in units.items() if len(kinds) > 1}
    for text in mixed_units(several):
        remark(text)
    trained = {part.species: set(part.training["assay"]) for part in axis.parts}
    lost = sorted(set(axis.assays) - set().union(*trained.values()))
    if lost:
        remark(f"{counted(len(lost), 'assay')} without any training experiment: {listed(lost)}")


def _remark_on_sharing(axis: Any) -> None:
    """Say which species share no assay, and which names may mean the same."""
    from epixs.axis.aliases import alias_command, near_names

    trained = {part.species: set(part.training["assay"]) for part in axis.parts}
    for species, assays in trained.items():
        others = set().union(*(mine for name, mine in trained.items() if name != species))
        if len(trained) > 1 and not assays & others:
            remark(f"{species} shares no assay with the others in training: neither learns from the other")
    near = near_names({part.species: sorted(set(part.experiments["assay"])) for part in axis.parts})
    if near:
        a, mine, b, theirs = near[0]
        more = f", and {counted(len(near) - 1, 'other pair')}" if len(near) > 1 else ""
        remark(
            f"did you mean the same assay by {mine!r} ({a}) and {theirs!r} ({b}){more}? Then add "
            f"`--assay-alias alias.tsv`, after\n  {alias_command(near, 'alias.tsv')}"
        )


def _show_probe(probe: Any) -> None:
    whole = probe.seconds_per_epoch * probe.epochs
    epochs = counted(probe.epochs, "epoch")
    if probe.epochs < probe.wanted_epochs:
        epochs += f" (of {probe.wanted_epochs:,} that would be planned without --max-minutes)"
    say(
        f"{seconds_text(probe.seconds_per_epoch)} an epoch by timing a few steps; "
        f"at most {epochs}, {seconds_text(whole)}"
    )


def _with_progress(fit: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Call `fit(report=..., on_probe=...)` beside a progress line."""
    with progress_bar(TextColumn("{task.fields[state]}")) as bar:
        task = bar.add_task("training", total=None, state="reading")

        def report(now: Any) -> None:
            held_out = "" if math.isnan(now.held_out_mse) else f"  held-out {now.held_out_mse:.4f}"
            tracks = "" if math.isnan(now.held_out_tracks_mse) else f"  tracks {now.held_out_tracks_mse:.4f}"
            bar.update(
                task,
                completed=(now.epoch - 1) * now.steps_per_epoch + now.step,
                total=now.epochs * now.steps_per_epoch,
                description=f"epoch {now.epoch}/{now.epochs}",
                state=f"loss {now.loss:.4f}{held_out}{tracks}  {now.samples_per_second / 1e3:,.0f}k/s",
            )

        return fit(report=report, on_probe=_show_probe)


def _say_where_it_stands(out: Path) -> None:
    """Say where `--resume` goes on; of a run that has ended, its last line does."""
    from epixs.training.checkpoint import standing

    state = standing(out)
    if state is not None:
        after = f", after {counted(state.step, 'step')} of it" if state.step else ""
        say(f"{out}: goes on in epoch {state.epoch + 1}{after}")
    elif not (out / "model.json").is_file():
        say(f"{out}: there is no run to go on with, so one begins")


def _what_training_left(out: Path) -> str:
    again = "the same command with --resume goes on where it stopped"
    if (out / "model.json").is_file():
        return f"{out} holds the best model so far; {again}"
    if (out / "checkpoint.npz").is_file():
        return f"no epoch had ended, so there is no model in {out} yet; {again}"
    return f"nothing was saved in {out}; run the same command again"


def _widths(text: str | None) -> tuple[int, ...] | None:
    from epixs.errors import ConfigError

    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError("--hidden", got=repr(text), expected="widths like 2048,2048") from None
