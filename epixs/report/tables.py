"""An evaluation as files: TSV tables, and a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import xarray as xr

from epixs.evaluation.table import Evaluation
from epixs.report.evaluation_page import Sources, evaluation_html
from epixs.storage.files import write_text


def write_report(
    evaluation: Evaluation,
    folder: str | Path,
    *,
    imputed: str | Path | xr.Dataset | None = None,
    store: str | Path | xr.Dataset | None = None,
    model: str | Path | None = None,
    loci: Sequence[str] = (),
    genes: str | Path | None = None,
) -> list[Path]:
    """Write `scores.tsv` (a row per experiment and method), `summary.tsv` (means) and the page `report.html`.

    Numbers in tables have all their digits. The page is one file that needs no network; without matplotlib
    (the `viz` extra) it has tables alone.

    Parameters
    ----------
    evaluation
        From `evaluate`. Its `scores` may be put together from several, with a column `species`.
    folder
        Where to write.
    imputed, store
        The two compendia, for tracks along the genome and the calibration of intervals.
    model
        Folder of the model that imputed, for its learning curves and factors.
    loci
        Where to draw the best and the worst track; by default, where signal and error are largest.
    genes
        BED, GFF or GTF file of genes to draw there.

    Returns
    -------
    The files that were written.

    Raises
    ------
    AxisError
        If the compendia do not fit, or loci or genes are given without them.
    RegionError
        If a locus lies outside the regions, or genes cannot be read.
    TrainingError
        If the model's folder holds none.
    """
    sources = Sources.open(imputed, store, model, loci, genes)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, table in (("scores", evaluation.scores), ("summary", evaluation.summary())):
        path = folder / f"{name}.tsv"
        table.to_csv(path, sep="\t", index=False, na_rep="NA")
        written.append(path)
    page = folder / "report.html"
    write_text(page, evaluation_html(evaluation, sources))
    return [*written, page]


def markdown_table(table: pd.DataFrame) -> str:
    """A table as Markdown, numbers to four decimals, for docs that a command writes."""
    lines = ["| " + " | ".join(map(str, table.columns)) + " |", "|" + "---|" * len(table.columns)]
    for row in table.itertuples(index=False):
        cells = ["" if pd.isna(v) else f"{v:.4f}" if isinstance(v, float) else str(v) for v in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
