"""Draw one picture for a paper, of an imputed and an observed compendium or of a model: `epixs plot`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from epixs.errors import ConfigError
from epixs.evaluation.scores import evaluate
from epixs.exports.browser.genes import read_genes
from epixs.genome.locus import MAX_CHROMOSOME, parse_locus
from epixs.report.comparison import Comparison, Place, Track
from epixs.report.figures.agreement import agreement_of, draw_agreement
from epixs.report.figures.canvas import check_picture, drawing, save
from epixs.report.figures.factors import draw_factors, factor_maps
from epixs.report.figures.locus import draw_locus, view_of
from epixs.report.figures.scores import draw_skill, tracks_of

Figure = Literal["locus", "density", "skill", "factors"]

FIGURES = ("locus", "density", "skill", "factors")

MOST_TRACKS = 12
"""Maximum number of experiments per figure."""


def plot(
    imputed: str | Path | xr.Dataset,
    store: str | Path | xr.Dataset | None = None,
    *,
    out: str | Path,
    figure: Figure = "locus",
    biosample: str | None = None,
    assay: str | None = None,
    locus: str | None = None,
    genes: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Draw imputed and observed experiments, their skill, or the factors of a model.

    Parameters
    ----------
    imputed, store
        The two compendia; for a figure of factors, a model folder and nothing.
    out
        Picture to write; its suffix sets the format.
    figure
        `"locus"` draws observed and imputed tracks (with the 80 % interval where the store has `spread`) and
        average activity along a locus, on one scale; `"density"` observed against imputed values, of all
        bins or of a locus; `"skill"` the skill of all experiments that can be scored, as a matrix of
        biosamples by assays; `"factors"` the assays and biosamples of a model by their first two principal
        components.
    biosample, assay
        Labels of the experiments to draw, 12 at most; by default any.
    locus
        For instance `"chr19:3,000,000-3,100,000"`.
    genes
        BED, GFF or GTF file of genes to draw below a locus.
    progress
        Called with the number of steps done and of all steps while experiments are scored.

    Returns
    -------
    Notes on differences between the request and the picture.

    Raises
    ------
    AxisError
        If a store does not hold the experiment.
    RegionError
        If the locus lies outside the regions, or genes cannot be read.
    ConfigError
        If matplotlib is missing, the picture's format or folder does not exist, or arguments do not go
        together.
    """
    check_picture(Path(out))
    _check_figure(figure, biosample, assay, locus, genes)
    if figure == "factors":
        if store is not None or isinstance(imputed, xr.Dataset):
            raise ConfigError(
                "a figure of factors", got="a store", expected="a model folder, and nothing else"
            )
        return _plot_factors(imputed, Path(out))
    if store is None:
        raise ConfigError(f"a figure of {figure}", got="no observed store", expected="one beside the imputed")
    with drawing() as plt:
        if figure == "skill":
            return _plot_skill(plt, imputed, store, Path(out), progress)
        pair = Comparison.open(imputed, store)
        place = pair.at(locus) if locus else None
        tracks = [pair.track(biosample, assay)] if biosample and assay else pair.tracks(biosample, assay)
        notes = []
        if locus is not None and place is not None:
            notes = _clipped(locus, place, pair.regions.chrom_sizes.get(place.chrom, MAX_CHROMOSOME))
        if figure == "density":
            notes += _plot_density(plt, pair, tracks, place, Path(out))
        else:
            assert place is not None
            notes += _plot_locus(plt, pair, tracks, place, genes, Path(out))
        return notes


def _check_figure(
    figure: str, biosample: str | None, assay: str | None, locus: str | None, genes: Any
) -> None:
    if figure not in FIGURES:
        raise ConfigError("figure", got=repr(figure), expected=" or ".join(FIGURES))
    if figure == "locus" and locus is None:
        raise ConfigError(
            "a figure of a locus", got="no locus", expected="for instance chr19:3,000,000-3,100,000"
        )
    if figure != "locus" and genes is not None:
        raise ConfigError(f"a figure of {figure}", got="genes", expected="genes only for a figure of a locus")
    if figure in ("skill", "factors") and (biosample or assay or locus):
        given = biosample or assay or locus
        raise ConfigError(
            f"a figure of {figure}", got=repr(given), expected="no label or locus: it shows everything"
        )


def _plot_locus(
    plt: Any, pair: Comparison, tracks: Sequence[Track], place: Place, genes: str | Path | None, out: Path
) -> list[str]:
    known = read_genes(genes) if genes else None
    view = view_of(pair, tracks[:MOST_TRACKS], place, known)
    save(draw_locus(plt, view), out)
    notes = [f"{track.name} {track.why}: no observed panel" for track in tracks[:MOST_TRACKS] if track.why]
    notes += [
        f"{track.name} is zero-shot: no experiment of its assay in {pair.species} was trained on"
        for track in tracks[:MOST_TRACKS]
        if track.is_zero_shot
    ]
    apart = int((place.start[1:] > place.end[:-1]).sum())
    if apart:
        notes.append(f"{place.locus} lies across {apart + 1} regions; nothing is drawn between them")
    if view.bins_per_window > 1:
        notes.append(f"each value that is drawn is the mean of {view.bins_per_window} bins of 25 bp")
    if known is not None and not view.genes:
        notes.append(f"{genes} has no gene in {place.locus}")
    return notes + _left_out(tracks)


def _plot_density(
    plt: Any, pair: Comparison, tracks: Sequence[Track], place: Place | None, out: Path
) -> list[str]:
    measured = [track for track in tracks if not track.why]
    if not measured:
        raise ConfigError(
            f"{tracks[0].name} {tracks[0].why}",
            expected="an experiment that was both measured and imputed",
            next_step="draw the imputed track along a locus",
        )
    bins = None if place is None else place.bins
    agreements = [agreement_of(pair, track, bins) for track in measured[:MOST_TRACKS]]
    save(draw_agreement(plt, agreements, place.locus if place else ""), out)
    notes = [
        f"{track.name} {track.why}: not drawn" for track in tracks if track.why and len(tracks) < MOST_TRACKS
    ]
    return notes + _left_out(measured)


def _plot_skill(plt: Any, imputed: Any, store: Any, out: Path, progress: Any) -> list[str]:
    evaluation = evaluate(imputed, store, progress=progress)
    tracks = tracks_of(evaluation.scores)
    save(draw_skill(plt, tracks).figure, out)
    without = int(tracks["skill"].isna().sum())
    lacking = [
        f"{without} of {len(tracks)} experiments have no skill: nothing to compare them with, or other units"
    ]
    return [*evaluation.notes, *(lacking if without else [])]


def _plot_factors(model: str | Path, out: Path) -> list[str]:
    from epixs.models.folder import open_model  # brings TensorFlow

    trained = open_model(model)
    factors = trained.kind.label_factors(trained.model)
    maps = factor_maps(trained.axis, factors)
    if not maps:
        raise ConfigError(
            f"{model}: nothing to draw",
            got=f"fewer than three labels with factors (a model of kind {trained.kind.name})",
            expected="at least three assays or biosamples that were trained on",
        )
    with drawing() as plt:
        save(draw_factors(plt, maps).figure, out)
    if "biosample" in factors:
        return []
    return [f"a model of kind {trained.kind.name} has no factors of biosamples"]


def _left_out(tracks: Sequence[Track]) -> list[str]:
    more = len(tracks) - MOST_TRACKS
    return (
        [f"{more} of {len(tracks)} experiments are not drawn: name a biosample or an assay"]
        if more > 0
        else []
    )


def _clipped(locus: str, place: Place, size: int) -> list[str]:
    """Note a locus that reaches outside the regions, on a chromosome of length `size`."""
    _, start, end = parse_locus(locus)
    end = min(end, size)
    if int(place.start.min()) <= start and end <= int(place.end.max()):
        return []
    return [f"{locus} reaches outside the regions; only {place.locus} is drawn"]
