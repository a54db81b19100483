"""`epixs simulate` and `demo`: a simulated world to try everything on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from epixs.cli.app import app
from epixs.cli.terminal import counted, on_interrupt, out, say, start_tensorflow


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="new or empty folder")],
    size: Annotated[str, typer.Option(help="demo, tiny or large")] = "demo",
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Write a simulated two-species world as bigWigs, with a portal-style metadata.tsv."""
    from epixs.simulation.simulate import simulate as run

    files = run(folder, size=size, seed=seed)
    say(
        f"{folder}: {counted(len(files), 'file')}; "
        f"next: epixs catalog {folder}/metadata.tsv --out {folder}/catalog.tsv"
    )


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="new folder for everything the demo makes")] = Path("demo"),
    size: Annotated[str, typer.Option(help="demo, tiny or large")] = "demo",
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Run the whole path on a simulated world: from bigWigs to zero-shot scores."""
    again = f"the demo does not resume: delete {folder} and run it again (`make demo` deletes it itself)"
    with on_interrupt(lambda: again):
        start_tensorflow()
        from epixs.simulation.demo import run_demo

        run_demo(folder, size=size, seed=seed, console=out)
