"""`epixs train`, `impute`, `evaluate` and `plot`: from stores to imputations, scores and pictures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import TextColumn

from epixs.cli.app import app
from epixs.terminal import (
    bytes_text,
    counted,
    on_interrupt,
    out,
    progress_bar,
    remark,
    say,
    seconds_text,
    start_tensorflow,
    table_of,
)

SHOWN = 5


@app.command()
def train(
    stores: Annotated[list[str], typer.Argument(metavar="STORE...", help="one compendium per species")],
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
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with the run in MODEL_DIR, if it was interrupted")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="start even if it needs more memory than memory_gb")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="write event files to MODEL_DIR/tensorboard as well")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what it would take, and stop")] = False,
) -> None:
    """Train one model over all species jointly; keeps the best checkpoint on held-out entries."""
    from epixs.config import TrainConfig, read_config
    from epixs.errors import TrainingError
    from epixs.files import check_new_folder
    from epixs.joint import joint_axis, read_pairs

    if not (resume or dry_run):
        check_new_folder(out_path, TrainingError)
    settings = (read_config(config) if config else TrainConfig()).replace(
        model=model, hidden=_widths(hidden), max_minutes=max_minutes, epochs=epochs, seed=seed
    )
    axis = joint_axis(stores, read_pairs(exclude, what="--exclude") if exclude else ())
    _show_training_plan(axis, settings)
    if dry_run:
        start_tensorflow()
        from epixs.training.run import time_steps

        _show_probe(time_steps(axis, settings))
        return
    with on_interrupt(lambda: _what_training_left(out_path)):
        start_tensorflow()
        done = _train_with_progress(
            axis, settings, out_path, resume=resume, force=force, tensorboard=tensorboard
        )
    if done["stopped_early"]:
        say(f"stopped early: no better since epoch {done['best_epoch']}")
    best = f"best held-out MSE {done['held_out_mse']:.5f}"
    if "held_out_tracks_mse" in done:
        best += f", {done['held_out_tracks_mse']:.5f} on whole tracks,"
    say(f"{out_path}: {best} in epoch {done['best_epoch']} of {done['epochs']}")


@app.command()
def curves(
    model_dir: Annotated[Path, typer.Argument(metavar="MODEL_DIR", help="folder that `epixs train` wrote")],
    out_path: Annotated[Path, typer.Option("--out", help="picture to write (.png, .svg, .pdf)")],
) -> None:
    """Draw the learning curves of a run: loss and held-out error by epoch."""
    from epixs.figures import plot_history

    plot_history(model_dir, out=out_path)
    say(f"wrote {out_path}")


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
        [
            "training signal",
            f"{bytes_text(cost.signal_bytes)}, "
            + ("in memory" if cost.in_memory else "out of core: read again in each epoch"),
        ],
        ["steps per epoch", f"{cost.steps_per_epoch:,}, at most {counted(cost.epochs, 'epoch')}"],
    ]
    out.print(table_of("training plan", ["what", "how much"], rows))


def _show_probe(probe: Any) -> None:
    whole = probe.seconds_per_epoch * probe.epochs
    epochs = counted(probe.epochs, "epoch")
    say(
        f"{seconds_text(probe.seconds_per_epoch)} an epoch by timing a few steps; "
        f"at most {epochs}, {seconds_text(whole)}"
    )


def _train_with_progress(axis: Any, settings: Any, out_path: Path, **options: bool) -> dict[str, Any]:
    from epixs.training.run import train as run

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

        return run(axis, settings, out_path, report=report, on_probe=_show_probe, **options)


def _what_training_left(out_path: Path) -> str:
    again = "the same command with --resume goes on where it stopped"
    if (out_path / "model.json").is_file():
        return f"{out_path} holds the best model so far; {again}"
    if (out_path / "checkpoint.npz").is_file():
        return f"no epoch had ended, so there is no model in {out_path} yet; {again}"
    return f"nothing was saved in {out_path}; run the same command again"


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
    store: Annotated[str, typer.Argument(help="compendium of the species to impute")],
    out_path: Annotated[str, typer.Option("--out", help="imputed store to write, or to go on with")],
    pairs: Annotated[Path | None, typer.Option(help="TSV of species, biosample, assay to impute")] = None,
    everything: Annotated[bool, typer.Option("--all", help="also what was trained on")] = False,
) -> None:
    """Impute what was not measured: by default every pair the model was not trained on."""
    from epixs.compendium.store import open_compendium
    from epixs.errors import ConfigError
    from epixs.joint import read_pairs

    if pairs is not None and everything:
        raise ConfigError("--pairs and --all", got="both", expected="one of them")
    if (model_dir / "zarr.json").is_file() and (Path(store) / "model.json").is_file():
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
    imputed: Annotated[str, typer.Argument(help="imputed store")],
    store: Annotated[str, typer.Argument(help="observed store of the same species")],
    report: Annotated[Path | None, typer.Option(help="folder for scores.tsv and summary.tsv")] = None,
    other: Annotated[
        list[str] | None,
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
    imputed: Annotated[str, typer.Argument(help="imputed store")],
    store: Annotated[str, typer.Argument(help="observed store of the same species")],
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
