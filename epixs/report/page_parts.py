"""Parts of the page of an evaluation: its sources, sections, and the pictures and tables in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr
from markupsafe import Markup

from epixs.errors import AxisError
from epixs.evaluation.table import Evaluation
from epixs.exports.browser.genes import Genes, read_genes
from epixs.models.description import read_description
from epixs.report.comparison import Comparison, Place, Track
from epixs.report.figures.canvas import as_svg
from epixs.report.figures.scores import (
    Drawn,
)

PIXELS_PER_INCH = 120


@dataclass(frozen=True, eq=False)
class Sources:
    """Further data that a page shows beside the scores.

    Parameters
    ----------
    pair
        The two compendia. Without them, no track is drawn.
    model
        Folder of the model that imputed.
    loci
        Places to draw. If empty, `epixs.report.loci` chooses places.
    genes
        Genes to draw at the places.
    """

    pair: Comparison | None = None
    model: Path | None = None
    loci: Sequence[Place] = ()
    genes: Genes | None = None

    @classmethod
    def open(
        cls,
        imputed: str | Path | xr.Dataset | None,
        store: str | Path | xr.Dataset | None,
        model: str | Path | None = None,
        loci: Sequence[str] = (),
        genes: str | Path | None = None,
    ) -> Sources:
        """Open and check the sources, without TensorFlow and before anything is scored.

        Raises
        ------
        AxisError
            If loci or genes are given without compendia, or the compendia do not fit.
        RegionError
            If a locus lies outside the regions, or genes cannot be read.
        TrainingError
            If the model's folder holds no model.
        """
        pair = None if imputed is None or store is None else Comparison.open(imputed, store)
        if pair is None and (loci or genes):
            raise AxisError(
                "a page with loci or genes", got="no stores", expected="the imputed and the observed one"
            )
        if model is not None:
            read_description(Path(model))
        places = [pair.at(locus) for locus in loci] if pair is not None else []
        return cls(
            pair, Path(model) if model is not None else None, places, read_genes(genes) if genes else None
        )


@dataclass(frozen=True, eq=False)
class Picture:
    """A drawn figure on the page."""

    name: str
    svg: Markup
    pixels: int
    caption: str


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a section: pictures, then a table, then a note, all of them optional."""

    title: str = ""
    pictures: Sequence[Picture] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    id: str = ""
    note: str = ""


@dataclass(frozen=True, eq=False)
class Section:
    """A section of the page."""

    id: str
    title: str
    text: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Fact:
    """A number at the top of the page."""

    number: str
    text: str
    is_worse: bool = False


@dataclass(frozen=True, eq=False)
class Page:
    """The page while it is being made."""

    evaluation: Evaluation
    tracks: pd.DataFrame
    sources: Sources
    plt: Any = None
    remarks: list[str] = field(default_factory=list)

    @property
    def scores(self) -> pd.DataFrame:
        """Scores of the evaluation."""
        return self.evaluation.scores

    def named(self, *names: str) -> list[str]:
        """Return those of these names that are columns of the scores with any value."""
        return [name for name in names if name in self.scores and self.scores[name].notna().any()]

    def picture(self, name: str, drawn: Drawn | Any, caption: str) -> Picture:
        """Convert a drawn figure to a picture on the page."""
        figure = drawn.figure if isinstance(drawn, Drawn) else drawn
        svg = as_svg(figure, drawn.hints if isinstance(drawn, Drawn) else None)
        pixels = round(figure.get_size_inches()[0] * PIXELS_PER_INCH)
        self.plt.close(figure)
        return Picture(name, Markup(svg), pixels, caption)  # matplotlib has escaped the names in it


def measured_tracks(page: Page) -> list[Track]:
    """List the tracks of the evaluation that both compendia hold, in its order."""
    pair = page.sources.pair
    if pair is None:
        return []
    tracks = page.tracks
    if "species" in tracks:
        tracks = tracks[tracks["species"] == pair.species]
    matched = [pair.track(str(b), str(a)) for b, a in zip(tracks["biosample"], tracks["assay"], strict=True)]
    return [track for track in matched if not track.why]


def signed(value: float) -> str:
    """Format a number with its sign."""
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")
