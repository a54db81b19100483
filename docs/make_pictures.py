"""Write the pictures of `report.md`: figures of `epixs plot`, and a screenshot of the page of an evaluation.

`python docs/make_pictures.py IMPUTED STORE MODEL GENES LOCUS`; the page needs Playwright and chromium.
"""

import sys
import tempfile
from pathlib import Path

import epixs

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
        browser.close()


if __name__ == "__main__":
    draw(*sys.argv[1:])
