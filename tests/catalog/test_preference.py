"""Orders of portal files, on rows written by hand."""

import pandas as pd

from epixs.catalog.preference import SERIES, beside_the_first, best_file_first, largest_series_first


def rows(*records, columns):
    return pd.DataFrame(records, columns=columns)


def test_the_best_file_has_no_error_most_replicates_and_the_newest_analysis():
    columns = ["accession", "Audit ERROR", "Biological replicate(s)", "File analysis title"]
    files = rows(
        ("old", "", "1, 2", "ENCODE3 v1.9 GRCh38"),
        ("flawed", "missing controls", "1, 2, 3", "ENCODE4 v2.0.0 GRCh38"),
        ("single", "", "1", "ENCODE4 v2.0.0 GRCh38"),
        ("newer", "", "1, 2", "ENCODE4 v1.10.0 GRCh38"),
        ("new", "", "1, 2", "ENCODE4 v1.9.1 GRCh38"),
        columns=columns,
    )
    assert best_file_first(files)["accession"].tolist() == ["newer", "new", "old", "single", "flawed"]


def test_assays_come_from_the_series_that_has_most_of_them_and_the_rest_is_named():
    columns = ["species", "biosample", "assay", "accession", "Experiment accession", *SERIES, "Audit ERROR"]

    def row(assay, name, lab, error=""):
        return ("mouse", "liver", assay, f"f-{name}", f"e-{name}", lab, "p", "d", "2020", error)

    files = rows(
        row("A", "1", "small"),
        row("A", "2", "large"),
        row("B", "3", "large"),
        row("C", "4", "large", error="audit"),
        row("C", "5", "small"),
        columns=columns,
    )
    ordered = largest_series_first(files)
    first = ordered.drop_duplicates(["species", "biosample", "assay"]).set_index("assay")["accession"]
    assert first.to_dict() == {"A": "f-2", "B": "f-3", "C": "f-5"}  # files with errors last, in any series
    others = beside_the_first(ordered)
    assert others["Experiment accession"].tolist() == ["e-1", "e-4"]
    assert others["chosen instead"].tolist() == ["e-2", "e-5"]
