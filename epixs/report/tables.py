"""An evaluation as files: TSV tables, and a picture where matplotlib is installed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from epixs.evaluation.table import Evaluation


def write_report(evaluation: Evaluation, folder: str | Path) -> list[Path]:
    """Write `scores.tsv` (one row per experiment and method) and `summary.tsv` (means over experiments).

    Numbers have all their digits.

    Returns
    -------
    The files that were written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, table in (("scores", evaluation.scores), ("summary", evaluation.summary())):
        path = folder / f"{name}.tsv"
        table.to_csv(path, sep="\t", index=False, na_rep="NA")
        written.append(path)
    return written


def markdown_table(table: pd.DataFrame) -> str:
    """A table as Markdown, numbers to four decimals, for docs that a command writes."""
    lines = ["| " + " | ".join(map(str, table.columns)) + " |", "|" + "---|" * len(table.columns)]
    for row in table.itertuples(index=False):
        cells = ["" if pd.isna(v) else f"{v:.4f}" if isinstance(v, float) else str(v) for v in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
