"""`epixs plan`: what to expect of a panel, and which experiment to perform next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from epixs.cli.options import AsJson, Quiet
from epixs.cli.terminal import (
    check_present,
    on_interrupt,
    print_json,
    progress_bar,
    remark,
    say,
    seconds_text,
    show_table,
    start_tensorflow,
)

MOST_SHOWN = 5
"""Experiments to perform next that are shown."""


def plan(
    panel: Annotated[
        Path, typer.Argument(metavar="PANEL", help="catalog, or table with columns species, biosample, assay")
    ],
    like: Annotated[
        str, typer.Option(metavar="STORE", help="compendium of a well measured species, as an example")
    ],
    other: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STORE",
            help="compendium of a further species: its assays that the panel lacks are rehearsed zero-shot; "
            "repeatable",
        ),
    ] = None,
    draws: Annotated[
        int, typer.Option(min=1, help="number of rehearsals with half of the biosamples, and with all")
    ] = 2,
    seed: Annotated[
        int, typer.Option(min=0, help="decides which biosamples stand for those of the panel")
    ] = 0,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            min=0.1, help="time for training, all rehearsals together; imputing and scoring come on top"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="keep what was rehearsed, and go on from there")
    ] = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say what to expect of a panel, and which experiment to perform next.

    The panel's unmeasured tracks are rehearsed on a species that is measured well: a model is trained on as
    many of its tracks, and imputes others that are known. PANEL may list experiments that are only planned.
    """
    check_present("panel", panel)
    check_present("store", like, *(other or ()))
    start_tensorflow()
    from epixs.guidance.plan import SHARES
    from epixs.guidance.plan import plan as run

    count = draws * len(SHARES)
    kept = (
        f"{out} holds the rehearsals that ended; the same command goes on"
        if out
        else "nothing was kept, without --out"
    )
    say(f"training {count} models on tracks of {like}, and imputing others that are known")
    with progress_bar() as bar, on_interrupt(lambda: kept):
        task = bar.add_task("rehearsing", total=count)
        found = run(
            panel,
            like,
            other or (),
            max_minutes=max_minutes,
            draws=draws,
            seed=seed,
            out=out,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            on_probe=lambda seconds: say(
                f"about {seconds_text(seconds)} of training in all; imputing and scoring come on top"
            ),
        )
    for note in found.notes:
        remark(note)
    show_table(
        "Pearson over bins of imputed with measured tracks, by assay",
        ["assay", "role", "unmeasured", "expected", "rehearsed", "mean", "lowest", "highest", "skill"],
        _rows(found.assays),
    )
    show_table(
        "with fewer biosamples",
        ["share", "biosamples", "tracks", "mean Pearson", "mean skill"],
        _rows(found.curve),
    )
    show_table(
        "experiments to perform next (gain: rise of the sum of correlations, over all tracks)",
        ["biosample", "assay", "expected if imputed", "gain"],
        _rows(found.next.head(MOST_SHOWN)),
    )
    if len(found.next):
        biosample, assay, pearson, _ = found.next.iloc[0].tolist()
        say(f"next: {assay} of {biosample}, expected Pearson if it is imputed {pearson:.2f}")
    else:
        say("every pair of the panel's biosamples and assays is measured")
    if json:
        print_json(
            {
                "assays": found.assays,
                "curve": found.curve,
                "next": found.next,
                "tracks": found.tracks,
                "notes": found.notes,
            }
        )


def _rows(table: Any) -> list[list[Any]]:
    """Rows of a table, correlations with two digits and `-` where there is none."""
    return [
        ["-" if value != value else f"{value:.2f}" if isinstance(value, float) else value for value in row]
        for row in table.itertuples(index=False)
    ]
