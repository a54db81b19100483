"""Arguments and options that several verbs share, each declared once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from epixs.cli.terminal import leave_out_notes, reserve_stdout


class Uncovered(StrEnum):
    """Treatments of bases without a value."""

    zero = "zero"
    nan = "nan"


class Backend(StrEnum):
    """Readers of bigWigs."""

    epixs = "epixs"
    pybigwig = "pybigwig"


class Size(StrEnum):
    """Sizes of a simulated world."""

    tiny = "tiny"
    demo = "demo"
    large = "large"


class SplitBy(StrEnum):
    """Units that a split keeps together."""

    experiment = "experiment"
    assay = "assay"
    by_class = "class"
    biosample = "biosample"
    region = "region"


class ScoringMode(StrEnum):
    """Definitions of the metrics."""

    corrected = "corrected"
    challenge = "challenge"


class FigureKind(StrEnum):
    """Figures that `epixs plot` draws."""

    locus = "locus"
    density = "density"
    skill = "skill"
    factors = "factors"


class TableFormat(StrEnum):
    """Formats of the tables of a run."""

    tsv = "tsv"
    markdown = "markdown"
    latex = "latex"
    html = "html"


class Cluster(StrEnum):
    """Units that bootstrap intervals draw."""

    biosample = "biosample"
    experiment = "experiment"


AnyPath = Annotated[
    str,
    typer.Argument(metavar="PATH", help="a store, a model, genome factors or a run of `epixs crossvalidate`"),
]
ModelDir = Annotated[
    Path, typer.Argument(metavar="MODEL_DIR", help="folder of a model, from `epixs train` or `extend`")
]
Imputed = Annotated[str, typer.Argument(metavar="IMPUTED", help="imputed store")]
Observed = Annotated[str, typer.Argument(metavar="STORE", help="observed store of the same species")]
WorldFolder = Annotated[Path, typer.Argument(metavar="DIR", help="new or empty folder")]

Workers = Annotated[int | None, typer.Option(min=1, help="worker processes on this machine")]
Scheduler = Annotated[str | None, typer.Option(help="address of a running Dask scheduler")]
Exclude = Annotated[
    Path | None, typer.Option(help="TSV of species, biosample, assay to leave out of fitting")
]
AssayAlias = Annotated[
    Path | None, typer.Option(metavar="TSV", help="assays with several names: columns assay and alias")
]
Epochs = Annotated[int | None, typer.Option(help="passes over the positions; 0 plans their number")]
MaxMinutes = Annotated[
    float | None,
    typer.Option(help="time limit; the learning rate is planned for it"),
]
Seed = Annotated[int | None, typer.Option(help="seed of all random draws")]
Resume = Annotated[bool, typer.Option("--resume", help="resume the run in --out, if it was interrupted")]
Force = Annotated[bool, typer.Option("--force", help="start even if it needs more memory than memory_gb")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="show the plan and its cost; write nothing")]
Picture = Annotated[Path, typer.Option("--out", help="picture to write (.png, .svg, .pdf)")]
Genes = Annotated[Path | None, typer.Option(help="BED, GFF or GTF file of genes to draw along loci")]
WorldSize = Annotated[Size, typer.Option(help="how large a world")]
WorldSeed = Annotated[int, typer.Option(help="the same seed gives the same world")]
Factors = Annotated[
    str | None, typer.Option(help="genome factors of the store's regions, from `epixs fit-genome`")
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json", callback=reserve_stdout, is_eager=True, help="one JSON object on stdout, all else on stderr"
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        callback=leave_out_notes,
        is_eager=True,
        help="no progress and no notes; warnings stay",
    ),
]
