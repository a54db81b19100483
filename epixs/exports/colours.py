"""Declare the colours of track hubs, pages and pictures: Okabe and Ito's, safe for the colour-blind."""

from __future__ import annotations

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

COLOURS: dict[str, Colour] = {
    "histone": (0, 114, 178),
    "protein_binding": (230, 159, 0),
    "transcription": (0, 158, 115),
    "accessibility": (204, 121, 167),
    "other": (110, 110, 110),
}
"""Colour of each assay class. Imputed tracks are paler."""

SERIES: tuple[Colour, ...] = (
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233)
)  # fmt: skip
"""Colours, in order, of items without a class, such as species."""

INK: Colour = (51, 51, 51)
"""Colour of lines and text."""

PALE: Colour = (226, 226, 222)
"""Colour of grid lines and of cells without data."""

OBSERVED: Colour = (0, 114, 178)

IMPUTED: Colour = (213, 94, 0)

BASELINE: Colour = (140, 140, 140)
"""Colour of average activity and other methods that a model is compared with."""

BEST, WORST = "#2c69a6", "#b3431f"
"""Ends of the colour scale of skill: better and worse than the baseline. White lies between them."""


def colour_of(assay_class: str, kind: str) -> Colour:
    """Return a track's colour by its assay class: paler if imputed, palest for an end of an interval."""
    red, green, blue = COLOURS.get(assay_class, COLOURS["other"])
    white = {"observed": 0.0, "imputed": 0.5, "lower": 0.75, "upper": 0.75}.get(kind, 0.0)
    return (
        int(red + (255 - red) * white), int(green + (255 - green) * white), int(blue + (255 - blue) * white)
    )  # fmt: skip


def as_hex(colour: Colour) -> str:
    """Format a colour for pages and pictures.

    Examples
    --------
    >>> as_hex((0, 114, 178))
    '#0072b2'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour)
