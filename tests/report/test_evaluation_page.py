"""The page of an evaluation: as text, and in Debian's Chromium, driven by Playwright."""

import shutil

import numpy as np
import pandas as pd
import pytest

import epixs
from epixs.axis.join import joint_axis
from epixs.errors import AxisError
from epixs.evaluation.table import AVERAGE, IMPUTED, Evaluation
from epixs.imputation.write import impute
from epixs.models.settings import make_settings
from epixs.report.evaluation_page import evaluation_html
from epixs.report.page_parts import Sources
from epixs.report.tables import write_report
from epixs.training.run import train
from tests.patience import PATIENCE
from tests.worlds import planted, write_store

pytest.importorskip("matplotlib", reason="matplotlib (the `viz` extra) is not installed")

CHROMIUM = shutil.which("chromium")
HOSTILE = '</svg></script><img src=x onerror="alert(1)">$\\frac{$'


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A store with an assay that attacks, its imputation, and the model; one track of each assay is excluded."""
    folder = tmp_path_factory.mktemp("hostile")
    labels = [(b, a) for b in "xyz" for a in (HOSTILE, "H3K4me3")]
    store = write_store(folder / "s.zarr", planted(1, 3, 2), labels=labels)
    pairs = [("mouse", "x", HOSTILE), ("mouse", "y", "H3K4me3")]
    settings = make_settings("avocado", hidden=(8, 8), epochs=2, held_out=0.1)
    train(joint_axis([store], pairs), settings, folder / "model")
    impute(epixs.open_model(folder / "model"), store, folder / "i.zarr", pairs=pairs)
    return folder


@pytest.fixture(scope="module")
def page(hostile):
    """The page, with a model that says how far off it may be."""
    predicted = epixs.open_compendium(hostile / "i.zarr").load()
    with_spread = predicted.assign(spread=predicted.signal * 0 + np.float32(0.5))
    evaluation = epixs.evaluate(hostile / "i.zarr", hostile / "s.zarr")
    places = {"imputed": with_spread, "store": hostile / "s.zarr", "model": hostile / "model"}
    files = write_report(evaluation, hostile / "report", **places)
    assert [file.name for file in files] == ["scores.tsv", "summary.tsv", "report.html"]
    return files[-1]


def test_the_page_has_every_section_and_no_name_is_markup(page):
    text = page.read_text(encoding="utf-8")
    for section in (
        "summary",
        "skill",
        "points",
        "calibration",
        "loci",
        "factors",
        "training",
        "all",
        "made",
    ):
        assert f'<h2 id="{section}">' in text
    assert "<img" not in text
    assert text.count("</script>") == 1
    assert text.count("</svg>") == text.count("<svg")
    assert "http://" not in text.replace("http://www.w3.org/", "").replace("http://purl.org/", "").replace(
        "http://creativecommons.org/", ""
    )


def test_a_model_that_did_not_impute_is_named(hostile, trained):
    sources = Sources.open(hostile / "i.zarr", hostile / "s.zarr", trained.folder)
    text = evaluation_html(epixs.evaluate(hostile / "i.zarr", hostile / "s.zarr"), sources)
    assert "These tracks were not imputed with the model" in text


def scores(count, **more):
    rng = np.random.default_rng(count)
    rows = [
        {"role": "excluded", "assay_class": "histone", "assay": f"a{i % 9}", "biosample": f"b{i // 9}"}
        | {"method": method, "bins": 9, "observed_bins": 9, "same_units": True}
        | {"mse": rng.random(), "pearson": rng.random()}
        | more
        for i in range(count)
        for method in (IMPUTED, AVERAGE)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("count", [1, 2, 100])
def test_a_page_of_scores_alone(count):
    text = evaluation_html(Evaluation(scores(count), ["a <note>"]))
    assert f"{count} imputed track" in text
    assert "a &lt;note&gt;" in text
    assert text.count("<tr>") > count
    assert 'id="loci"' not in text


def test_a_page_of_several_species():
    both = pd.concat([scores(4, species=name) for name in ("mouse", "human")])
    text = evaluation_html(Evaluation(both, []))
    assert "mouse: b0" in text
    assert "8 imputed tracks" in text


def test_without_matplotlib_the_page_has_its_tables(monkeypatch):
    monkeypatch.setattr("epixs.report.evaluation_page.has_matplotlib", lambda: False)
    text = evaluation_html(Evaluation(scores(2), []))
    assert "matplotlib is not installed" in text
    assert "<svg" not in text
    assert 'id="tracks"' in text


def test_loci_without_stores_are_refused():
    with pytest.raises(AxisError, match="loci or genes; got no stores"):
        Sources.open(None, None, loci=["chr1:0-100"])


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_in_a_browser(page, width):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    said, asked = [], []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": width, "height": 900})
        tab.set_default_timeout(1000 * PATIENCE)
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("dialog", lambda dialog: said.append(dialog.message))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(page.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.locator("figure svg").count() >= 8
        assert tab.locator("img").count() == 0
        cells = tab.locator("#tracks tbody td:nth-child(3)").all_inner_texts()
        assert len(cells) == 2
        tab.locator("#tracks th", has_text="biosample").click()
        assert tab.locator("#tracks tbody td:nth-child(4)").all_inner_texts() == ["x", "y"]
        tab.locator("input.filter").fill("H3K4me3")
        assert tab.locator("#tracks tbody tr:visible").count() == 1
        with tab.expect_download() as download:
            tab.locator("button.save").first.click()
        assert download.value.suggested_filename.endswith(".svg")
        browser.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [page.as_uri()]
