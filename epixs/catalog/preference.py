"""Choose between several portal files or experiments of one (biosample, assay)."""

from __future__ import annotations

import re

import pandas as pd

LABELS = ["species", "biosample", "assay"]

SERIES = ("Lab", "Project", "Donor(s)", "Experiment date released")
"""Columns that experiments of one series share, the most informative one first."""


def largest_series_first(files: pd.DataFrame) -> pd.DataFrame:
    """Order files so that the first experiment of each (biosample, assay) is that of the largest series.

    Experiments of one series share laboratory, project, donors and date of release, as far as the table has
    them. Some biosamples look the same in the table; their assays are then taken from one series where
    possible, and not mixed by chance. Files with audit errors come last.
    """
    order = files.assign(_errors=files["Audit ERROR"] != "")
    keys, columns = ["species", "biosample"], ["_errors"]
    for column in SERIES:
        keys = [*keys, column]
        covered = f"_covered {column}"
        order = order.assign(**{covered: -order.groupby(keys)["assay"].transform("nunique")})
        columns += [covered, column]
    ordered = order.sort_values(columns, kind="stable")
    return ordered.drop(columns=[name for name in columns if name not in SERIES])


def beside_the_first(files: pd.DataFrame) -> pd.DataFrame:
    """List the experiments after the first of each (species, biosample, assay), and name that first one."""
    chosen = files.drop_duplicates(LABELS).set_index(LABELS)["Experiment accession"]
    rest = files[files.duplicated(LABELS)]
    labels = pd.MultiIndex.from_frame(rest[LABELS])
    columns = [*LABELS, "accession", "Experiment accession", *SERIES, "Audit ERROR"]
    return (
        rest[columns]
        .assign(**{"chosen instead": chosen.reindex(labels).to_numpy()})
        .sort_values(LABELS)
        .reset_index(drop=True)
    )


def best_file_first(files: pd.DataFrame) -> pd.DataFrame:
    """Order files: without audit errors first, then most replicates pooled, then the newest analysis."""
    return (
        files.assign(
            _errors=(files["Audit ERROR"] != "").astype(int),
            _replicates=files["Biological replicate(s)"].map(lambda text: -len(re.findall(r"\d+", text))),
            _analysis=files["File analysis title"].map(_analysis_order),
        )
        .sort_values(
            ["_errors", "_replicates", "_analysis", "accession"], ascending=[True, True, False, False]
        )
        .drop(columns=["_errors", "_replicates", "_analysis"])
    )


def _analysis_order(title: str) -> tuple[int, ...]:
    """Turn `"ENCODE4 v1.5.1 GRCh38"` into `(4, 1, 5, 1)`, so that newer analyses sort higher."""
    stage = re.search(r"ENCODE(\d+)", title)
    version = re.search(r"v(\d+(?:\.\d+)*)", title)
    numbers = [int(part) for part in version.group(1).split(".")] if version else []
    return (int(stage.group(1)) if stage else 0, *numbers)
