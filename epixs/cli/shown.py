"""`epixs info` and `status`: what a store, a model or a store of genome factors holds, and how far it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from epixs.cli.app import app
from epixs.cli.terminal import EXIT_ROWS_FAILED, bytes_text, counted, fail_rows, out, remark, say, table_of

if TYPE_CHECKING:
    from epixs.storage.store import Store

ERRORS = {
    "held_out_mse": "held-out MSE, entries",
    "held_out_tracks_mse": "held-out MSE, whole tracks",
}
AGAIN = "run the command that writes it again: it resumes where it stopped"


@app.command()
def status(
    path: Annotated[str, typer.Argument(metavar="PATH", help="a store, a model or genome factors")],
) -> None:
    """Show how far a store (or model) is; exit code 1 if some experiments could not be read."""
    from epixs.compendium.status import store_status
    from epixs.storage.store import open_store

    if _is_model(path):
        say(f"{path}: {_training_of(path)}")
        return
    store = open_store(path)
    if store.kind == "factors":
        say(f"{path}: {_fitted(store)}")
        return
    state = store_status(store)
    say(
        f"{path}: {state.status}, {state.tiles_done} of {state.tiles} tiles written, "
        f"{len(state.failed)} of {state.experiments} experiments could not be read"
    )
    for name, reason in state.removed:
        say(f"  {name} is removed: {reason}")
    if state.status != "complete":
        say(AGAIN)
    fail_rows(state.failed)
    if state.failed:
        raise typer.Exit(EXIT_ROWS_FAILED)


@app.command()
def info(
    path: Annotated[str, typer.Argument(metavar="PATH", help="a store, a model or genome factors")],
) -> None:
    """Show what a store holds: species, bins, units, experiments; or what a model was trained on."""
    from epixs.storage.store import open_store

    if _is_model(path):
        _show_model(path)
    elif (store := open_store(path)).kind == "factors":
        _show_factors(path, store)
    else:
        _show_store(path, store)


def _is_model(path: str) -> bool:
    from epixs.models.description import DESCRIPTION_FILE
    from epixs.storage.files import CHECKPOINT_FILE

    return any((Path(path) / name).is_file() for name in (DESCRIPTION_FILE, CHECKPOINT_FILE))


def _show_store(path: str, store: Store) -> None:
    from epixs.checks.remarks import remarks_on
    from epixs.compendium.read import experiments_of, open_compendium, regions_of

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
    out.print(table_of(path, ["what", "value"], rows))
    columns = ["accession", "biosample", "assay", "assay_class", "output_type", "status", "signal_mean"]
    columns += ["signal_max", "covered_fraction"]
    out.print(table_of("experiments", columns, table[columns].to_numpy().tolist()))
    if dataset.attrs["kind"] == "observed":
        for text in remarks_on(table, dataset.attrs["species"], dataset.attrs["uncovered"]):
            remark(text)


def _show_model(path: str) -> None:
    from epixs.models.description import read_description
    from epixs.models.kinds import kind_named

    said = read_description(Path(path))
    settings, axis = said.settings, said.axis
    kind = kind_named(settings.kind)
    rows = [
        ["kind", f"model ({kind.name})"],
        ["training", _training_of(path)],
        ["extends", said.extends or "no other model"],
        *([text, f"{said.scores[name]:.4f}"] for name, text in ERRORS.items() if name in said.scores),
        *map(list, kind.described(axis, settings)),
        ["parameters", f"{kind.parameters(axis, settings):,}"],
        ["assays", f"{len(axis.assays):,}"],
        *(
            [
                f"aliases of {part.species}",
                ", ".join(f"{name} = {joint}" for name, joint in part.aliases.items()),
            ]
            for part in axis.parts
            if part.aliases
        ),
        ["fingerprint", said.fingerprint],
    ]
    out.print(table_of(path, ["what", "value"], rows))
    species = [
        [
            part.species,
            part.regions.assembly,
            f"{part.regions.n_bins:,}",
            len(part.biosamples),
            len(part.training),
            int(part.experiments["excluded"].sum()),
            part.source,
        ]
        for part in axis.parts
    ]
    columns = ["species", "assembly", "bins", "biosamples", "trained on", "excluded", "store"]
    out.print(table_of("trained on", columns, species))


def _training_of(path: str) -> str:
    from epixs.models.description import DESCRIPTION_FILE, read_description

    go_on = "the same command with --resume goes on"
    if not (Path(path) / DESCRIPTION_FILE).is_file():
        return f"interrupted before the first epoch was over; {go_on}"
    said = read_description(Path(path))
    if "epochs" not in said.scores:
        return "by a script of one's own; how good it is, only its history there can tell"
    best = f"best epoch {said.scores.get('best_epoch', 0):.0f} of {said.scores.get('epochs', 0):.0f}"
    return f"interrupted, {best} so far; {go_on}" if said.interrupted else f"finished, {best}"


def _fitted(store: Store) -> str:
    from epixs.factors.store import factor_status

    state = factor_status(store)
    text = f"{state.status}, {state.done} of {counted(state.plan.n_blocks, 'block')} fitted"
    return text if state.status == "complete" else f"{text}; {AGAIN}"


def _show_factors(path: str, store: Store) -> None:
    from epixs.factors.store import factor_status

    plan = factor_status(store).plan
    part = plan.part
    rows = [
        ["kind", "genome factors"],
        ["status", _fitted(store)],
        ["of the model", plan.model],
        ["species", part.species],
        ["assembly", part.regions.assembly],
        ["bins", f"{part.regions.n_bins:,} in {counted(len(part.regions), 'region')}"],
        ["fitted to", f"{counted(len(part.training), 'experiment')} of {part.source}"],
        ["size", bytes_text(plan.n_bytes)],
    ]
    out.print(table_of(path, ["what", "value"], rows))
