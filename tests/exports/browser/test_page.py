"""The page in a real browser: Debian's Chromium, driven by Playwright. Nothing but loopback is asked."""

import shutil
from urllib.parse import urlsplit

import numpy as np
import pytest

import epixs
from epixs.exports.browser.browse import make_session
from epixs.exports.browser.server import serving
from tests.patience import PATIENCE

pytest.importorskip("igv_notebook", reason="igv-notebook (the `browse` extra) is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed"),
]


@pytest.fixture(scope="module")
def url(trained, world, tmp_path_factory):
    """A page of two species: what was measured in both, and what a model imputes for one of them."""
    genes = tmp_path_factory.mktemp("genes") / "genes.bed"
    genes.write_text("chr19\t10030000\t10034000\tMyc\t0\t+\n")
    lazy = epixs.open_imputed(trained, world.store("mouse"), everything=True)
    lazy = lazy.assign(spread=lazy.signal * np.float32(0.2))
    with serving(make_session([world.store("mouse"), lazy, world.store("human")], genes=genes)) as address:
        yield address


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, url):
    """The page, drawn; that it said nothing on the console and asked nobody else is checked at the end."""
    tab = chromium.new_page(viewport={"width": 1200, "height": 700})
    tab.set_default_timeout(1000 * PATIENCE)
    said, asked = [], []
    tab.on(
        "console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None
    )
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(url)
    drawn(tab)
    yield tab
    assert said == []
    assert {urlsplit(one).netloc for one in asked if not one.startswith(("data:", "blob:"))} == {
        urlsplit(url).netloc
    }
    tab.close()


def wait_for(tab, condition):
    """Wait in the page until something is so. Playwright's own way evaluates text there, which the page forbids."""
    tab.evaluate(
        f"""() => new Promise((resolve, reject) => {{
            const stop = performance.now() + {1000 * PATIENCE};
            const look = () => {{
                if ({condition}) resolve();
                else if (performance.now() > stop) reject(new Error("not yet: " + {condition!r}));
                else requestAnimationFrame(look);
            }};
            look();
        }})"""
    )


def drawn(tab):
    """Wait until the page is ready and every question is answered."""
    wait_for(
        tab,
        "document.body.dataset.ready === 'true' && document.body.dataset.asked === document.body.dataset.answered"
        " && !document.querySelector('.igv-loading-spinner-container')?.checkVisibility()",
    )


def names(tab):
    return tab.evaluate("epixs.browser.trackViews.map((view) => view.track.name).filter(Boolean)")


def painted(tab, name):
    """How many points of a track's picture are not white."""
    return tab.evaluate(
        """(name) => {
            const view = epixs.browser.trackViews.find((one) => one.track.name === name);
            const canvas = view.viewports[0].canvas || view.viewports[0].$viewport.find("canvas").get(0);
            const points = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            let count = 0;
            for (let at = 3; at < points.length; at += 4) count += points[at] > 0;
            return count;
        }""",
        name,
    )


def signals(tab):
    return [name for name in names(tab) if name.startswith(("observed", "IMPUTED"))]


def go(tab, what):
    """Type into igv's own field, as a person does."""
    field = tab.locator("input.igv-search-input")
    field.fill(what)
    field.press("Enter")


def test_it_draws_observed_beside_imputed(page):
    shown = signals(page)
    assert any(name.startswith("IMPUTED") for name in shown)
    for name in shown:
        assert painted(page, name) > 500
    assert "token" not in page.url


def test_it_draws_the_interval_of_what_is_imputed(page):
    (imputed,) = [name for name in signals(page) if name.startswith("IMPUTED")]
    kinds = page.evaluate(
        """(name) => epixs.browser.trackViews.find((one) => one.track.name === name).track.tracks
            ?.map((one) => [one.featureSource.line, one.graphType])""",
        imputed,
    )
    assert kinds == [["upper", "bar"], ["lower", "bar"], ["signal", "line"]]
    scales = page.evaluate(
        "epixs.browser.trackViews.filter((one) => one.track.dataRange).map((one) => one.track.dataRange.max)"
    )
    assert len(set(scales)) == 1  # what is observed and what is imputed, on one scale
    assert "80 %" in page.locator("#said").inner_text()


def test_it_jumps_to_a_locus_and_a_gene(page):
    go(page, "chr19:10,010,001-10,020,000")
    wait_for(page, "epixs.browser.referenceFrameList[0].start === 10010000")
    drawn(page)
    assert painted(page, signals(page)[-1]) > 500
    go(page, "myc")
    wait_for(page, "Math.abs(epixs.browser.referenceFrameList[0].start - 10030000) < 5000")
    drawn(page)


def test_tracks_stay_as_high_as_they_were(page):
    def heights():
        return page.evaluate(
            "epixs.browser.trackViews.filter((one) => /^(observed|IMPUTED)/.test(one.track.name))"
            ".map((one) => one.viewports[0].$viewport.height())"
        )

    before = heights()
    assert len(before) > 1
    assert len(set(before)) == 1
    for locus in ("chr19:10,000,001-10,010,000", "chr19:10,005,001-10,008,000"):
        go(page, locus)
        drawn(page)
        assert heights() == before


def test_it_says_where_nothing_is_known(page):
    go(page, "chr5:10,000,001-10,100,000")
    wait_for(page, "document.getElementById('said').textContent.includes('NO DATA HERE')")
    go(page, "chr19:10,010,001-10,020,000")
    wait_for(page, "!document.getElementById('said').textContent.includes('NO DATA HERE')")
    assert "arcsinh" in page.locator("#said").inner_text()


def test_it_zooms_from_a_chromosome_to_a_bin(page):
    go(page, "chr19")
    wait_for(
        page, "epixs.browser.referenceFrameList[0].end - epixs.browser.referenceFrameList[0].start > 6e7"
    )
    drawn(page)
    assert painted(page, signals(page)[0]) > 20
    go(page, "chr19:10,020,001-10,020,100")
    wait_for(
        page, "epixs.browser.referenceFrameList[0].end - epixs.browser.referenceFrameList[0].start < 200"
    )
    drawn(page)


def test_it_switches_tracks_and_keeps_some(page):
    before = signals(page)
    options = page.locator("#assay option").all_text_contents()
    other = next(option for option in options if option != page.locator("#assay").input_value())
    page.locator("#assay").select_option(other)
    wait_for(page, f"epixs.current.some((name) => name.includes({other!r}))")
    drawn(page)
    after = signals(page)
    assert all(other in name for name in after)
    assert not set(before) & set(after)
    page.locator("#keep").click()
    page.locator("#assay").select_option(options[0] if options[0] != other else options[1])
    drawn(page)
    wait_for(page, f"epixs.browser.trackViews.length > {len(after)}")
    assert set(after) < set(signals(page))


def test_it_switches_the_species(page):
    page.locator("#species").select_option(index=1)
    wait_for(page, "epixs.browser.genome.id === 'hg38'")
    drawn(page)
    assert signals(page)
    assert all(name.startswith("observed") for name in signals(page))


def test_choices_in_quick_succession_end_with_the_last(page):
    for select in ("#biosample", "#assay", "#biosample"):
        options = page.locator(f"{select} option").all_text_contents()
        page.locator(select).select_option(
            next(one for one in options if one != page.locator(select).input_value())
        )
    drawn(page)
    chosen = [page.locator(select).input_value() for select in ("#biosample", "#assay")]
    assert signals(page)
    assert all(all(label in name for label in chosen) for name in signals(page))
