"""Shared parts of all figures: matplotlib if it is installed, one style, names as plain text, and files."""

from __future__ import annotations

import contextlib
import io
import warnings
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from epixs.catalog.experiments import slug
from epixs.catalog.vocabulary import rule_of_name, strand_of
from epixs.errors import ConfigError
from epixs.exports.colours import INK, as_hex
from epixs.exports.names import one_line

FORMATS = (".png", ".svg", ".pdf")

DPI = 200

LABEL_SIGNS = 36
"""Maximum number of characters of a name in a figure."""

INK_HEX = as_hex(INK)

STYLE = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "legend.fontsize": 7.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK_HEX,
    "axes.labelcolor": INK_HEX,
    "axes.titlecolor": INK_HEX,
    "text.color": INK_HEX,
    "xtick.color": INK_HEX,
    "ytick.color": INK_HEX,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": DPI,
    # Names from files and catalogs are not parsed as formulas, and stay text in SVG.
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "epixs",
    "pdf.fonttype": 42,
}
"""Style that is readable when a figure is printed at the width of a column or a page."""

SVG = "{http://www.w3.org/2000/svg}"


def has_matplotlib() -> bool:
    """Whether figures can be drawn, that is, matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


@contextlib.contextmanager
def drawing() -> Iterator[Any]:
    """Set our style, without a screen. Yields `matplotlib.pyplot`, and closes every new figure at the end.

    Raises
    ------
    ConfigError
        If matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError(
            "pictures need matplotlib",
            got="it is not installed",
            next_step="install it with `pip install matplotlib`",
        ) from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    before = set(plt.get_fignums())
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)  # drawn as a box
        try:
            yield plt
        finally:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)


def check_picture(out: Path) -> None:
    """Check that a picture can be written, before anything is read.

    Raises
    ------
    ConfigError
        If the picture's format or folder does not exist.
    """
    if out.suffix.lower() not in FORMATS:
        raise ConfigError(
            "picture", got=str(out), expected=f"a name that ends with one of {', '.join(FORMATS)}"
        )
    if not out.parent.is_dir():
        raise ConfigError(f"picture {out}: no folder {out.parent}", next_step="make the folder first")


def save(figure: Any, out: Path) -> None:
    """Write a picture in one step. The same figure always gives the same bytes."""
    partial = out.with_name(f"partial-{out.name}")
    kind = out.suffix.lower().lstrip(".")
    figure.savefig(str(partial), format=kind, metadata=_undated(kind), bbox_inches="tight", pad_inches=0.05)
    partial.replace(out)


def _undated(kind: str) -> dict[str, None]:
    return {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})


def as_svg(figure: Any, hints: Mapping[str, Sequence[str]] | None = None) -> str:
    """Convert a figure to an `<svg>` element for a page.

    Parameters
    ----------
    figure
        The drawn figure.
    hints
        For an artist's `gid`, one text per point or cell, in the order of drawing. It is shown as a tooltip.
    """
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata=_undated("svg"), bbox_inches="tight", pad_inches=0.05)
    ElementTree.register_namespace("", SVG.strip("{}"))
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    # matplotlib has just written this text, and has escaped names in it.
    root = ElementTree.fromstring(text.getvalue())
    groups = {element.get("id"): element for element in root.iter(f"{SVG}g")}
    for gid, texts in (hints or {}).items():
        templates = {id(part) for defs in groups[gid].iter(f"{SVG}defs") for part in defs.iter()}
        marks = [part for part in groups[gid].iter() if part.tag in (f"{SVG}use", f"{SVG}path")]
        drawn = [part for part in marks if id(part) not in templates]
        if len(drawn) == len(texts):
            for part, hint in zip(drawn, texts, strict=True):
                ElementTree.SubElement(part, f"{SVG}title").text = one_line(hint)
    return ElementTree.tostring(root, encoding="unicode")


def shown(name: str, most: int = LABEL_SIGNS) -> str:
    """Shorten a name for a figure: to one line that is not too long."""
    return one_line(str(name), most) or "-"


def short_names(assays: Iterable[str]) -> dict[str, str]:
    """Shorten names of assays by the text that all names of their kind share, if they stay different.

    Examples
    --------
    >>> short_names(["ChIP-seq_H3K4me3_signal_p-value", "WGBS_methylation"])
    {'ChIP-seq_H3K4me3_signal_p-value': 'H3K4me3', 'WGBS_methylation': 'WGBS_methylation'}
    """
    short = {assay: _short(assay) for assay in dict.fromkeys(map(str, assays))}
    count = Counter(short.values())
    return {assay: shown(name if count[name] == 1 else assay) for assay, name in short.items()}


@cache
def _short(assay: str) -> str:
    rule, output_type = rule_of_name(assay)
    if rule is None:
        return assay
    name = assay.removesuffix(f"_{slug(output_type)}") if output_type else assay
    if rule["targeted"] == "yes" and name.startswith(f"{rule['name']}_"):
        name = name.removeprefix(f"{rule['name']}_")
    strand = strand_of(output_type)
    return f"{name} {strand}" if strand else name
