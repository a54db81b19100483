"""Make the quality-control page: one HTML file that needs no network, with every name escaped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from epixs.checks.qc import quality
from epixs.cluster.tasks import Progress
from epixs.compendium.read import read_attributes
from epixs.report.pages import render
from epixs.storage.files import check_report_folder, write_text

ABSENT, OBSERVED, FAILED, NOTED = 0, 1, 2, 3


def qc(
    store: str | Path,
    report: str | Path | None = None,
    *,
    client: Any = None,
    progress: Callable[[Progress], None] | None = None,
) -> pd.DataFrame:
    """Measure every experiment of a store, and write a page that names those that stand out.

    Parameters
    ----------
    store
        An observed store, finished or not.
    report
        Folder for `qc.html` and `qc.tsv`; without one, nothing is written.
    client, progress
        As in `epixs.checks.qc.quality`.

    Returns
    -------
    One row per experiment; `notes` says why it stands out, and is empty if it does not. `attrs["files"]`
    names the files written.

    Raises
    ------
    StoreError
        If the store holds no observed experiments.
    """
    if report is not None:
        check_report_folder(Path(report))
    table = quality(store, client=client, progress=progress)
    if report is not None:
        attributes = read_attributes(store)
        title = f"{attributes['species']} ({attributes['assembly']}): {Path(store).name}"
        table.attrs["files"] = [str(path) for path in write_qc(table, report, title)]
    return table


def write_qc(table: pd.DataFrame, folder: str | Path, title: str) -> list[Path]:
    """Write `qc.tsv` and `qc.html` from the table of `quality`, and return both paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tsv, page = folder / "qc.tsv", folder / "qc.html"
    table.to_csv(tsv, sep="\t", index=False, float_format="%.6g")
    write_text(page, qc_html(table, title))
    return [tsv, page]


def qc_html(table: pd.DataFrame, title: str) -> str:
    """Return the page as text."""
    biosamples = sorted(set(table["biosample"]))
    assays = sorted(set(table["assay"]))
    cells = np.zeros((len(biosamples), len(assays)), dtype=int)
    at_row = {name: i for i, name in enumerate(biosamples)}
    at_column = {name: i for i, name in enumerate(assays)}
    for row in table.itertuples():
        state = FAILED if row.status != "ok" else NOTED if row.notes else OBSERVED
        cells[at_row[row.biosample], at_column[row.assay]] = state
    failed, noted = int((table["status"] != "ok").sum()), int((cells == NOTED).sum())
    share = len(table) / max(1, cells.size)
    summary = (
        f"{len(table):,} experiments of {len(biosamples):,} biosamples x {len(assays):,} assays "
        f"({share:.0%} of all pairs); {failed:,} could not be read, {noted:,} stand out."
    )
    matrix = {
        "biosamples": biosamples,
        "assays": assays,
        "cells": ["".join(map(str, row)) for row in cells],
    }
    return render(
        "qc.html",
        title=title,
        summary=summary,
        # Inside a script element only "<" could end the data early.
        matrix=Markup(json.dumps(matrix).replace("<", "\\u003c")),
        columns=[name.replace("_", " ") for name in table.columns],
        rows=table.to_numpy(dtype=object).tolist(),
    )
