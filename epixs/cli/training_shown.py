"""Print the messages of `epixs train` and `extend`: the plan, where a run stands, and how it ended."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.progress import TextColumn

from epixs.cli.terminal import (
    bytes_text,
    listed,
    progress_bar,
    remark,
    say,
    seconds_text,
    show_table,
)
from epixs.errors import counted

ASSAYS_SHOWN = 20
"""Maximum number of assays in the table of errors: those furthest behind average activity."""

COME_DOWN = 0.05
"""Share of its first value below which the learning rate has come down."""


def show_training_plan(axis: Any, settings: Any, why: str) -> dict[str, Any]:
    """Show the plan of a training run and its cost, and return both as numbers."""
    from epixs.models.kinds import kind_named
    from epixs.training.cost import check_tracks, estimate_cost

    axis = axis.hold_out(settings.training.held_out_tracks, settings.training.seed)
    check_tracks(axis, settings)
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
    remark_on_experiments(axis)
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


def remark_on_experiments(axis: Any, whole: Any = None) -> None:
    """Say which experiments take no part in training, and what cannot be learnt from the others.

    Of an extension, `whole` is the axis with all that the model knows.
    """
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
    for part in axis.parts:  # also excluded ones, as they will be imputed
        for assay, kinds in part.experiments.groupby("assay")["output_type"]:
            units.setdefault(str(assay), {})[part.species] = sorted(set(kinds))
    for text in two_spellings(axis.species, "species"):
        remark(text)
    several = {assay: kinds for assay, kinds in units.items() if len(kinds) > 1}
    for text in mixed_units(several):
        remark(text)
    trained = [set(part.training["assay"]) for part in (whole or axis).parts]
    lost = sorted(set(axis.assays) - set().union(*trained))
    if lost:
        remark(
            f"{counted(len(lost), 'assay')} without any training experiment, which the model cannot impute: "
            f"{listed(lost)}"
        )


def _remark_on_sharing(axis: Any) -> None:
    """Say which species share no assay, and which names may mean the same."""
    trained = {part.species: set(part.training["assay"]) for part in axis.parts}
    for species, assays in trained.items():
        others = set().union(*(own for name, own in trained.items() if name != species))
        if len(trained) > 1 and not assays & others:
            remark(f"{species} shares no assay with the others in training: neither learns from the other")
    remark_on_names(axis)


def remark_on_names(axis: Any) -> None:
    """Say which names of assays may mean the same."""
    from epixs.axis.aliases import alias_command, near_names

    near = near_names({part.species: sorted(set(part.experiments["assay"])) for part in axis.parts})
    if near:
        a, name_a, b, name_b = near[0]
        more = f", and {counted(len(near) - 1, 'other pair')}" if len(near) > 1 else ""
        remark(
            f"did you mean the same assay by {name_a!r} ({a}) and {name_b!r} ({b}){more}? Then add "
            f"`--assay-alias alias.tsv`, after\n  {alias_command(near, 'alias.tsv')}"
        )


def show_probe(probe: Any) -> None:
    """Say how long the run will take, estimated from a few steps; nothing if it takes no time."""
    whole = probe.seconds_per_epoch * probe.epochs
    if whole < 1.0:  # networks that are extended read new tracks as they are
        return
    epochs = counted(probe.epochs, "epoch")
    if probe.epochs < probe.wanted_epochs:
        epochs += f" (of {probe.wanted_epochs:,} that would be planned without --max-minutes)"
    say(
        f"{seconds_text(probe.seconds_per_epoch)} per epoch by timing a few steps; "
        f"at most {epochs}, {seconds_text(whole)}"
    )


def with_progress(fit: Callable[..., dict[str, Any]]) -> dict[str, Any]:
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

        return fit(report=report, on_probe=show_probe)


def say_where_it_stands(out: Path) -> None:
    """Say where `--resume` goes on. If the run has ended, its last line says so."""
    from epixs.training.checkpoint import standing

    state = standing(out)
    if state is not None:
        after = f", after {counted(state.step, 'step')} of it" if state.step else ""
        say(f"{out}: goes on in epoch {state.epoch + 1}{after}")
    elif not (out / "model.json").is_file():
        say(f"{out}: there is no run to resume, so a new one begins")


def what_training_left(out: Path) -> str:
    """Say what the folder of an interrupted run holds, and how to go on."""
    again = "the same command with --resume goes on where it stopped"
    if (out / "model.json").is_file():
        return f"{out} holds the best model so far; {again}"
    if (out / "checkpoint.npz").is_file():
        return f"no epoch had ended, so there is no model in {out} yet; {again}"
    return f"nothing was saved in {out}; run the same command again"


def say_how_it_ended(out: Path, done: dict[str, Any], axis: Any) -> list[Any]:
    """Show errors beside the baselines, worst assays first. The last lines must be clear by themselves."""
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
        listed_errors = [e for e in errors if not e.assay]
        listed_errors += [e for e in errors if e.assay][:ASSAYS_SHOWN]
        rows = [
            [e.species, e.assay or "compared", f"{e.entries:,}", e.model, e.average_activity, e.mean]
            for e in sorted(listed_errors, key=errors.index)
        ]
        show_table(f"MSE on {what}", columns, rows)
        hidden = sum(bool(e.assay) for e in errors) - (
            len(listed_errors) - sum(not e.assay for e in listed_errors)
        )
        if hidden:
            say(f"and {counted(hidden, 'assay')} more: history.csv has all of them")
    everywhere = {assay for part in axis.parts for assay in part.training["assay"]}
    for part in axis.parts:
        scored = {error.assay for error in errors if error.species == part.species}
        unscored = sorted({part.store_name(name) for name in part.training["assay"]} - scored)
        if unscored and len(scored) > 1:
            remark(
                f"not in this table, as no track of them in {part.species} was held out: {listed(unscored)}"
            )
        lacking = sorted(part.store_name(name) for name in everywhere - set(part.training["assay"]))
        if lacking and len(part.training):
            remark(
                f"not in this table, as {part.species} has no training experiment of them: {listed(lacking)}"
            )
    if done["stopped_early"]:
        say(f"stopped early: no better since epoch {done['best_epoch']}")
    made, planned, wanted = (int(done[name]) for name in ("epochs", "planned_epochs", "wanted_epochs"))
    if done["time_ran_out"]:
        at_the_end = (1 + math.cos(math.pi * min(1.0, made / max(1, planned)))) / 2
        if at_the_end > COME_DOWN:
            remark(
                f"WARNING: time ran out in epoch {made} of {planned} planned: the learning rate had not come "
                "down. Give it more --max-minutes, or train anew with fewer --epochs"
            )
        else:
            remark(f"time ran out in epoch {made} of {planned} planned")
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
    say(f"{out / 'MODEL_CARD.md'}: the model's data, scores and limits")
    say(f"{out}: {best} in epoch {done['best_epoch']} of {done['epochs']}; {short}")
    for verdict in verdicts:
        _judge(verdict, what)
    return verdicts


def _judge(verdict: Any, what: str) -> None:
    """Say in one sentence how a species' error compares with the baselines."""
    from epixs.training.verdict import ALONE, UNKNOWN, USELESS

    species, mse = verdict.species, f"MSE {verdict.model_mse:.4f}"
    if verdict.judgement == UNKNOWN:
        remark(f"nothing of {species} was held out: the model's error there is not known")
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
        f"the {counted(verdict.assays_compared, 'assay')} scored"
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
    """Return the ratio of an error to a baseline's; 0 without a baseline."""
    return error / other if other > 0 else 0.0


def with_units(done: dict[str, Any]) -> dict[str, Any]:
    """Return a run's result with its errors named `..._mse`: they are in squared arcsinh units."""
    names = {"model": "model_mse", "average_activity": "average_activity_mse", "mean": "mean_mse"}
    errors = [{names.get(key, key): value for key, value in vars(error).items()} for error in done["errors"]]
    return done | {"errors": errors}


def excluded(path: Path | None) -> list[Any]:
    """Read the pairs of `--exclude`, with a remark if the table has none."""
    from epixs.catalog.pairs import read_pairs

    if path is None:
        return []
    pairs = read_pairs(path, what="--exclude")
    if not pairs:
        remark(f"{path} has no rows: nothing is excluded")
    return pairs
