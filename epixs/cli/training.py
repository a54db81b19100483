"""`epixs train` and `curves`: train a model on stores, and draw its learning curves."""

from __future__ import annotations

import functools
import warnings
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
    Picture,
    Quiet,
    Resume,
    Seed,
)
from epixs.cli.terminal import (
    check_present,
    on_interrupt,
    print_json,
    say,
    start_tensorflow,
    waiting,
)
from epixs.cli.training_shown import (
    excluded,
    say_how_it_ended,
    say_where_it_stands,
    show_probe,
    show_training_plan,
    what_training_left,
    with_progress,
    with_units,
)


def train(
    stores: Annotated[list[str], typer.Argument(metavar="STORE", help="one compendium per species")],
    out: Annotated[Path, typer.Option(metavar="MODEL_DIR", help="new folder for the model")],
    exclude: Exclude = None,
    config: Annotated[Path | None, typer.Option(help="TOML with settings")] = None,
    model: Annotated[
        str | None, typer.Option(help="kind of model: context or avocado; by default chosen by the tracks")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="SPECIES",
            help="species that zero-shot imputation is meant for; by default chosen by the exclusions",
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
    quiet: Quiet = False,
) -> None:
    """Train one model over all species jointly; keeps its best epoch, or of kind `context` its last."""
    from epixs.errors import EpixsWarning, TrainingError
    from epixs.storage.files import check_new_folder

    if not (resume or dry_run):
        check_new_folder(out, TrainingError)
    check_present("store", *stores)
    check_present("--exclude", exclude)
    from epixs.models.settings import choose_kind, make_settings, read_settings

    chosen: dict[str, Any] = {"target": target, "max_minutes": max_minutes, "epochs": epochs, "seed": seed}
    chosen["hidden"] = _widths(hidden)
    from epixs.axis.aliases import read_aliases
    from epixs.axis.join import joint_axis

    aliases = read_aliases(assay_alias) if assay_alias else ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EpixsWarning)  # the plan shows these notes in full
        axis = joint_axis(stores, excluded(exclude), aliases)
    kind, why = (model, "as --model says") if model else choose_kind(axis)
    settings = read_settings(config, model, default_kind=kind) if config else make_settings(kind)
    why = why if settings.kind == kind else f"as {config} says"
    settings = settings.replace(**chosen)
    plan = show_training_plan(axis, settings, why)
    if dry_run:
        start_tensorflow()
        from epixs.training.run import time_steps

        probe = time_steps(axis, settings)
        show_probe(probe)
        if json:
            print_json({"plan": {**plan, **vars(probe)}})
        return
    if resume:
        say_where_it_stands(out)
    with on_interrupt(lambda: what_training_left(out)):
        start_tensorflow()
        from epixs.training.run import train as run

        fit = functools.partial(run, axis, settings, out, resume=resume, force=force, tensorboard=tensorboard)
        done = with_progress(fit)
    verdicts = say_how_it_ended(out, done, axis)
    if json:
        print_json({"model": out, "plan": plan, **with_units(done), "verdicts": verdicts})


def curves(model_dir: ModelDir, out: Picture, quiet: Quiet = False) -> None:
    """Draw the learning curves of a run: loss and held-out error by epoch."""
    check_present("model folder", model_dir)
    from epixs.report.figures.curves import curves as run

    with waiting("drawing"):
        run(model_dir, out=out)
    say(f"wrote {out}")


def _widths(text: str | None) -> tuple[int, ...] | None:
    from epixs.errors import ConfigError

    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError("--hidden", got=repr(text), expected="widths like 2048,2048") from None
