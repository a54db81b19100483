"""Open some compendia, or a model's imputed tracks, as a page in a browser."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from epixs.errors import AxisError, RegionError
from epixs.exports.browser.genes import read_genes
from epixs.exports.browser.server import Session, serving
from epixs.exports.browser.views import Track
from epixs.exports.run import assembly_of
from epixs.exports.source import choose_rows, open_export_source
from epixs.genome.assembly import Assembly
from epixs.genome.locus import parse_locus
from epixs.genome.names import own_name


def browse(
    compendia: str | Path | xr.Dataset | Sequence[str | Path | xr.Dataset],
    *,
    locus: str | None = None,
    biosample: str | None = None,
    assay: str | None = None,
    genes: str | Path | None = None,
    assembly: Assembly | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    ready: Callable[[str], None] = print,
    until: threading.Event | None = None,
) -> None:
    """Serve a page that shows observed and imputed tracks on the genome, until it is interrupted.

    Parameters
    ----------
    compendia
        Stores, observed or imputed; or Datasets from `open_compendium` or `open_imputed`. Lazy Datasets are
        computed while one scrolls.
    locus
        Locus at which the page opens; by default the first megabase of the first region.
    biosample, assay
        Experiment with which the page opens; by default the first that is both measured and imputed, else the
        first that is imputed.
    genes
        BED, GFF or GTF file of genes to find and draw.
    assembly
        Chromosome sizes of a genome that epixs does not know.
    host, port
        Address to serve the page on; by default on this machine only, on a free port.
    ready
        Called with the URL to open. It holds a token: whoever has the URL can see the tracks.
    until
        Event that ends the page when it is set.

    Raises
    ------
    ConfigError
        If igv.js is not installed, or the address is in use or not available.
    AxisError
        If no experiment has the biosample and the assay.
    RegionError
        If chromosome sizes are not known, the locus or the genes cannot be read, or the locus has no data.
    StoreError
        If a compendium is unfinished or damaged.
    """
    session = make_session(
        compendia, locus=locus, biosample=biosample, assay=assay, genes=genes, assembly=assembly
    )
    for track in session.tracks:
        if track.is_live:  # the first request makes a model ready
            track.warm()
            break
    with serving(session, host=host, port=port) as url:
        ready(url)
        (until or threading.Event()).wait()


def make_session(
    compendia: Any,
    *,
    locus: str | None = None,
    biosample: str | None = None,
    assay: str | None = None,
    genes: str | Path | None = None,
    assembly: Assembly | None = None,
) -> Session:
    """Make the session that a page shows; see `browse`."""
    several: Sequence[Any] = compendia if isinstance(compendia, (list, tuple)) else [compendia]
    sources = [open_export_source(compendium) for compendium in several]
    rows, _ = choose_rows(sources)
    tracks = []
    for source, its_rows in zip(sources, rows, strict=True):
        its_assembly = assembly_of(source, assembly)
        tracks += [Track(source, row, its_assembly) for row in its_rows]
    place = None if locus is None else parse_locus(locus)
    chosen, where = first_shown(tracks, biosample, assay, place), None
    if place is not None:
        _, start, end = place
        sizes = tracks[chosen].assembly.chrom_sizes
        chrom = own_name(place[0], sizes)
        if not tracks[chosen].has_bins(chrom, start, end):
            raise RegionError(
                "--locus", got=f"{locus}, where no store has a bin",
                expected="a locus in a region of a store", next_step="`epixs info` shows the first regions",
            )  # fmt: skip
        where = f"{chrom}:{start + 1}-{min(end, sizes[chrom])}"
    return Session(tracks, secrets.token_urlsafe(24), read_genes(genes) if genes else None, where, chosen)


def first_shown(
    tracks: Sequence[Track],
    biosample: str | None = None,
    assay: str | None = None,
    place: tuple[str, int, int] | None = None,
) -> int:
    """Choose the track with which the page opens: of a biosample, an assay and a place, as far as given.

    Tracks of experiments that are both observed and imputed come first, then those of imputed ones. Returns
    the track's number.
    """
    wanted = {"biosample": biosample, "assay": assay}
    fitting = [
        number
        for number, track in enumerate(tracks)
        if all(name in (None, track.label(label)) for label, name in wanted.items())
    ]
    if not fitting:
        raise AxisError(
            "no experiment to open the page with",
            got=", ".join(f"--{label} {name}" for label, name in wanted.items() if name is not None),
            next_step="`epixs info` lists the experiments of a store",
        )
    kinds: dict[tuple[str, ...], set[str]] = {}
    for track in tracks:
        kinds.setdefault(_experiment(track), set()).add(track.label("kind"))

    def is_there(track: Track) -> bool:
        return place is None or track.has_bins(own_name(place[0], track.assembly.chrom_sizes), *place[1:])

    def rank(number: int) -> tuple[bool, bool, bool, int]:
        of_it = kinds[_experiment(tracks[number])]
        return (
            not is_there(tracks[number]),
            not {"observed", "imputed"} <= of_it,
            "imputed" not in of_it,
            number,
        )

    return min(fitting, key=rank)


def _experiment(track: Track) -> tuple[str, ...]:
    return track.source.species, track.assembly.name, track.label("biosample"), track.label("assay")
