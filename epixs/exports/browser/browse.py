"""Open some compendia, or a model's imputed tracks, as a page in a browser."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from epixs.errors import AxisError, ConfigError, RegionError
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
    where = None
    if locus is not None:
        known = {chrom: size for track in tracks for chrom, size in track.assembly.chrom_sizes.items()}
        given, start, end = parse_locus(locus)
        chrom = own_name(given, known)
        if chrom not in known:
            raise ConfigError("--locus", got=locus, expected="a chromosome of the assembly")
        if not any(track.has_bins(chrom, start, end) for track in tracks):
            raise RegionError(
                "--locus", got=f"{locus}, where no store has a bin",
                expected="a locus in a region of a store", next_step="`epixs info` lists the regions",
            )  # fmt: skip
        where = f"{chrom}:{start + 1}-{min(end, known[chrom])}"
    chosen = first_shown(tracks, biosample, assay)
    return Session(tracks, secrets.token_urlsafe(24), read_genes(genes) if genes else None, where, chosen)


def first_shown(tracks: Sequence[Track], biosample: str | None = None, assay: str | None = None) -> int:
    """Choose the track with which the page opens, of a biosample and an assay if given; return its number."""
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

    def rank(number: int) -> tuple[bool, bool, int]:
        of_it = kinds[_experiment(tracks[number])]
        return not {"observed", "imputed"} <= of_it, "imputed" not in of_it, number

    return min(fitting, key=rank)


def _experiment(track: Track) -> tuple[str, ...]:
    return track.source.species, track.assembly.name, track.label("biosample"), track.label("assay")
