import numpy as np
import pandas as pd

from epixs.evaluation.metrics import METRICS
from epixs.evaluation.table import Evaluation
from epixs.report.tables import markdown_table, write_report
from epixs.storage.files import check_report_folder


def evaluation():
    rows = []
    for biosample, value in (("x", 1 / 3), ("y", 0.3)):
        row = {"role": "excluded", "assay_class": "histone", "assay": "A", "biosample": biosample}
        rows.append(row | {"method": "imputed"} | dict.fromkeys(METRICS, value))
    return Evaluation(pd.DataFrame(rows), [])


def test_report_files_hold_scores_and_means(tmp_path):
    written = write_report(evaluation(), tmp_path / "new" / "report")
    assert [path.name for path in written] == ["scores.tsv", "summary.tsv", "report.html"]
    check_report_folder(written[0].parent)
    scores = pd.read_csv(written[0], sep="\t")
    assert scores["mse"].tolist() == [1 / 3, 0.3]  # to the last digit
    summary = pd.read_csv(written[1], sep="\t")
    assert summary.loc[summary["assay_class"] == "overall", "mse"].tolist() == [(1 / 3 + 0.3) / 2]


def test_markdown():
    table = pd.DataFrame({"a": ["x"], "b": [0.12345], "c": [np.nan]})
    assert markdown_table(table) == "| a | b | c |\n|---|---|---|\n| x | 0.1235 |  |\n"
