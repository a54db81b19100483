import io
import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from epixs.cli.app import app
from epixs.errors import ConfigError
from epixs.evaluation.comparison import tables
from epixs.evaluation.metrics import METRICS
from epixs.evaluation.table import Evaluation
from epixs.report.tables import markdown_table, typeset, write_report
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
    assert summary.loc[summary["assay_class"] == "overall", "mse"].tolist() == [
        pytest.approx((1 / 3 + 0.3) / 2, rel=1e-15)  # which way the last digit goes is pandas'
    ]


def test_markdown():
    table = pd.DataFrame({"a": ["x"], "b": [0.12345], "c": [np.nan]})
    assert markdown_table(table) == "| a | b | c |\n|---|---|---|\n| x | 0.1235 |  |\n"


def made():
    rows = [
        {
            "biosample": b,
            "assay": "50%_|<b>",
            "assay_class": "histone",
            "role": "excluded",
            "method": m,
            "mse": e,
        }
        for b, errors in (("x", (1.0, 2.0)), ("y", (2.0, 4.0)), ("z", (1.5, 3.0)))
        for m, e in zip(("imputed", "a&<b>|_"), errors, strict=True)
    ]
    return tables(pd.DataFrame(rows), draws=20)


def test_typeset_tables_escape_names():
    markdown = typeset(made(), "markdown")
    assert "| a&amp;&lt;b&gt;\\|_ | 3.0000 [" in markdown
    page = typeset(made(), "html")
    assert "a&amp;&lt;b&gt;|_" in page
    assert "<b>" not in page
    latex = typeset(made(), "latex")
    assert r"a\&<b>|\_ & 3.0000 [" in latex
    with pytest.raises(ConfigError, match="format; got 'word'"):
        typeset(made(), "word")


def test_the_tsv_has_all_tables_and_every_digit():
    table = pd.read_csv(io.StringIO(typeset(made(), "tsv")), sep="\t")
    assert set(table["table"]) == {"imputation"}
    overall = table[table["group"] == "overall"].set_index("method")
    assert overall["mean"].to_dict() == {"a&<b>|_": 3.0, "imputed": 1.5}
    assert overall.loc["a&<b>|_", "against"] == "imputed"


def test_the_verb_prints_tables_and_ends_mistakes_in_words(tmp_path):
    run = tmp_path / "report"
    write_report(evaluation(), run)
    shown = CliRunner().invoke(app, ["tables", str(run)])
    assert shown.exit_code == 0, shown.output
    assert "0.3167" in shown.stdout
    assert "table 1 is of fewer than 3 biosamples: its intervals draw experiments" in " ".join(
        shown.stderr.split()
    )
    tsv = CliRunner().invoke(app, ["tables", str(run), "--format", "tsv"])
    assert tsv.stdout.startswith("table\tmetric\t")
    assert json.loads(CliRunner().invoke(app, ["tables", str(run), "--json"]).stdout)["metric"] == "mse"
    for wrong in ([str(tmp_path / "none")], [str(tmp_path)], [str(run), "--metric", "skil"]):
        failed = CliRunner().invoke(app, ["tables", *wrong])
        assert failed.exit_code == 2
        assert "Traceback" not in failed.output
