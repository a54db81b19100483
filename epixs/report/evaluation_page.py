"""Make the page of an evaluation: one HTML file that needs no network, with every name escaped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from epixs.compendium.read import provenance_of
from epixs.errors import counted
from epixs.evaluation.table import AVERAGE, Evaluation
from epixs.report.calibration import Calibration, calibrations
from epixs.report.figures.canvas import drawing, has_matplotlib
from epixs.report.figures.scores import (
    BEST_BASELINE,
    tracks_of,
)
from epixs.report.page_parts import Fact, Page, Sources, measured_tracks, signed
from epixs.report.page_sections import sections_of
from epixs.report.pages import render
from epixs.storage.version import epixs_version


def evaluation_html(evaluation: Evaluation, sources: Sources | None = None) -> str:
    """Return the page as text."""
    sources = sources or Sources()
    tracks = tracks_of(evaluation.scores)
    if not has_matplotlib():
        remark = "This page has no pictures, because matplotlib is not installed: pip install matplotlib."
        return _render(Page(evaluation, tracks, sources, remarks=[remark]))
    with drawing() as plt:
        return _render(Page(evaluation, tracks, sources, plt))


def _render(page: Page) -> str:
    counted = (
        list(calibrations(page.sources.pair, measured_tracks(page))) if page.sources.pair and page.plt else []
    )
    sections = [section for section in sections_of(page, counted) if section.parts]
    title, subtitle = _titles(page)
    return render(
        "report.html",
        title=title,
        subtitle=subtitle,
        facts=_facts(page, counted),
        remarks=[*page.remarks, *page.evaluation.notes],
        sections=sections,
        made=_made(page),
    )


def _titles(page: Page) -> tuple[str, str]:
    pair = page.sources.pair
    what = f"{counted(len(page.tracks), 'imputed track')} beside what was measured"
    if pair is None:
        return "Evaluation of imputed tracks", what
    assembly = str(pair.observed.attrs["assembly"])
    return (
        f"Imputed {pair.species} tracks, evaluated",
        f"{what}; {assembly}, {pair.regions.n_bins:,} bins of 25 bp",
    )


def _facts(page: Page, found: Sequence[Calibration]) -> list[Fact]:
    """List the most important numbers, by role."""
    facts = []
    for role, tracks in page.tracks.groupby("role", sort=False):
        against = [name for name in (AVERAGE, BEST_BASELINE) if (tracks["against"] == name).any()]
        some = tracks[tracks["skill"].notna()]
        if some.empty:
            facts.append(Fact(f"{len(tracks):,}", f"{role} tracks, none of which has a skill"))
            continue
        better, count = int((some["skill"] > 0).sum()), len(some)
        facts.append(
            Fact(
                f"{better:,} of {count:,}",
                f"{role} tracks better than {' or '.join(against)} (MSE)",
                2 * better < count,
            )
        )
        low, middle, high = some["skill"].min(), some["skill"].mean(), some["skill"].max()
        facts.append(
            Fact(
                signed(middle),
                f"mean skill of {role} tracks, from {signed(low)} to {signed(high)}",
                middle < 0,
            )
        )
    if found:
        whole = Calibration("", "", np.sum([one.counts for one in found], axis=0)).within_80
        facts.append(
            Fact(f"{whole:.0%}", "of the observed values lie in the 80 % interval", abs(whole - 0.8) > 0.1)
        )
    return facts[:6]


def _made(page: Page) -> list[tuple[str, str]]:
    """List the origin of the tracks, the model and the metrics."""
    made = [("epixs", epixs_version())]
    pair = page.sources.pair
    if pair is not None:
        provenance = provenance_of(pair.predicted)
        made += [(name, str(place)) for name, place in (("imputed", pair.imputed), ("observed", pair.store))
                 if not isinstance(place, xr.Dataset)]  # fmt: skip
        made += [("assembly", str(pair.observed.attrs["assembly"]))]
        kind = provenance.get("model_kind", "")
        made += [("model", f"{provenance.get('model', '')}{f', of kind {kind}' if kind else ''}")]
        made += [("fingerprint of the model", str(provenance.get("model_fingerprint", "")))]
        for species, entry in provenance.get("training", {}).items():
            made.append((f"trained on, {species}", f"{len(entry['experiments']):,} experiments"))
    mode = "challenge" if "gwcorr" in page.scores else "corrected"
    units = "the tracks' own" if mode == "challenge" else "arcsinh"
    made.append(("metrics", f"mode {mode}: errors in {units} units"))
    made += [(name, path) for name, path in page.evaluation.annotations.items()]
    return made
