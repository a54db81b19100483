"""Write evaluations as files, as a page, and as tables to print: TSV, Markdown, LaTeX and HTML."""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import xarray as xr

from epixs.errors import ConfigError
from epixs.evaluation.comparison import Tables
from epixs.evaluation.metrics import HIGHER_IS_BETTER
from epixs.evaluation.runs import NOBODY, method_name
from epixs.evaluation.table import Evaluation
from epixs.report.evaluation_page import evaluation_html
from epixs.report.page_parts import Sources
from epixs.storage.files import write_text

HOW = "mean [95 % interval]"

FORMATS = ("tsv", "markdown", "latex", "html")
"""Formats of the tables of a run."""


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
    """Write `scores.tsv` (one row per experiment and method), `summary.tsv` (means) and `report.html`.

    Numbers in tables have all their digits. The page is one file that needs no network. Without matplotlib
    (the `viz` extra) it only has tables.

    Parameters
    ----------
    evaluation
        Result of `evaluate`. Its `scores` may be combined from several, with a column `species`.
    folder
        Folder to write to.
    imputed, store
        The two compendia, for tracks along the genome and the calibration of intervals.
    model
        Folder of the model that imputed, for its learning curves and factors.
    loci
        Loci at which to draw the best and the worst track; by default, those of largest signal and error.
    genes
        BED, GFF or GTF file of genes to draw there.

    Returns
    -------
    The files written.

    Raises
    ------
    AxisError
        If the compendia do not fit, or loci or genes are given without them.
    RegionError
        If a locus lies outside the regions, or genes cannot be read.
    TrainingError
        If the model's folder holds no model.
    """
    sources = Sources.open(imputed, store, model, loci, genes)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, table in (("scores", evaluation.scores), ("summary", evaluation.summary())):
        path = folder / f"{name}.tsv"
        table.to_csv(path, sep="\t", index=False, na_rep="NA", quoting=csv.QUOTE_NONE)
        written.append(path)
    page = folder / "report.html"
    write_text(page, evaluation_html(evaluation, sources))
    return [*written, page]


def markdown_table(table: pd.DataFrame) -> str:
    """Format a table as Markdown, with numbers to four decimals, for docs that a command writes."""
    lines = ["| " + " | ".join(map(str, table.columns)) + " |", "|" + "---|" * len(table.columns)]
    for row in table.itertuples(index=False):
        cells = ["" if pd.isna(v) else f"{v:.4f}" if isinstance(v, float) else str(v) for v in row]
        cells = [" ".join(cell.split()).replace("|", "\\|") for cell in cells]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def tidy_table(tables: Tables) -> pd.DataFrame:
    """Join all tables of a run: one row per table, method and group, numbers with all their digits."""
    assays = tables.assays.rename(
        columns={"assay": "group", "joint": "mean", "low": "difference_low", "high": "difference_high"}
    )
    parts = {
        "imputation": tables.imputation,
        "zero-shot": tables.zero_shot,
        "characterised": tables.characterised,
        "assays": assays,
    }
    tables_with_rows = [
        part.assign(table=name, metric=tables.metric) for name, part in parts.items() if len(part)
    ]
    table = pd.concat(tables_with_rows, ignore_index=True)
    return table[["table", "metric", *[name for name in table if name not in ("table", "metric")]]]


def typeset(tables: Tables, format: str) -> str:
    """Format the tables of a run as text.

    Parameters
    ----------
    tables
        Result of `epixs.tables`.
    format
        `"tsv"` for one tidy table; `"markdown"`, `"latex"` (booktabs) or `"html"` for tables to read. Names
        are escaped.

    Raises
    ------
    ConfigError
        If there is no such format.
    """
    if format not in FORMATS:
        raise ConfigError("format", got=repr(format), expected=" or ".join(FORMATS))
    if format == "tsv":
        return str(
            tidy_table(tables).to_csv(
                sep="\t", index=False, na_rep="NA", lineterminator="\n", quoting=csv.QUOTE_NONE
            )
        )
    made = [_RENDER[format](title, table) for title, table in printed_tables(tables).items()]
    return "\n".join(made)


def printed_tables(tables: Tables) -> dict[str, pd.DataFrame]:
    """Format the tables of a run for people: one row per method, one column per group, all cells text."""
    metric = tables.metric
    by_title = {
        f"Table 1. {metric} of experiments whose assay was trained on, {HOW}": _printed(tables.imputation),
        f"Table 2. {metric} of experiments whose assay was not trained on in their species, {HOW}": _printed(
            tables.zero_shot, marked=True
        ),
        f"{metric} by the number of training experiments of the biosample, {HOW}": _printed(
            tables.characterised
        ),
        f"{metric} by assay, joint training beside one species": _printed_assays(tables.assays, metric),
    }
    return {title: table for title, table in by_title.items() if len(table)}


def _printed(table: pd.DataFrame, *, marked: bool = False) -> pd.DataFrame:
    """Format mean [interval] per method and group, and experiments and corrected p of the first group."""
    several = len(set(table["model"]) - {NOBODY}) > 1
    groups = list(dict.fromkeys(table["group"]))
    by_method: dict[Any, dict[str, Any]] = {}
    for row in _rows(table):
        by_method.setdefault((row.training_set, row.model, row.method), {})[row.group] = row
    names = {method_name(method, True): method_name(method, several) for method in by_method}
    rows = []
    for method, by_group in by_method.items():
        first = by_group.get(groups[0], next(iter(by_group.values())))
        cells = {"": method_name(method, several)}
        for group in groups:
            cells[group.replace("_", " ")] = _mean(by_group[group]) if group in by_group else ""
        cells |= {"experiments": f"{first.experiments:,}", "against": names.get(first.against, first.against)}
        cells[f"p, {groups[0]}"] = "" if pd.isna(first.p_corrected) else f"{first.p_corrected:.2g}"
        if marked:
            cells["a zero-shot user has it"] = first.zero_shot_user
        rows.append(cells)
    return pd.DataFrame(rows)


def _rows(table: pd.DataFrame) -> list[Any]:
    return [
        SimpleNamespace(**{str(name): cell for name, cell in row.items()}) for row in table.to_dict("records")
    ]


def _mean(row: Any) -> str:
    return _interval(row.mean, row.low, row.high)


def _interval(mean: float, low: float, high: float) -> str:
    return f"{mean:.4f}" + ("" if pd.isna(low) else f" [{low:.4f}, {high:.4f}]")


def _printed_assays(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    change = "+.4f" if metric in HIGHER_IS_BETTER else "+.1%"  # correlations are subtracted
    several = len(set(table["model"])) > 1
    rows = [
        {
            "": method_name((row.training_set, row.model, row.model), several),
            "assay": row.assay,
            "experiments": f"{row.experiments:,}",
            "one species": f"{row.single:.4f}",
            "joint": f"{row.joint:.4f}",
            "joint - one species": _interval(row.difference, row.low, row.high),
            "change": "" if pd.isna(row.change) else format(row.change, change),
            "p": "" if pd.isna(row.p_corrected) else f"{row.p_corrected:.2g}",
            "seems to differ": "yes" if row.differs else "",
        }
        for row in _rows(table)
    ]
    return pd.DataFrame(rows)


def _markdown(title: str, table: pd.DataFrame) -> str:
    return f"**{title}**\n\n{markdown_table(table.rename(columns=_plain).map(_plain))}"


def _plain(text: str) -> str:
    """Escape what Markdown would take for markup; `markdown_table` escapes the bars between cells."""
    return re.sub(r"([\\`*]|(?<=\])\()", r"\\\1", html.escape(text, quote=False))


def _latex(title: str, table: pd.DataFrame) -> str:
    styled = table.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    return str(styled.to_latex(caption=_escaped(title), hrules=True, position_float="centering"))


def _escaped(title: str) -> str:
    return title.replace("_", "\\_")


def _html(title: str, table: pd.DataFrame) -> str:
    return f"<h2>{html.escape(title)}</h2>\n{table.to_html(index=False, border=0)}\n"


_RENDER = {"markdown": _markdown, "latex": _latex, "html": _html}
