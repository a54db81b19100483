"""Draw what notebooks show: sizes, and a small picture of the pairs of biosample and assay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

STATES = {
    "measured": "#2f5d8a",
    "imputed": "#c8643c",
    "imputable": "#f0c9b2",
    "set aside": "#8f8f8f",
    "unreadable": "#7a1f3d",
}
"""Colours of the states of a pair; the square of any other pair stays empty."""


CELL = 7
MOST_LABELS, MOST_ROWS, MOST_COLUMNS = 24, 120, 160
"""Limits of a picture: rows or columns up to which these have labels, and maxima beyond which it is cut."""


LABEL_SIGNS = 28

Pairs = Mapping[tuple[str, str], str]
"""State of each `(row, column)`."""


def page(title: str, sizes: Sequence[tuple[str, object]], pictures: Sequence[tuple[str, str]] = ()) -> str:
    """Write HTML of a title, a table of sizes, and pictures, each under its caption; texts are escaped.

    Parameters
    ----------
    title
        Title of the page.
    sizes
        Rows of the table: a name and a value.
    pictures
        Captions, each with an SVG from `pairs_svg`.
    """
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(_number(value))}</td></tr>"
        for name, value in sizes
    )
    drawn = "".join(f"<div style='margin-top:6px'>{escape(caption)}</div>{svg}" for caption, svg in pictures)
    return f"<div><strong>{escape(title)}</strong><table>{rows}</table>{drawn}</div>"


def pairs_svg(rows: Sequence[str], columns: Sequence[str], pairs: Pairs) -> str:
    """Draw a matrix as SVG, biosamples down and assays across: one square per pair that has a state.

    Examples
    --------
    >>> svg = pairs_svg(["liver"], ["H3K4me3", "<b>"], {("liver", "H3K4me3"): "measured"})
    >>> "measured: 1" in svg, "<b>" in svg
    (True, False)
    """
    down, across = rows[:MOST_ROWS], columns[:MOST_COLUMNS]
    down_labels, across_labels = len(down) <= MOST_LABELS, len(across) <= MOST_LABELS
    left = 6 * LABEL_SIGNS if down_labels else 0
    top = 5 * LABEL_SIGNS if across_labels else 0
    cell = CELL + 4 if down_labels and across_labels else CELL
    width, height = left + cell * len(across) + 1, top + cell * len(down) + 1
    cut = (
        f"; drawn are the first {len(down):,} x {len(across):,}"
        if (len(down), len(across)) != (len(rows), len(columns))
        else ""
    )
    counts = {state: sum(value == state for value in pairs.values()) for state in STATES}
    legend = [(state, count) for state, count in counts.items() if count]
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{max(width, 420)}' height='{height + 22}' "
        "role='img' font-family='sans-serif' font-size='9'>"
        f"<title>{len(rows):,} biosamples x {len(columns):,} assays{cut}</title>"
        f"<rect x='{left}' y='{top}' width='{cell * len(across)}' height='{cell * len(down)}' "
        "fill='#f2f2f2'/>"
    ]
    for state, _ in legend:
        squares = "".join(
            f"M{left + cell * x} {top + cell * y}h{cell - 1}v{cell - 1}h{1 - cell}z"
            for y, row in enumerate(down)
            for x, column in enumerate(across)
            if pairs.get((row, column)) == state
        )
        parts.append(f"<path d='{squares}' fill='{STATES[state]}'><title>{state}</title></path>")
    if down_labels:
        parts += [
            f"<text x='{left - 3}' y='{top + cell * y + cell - 2}' text-anchor='end' "
            f"fill='currentColor'>{_short(row)}</text>"
            for y, row in enumerate(down)
        ]
    if across_labels:
        parts += [
            f"<text transform='translate({left + cell * x + cell - 2},{top - 3}) rotate(-60)' "
            f"fill='currentColor'>{_short(column)}</text>"
            for x, column in enumerate(across)
        ]
    at = 0
    for state, count in legend:
        parts.append(
            f"<rect x='{at}' y='{height + 8}' width='8' height='8' fill='{STATES[state]}'/>"
            f"<text x='{at + 11}' y='{height + 16}' fill='currentColor'>{state}: {count:,}</text>"
        )
        at += 110
    return "".join([*parts, "</svg>"])


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _short(text: str) -> str:
    return escape(text if len(text) <= LABEL_SIGNS else f"{text[: LABEL_SIGNS - 3]}...")
