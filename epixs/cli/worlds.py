"""`epixs simulate` and `demo`: a simulated world to try everything on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from epixs.cli.options import Quiet, Size, WorldFolder, WorldSeed, WorldSize
from epixs.cli.terminal import counting, on_interrupt, out, progress_bar, say, start_tensorflow
from epixs.errors import counted


def simulate(
    folder: WorldFolder,
    size: WorldSize = Size.demo,
    seed: WorldSeed = 0,
    differs: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET", help="a target such as H3K27ac that marks other elements in mouse"),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write a simulated two-species world as bigWigs, with a portal-style metadata.tsv."""
    from epixs.simulation.simulate import simulate as run

    with progress_bar() as bar:
        show = counting(bar, "writing tracks")
        files = run(folder, size=size.value, seed=seed, differs=differs or (), progress=show)
    say(
        f"{folder}: {counted(len(files), 'file')}; "
        f"next: epixs catalog {folder}/metadata.tsv --out {folder}/catalog.tsv"
    )


def demo(folder: WorldFolder = Path("demo"), size: WorldSize = Size.demo, seed: WorldSeed = 0) -> None:
    """Run the whole path on a simulated world: from bigWigs to zero-shot scores."""
    again = f"the demo does not resume: delete {folder} and run it again (`make demo` deletes it itself)"
    with on_interrupt(lambda: again):
        start_tensorflow()
        from epixs.simulation.demo import demo as run

        run(folder, size=size.value, seed=seed, console=out)
