import pandas as pd
import pytest

from epixs.checks.qc import COLUMNS
from epixs.report.qc_page import qc_html, write_qc
from epixs.storage.files import check_report_folder


@pytest.fixture
def table():
    rows = [
        ["<b>x</b>", "mark", "histone", "A0", "bad & broken", "could not be read", *[float("nan")] * 8],
        ["y", '</script><img src=x onerror="alert(1)">', "histone", "A1", "ok", "", 0.5, *[0.25] * 7],
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_names_are_escaped(table, tmp_path):
    page = qc_html(table, "a <title>")
    assert "<b>x" not in page
    assert "<img" not in page
    assert "<title>a &lt;title&gt;</title>" in page
    assert page.count("</script>") == 2
    assert "{{" not in page


def test_the_matrix_says_what_is_observed_failed_and_absent(table):
    page = qc_html(table, "t")
    assert '"cells": ["02", "10"]' in page
    assert (
        "2 experiments of 2 biosamples x 2 assays (50% of all pairs); 1 could not be read, 0 stand out"
        in page
    )


def test_files(table, tmp_path):
    tsv, html = write_qc(table, tmp_path / "report", "t")
    check_report_folder(tmp_path / "report")
    assert html.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert len(pd.read_csv(tsv, sep="\t")) == len(table)
