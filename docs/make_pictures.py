"""Write pictures: figures of `epixs plot`, screenshots of the page of an evaluation and of `epixs browse`.

`python docs/make_pictures.py IMPUTED STORE MODEL GENES LOCUS`; pages need Playwright and chromium.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import epixs
from epixs.exports.browser.browse import make_session
from epixs.exports.browser.server import serving

DOCS = Path(__file__).parent.resolve()
ASSAY = "ChIP-seq_H3K4me3_signal_p-value"


def draw(imputed: str, store: str, model: str, genes: str, locus: str) -> None:
    """Draw all of them."""
    from playwright.sync_api import sync_playwright

    epixs.plot(imputed, store, out=DOCS / "locus.png", assay=ASSAY, locus=locus, genes=genes)
    epixs.plot(imputed, store, out=DOCS / "density.png", figure="density", assay=ASSAY)
    scores = epixs.evaluate(imputed, store)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        page = epixs.write_report(scores, folder, imputed=imputed, store=store, model=model, genes=genes)[-1]
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1100, "height": 1500})
        tab.goto(page.as_uri())
        tab.screenshot(path=DOCS / "report.png")
        with serving(make_session([store, imputed], locus=locus, genes=genes)) as url:
            photograph(browser, url, experiments_of(imputed))
        browser.close()


def experiments_of(imputed: str) -> tuple[str, str]:
    """Biosample and assay of the imputed track to show."""
    dataset = epixs.open_compendium(imputed)
    row = dataset["assay"].to_numpy().tolist().index(ASSAY)
    return str(dataset["biosample"].to_numpy()[row]), ASSAY


def photograph(browser: Any, url: str, experiment: tuple[str, str]) -> None:
    """Take a picture of the browser page when it has drawn an experiment."""
    tab = browser.new_page(viewport={"width": 1200, "height": 440})
    tab.goto(url)
    for name, label in zip(("biosample", "assay"), experiment, strict=True):
        tab.wait_for_selector("body[data-ready=true]")
        tab.select_option(f"#{name}", label)
    tab.wait_for_selector("body[data-ready=true]")
    tab.wait_for_timeout(2_000)
    tab.screenshot(path=DOCS / "browse.png")


if __name__ == "__main__":
    draw(*sys.argv[1:])
