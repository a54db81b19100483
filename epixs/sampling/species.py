"""Load the training tracks of each species with their statistics, and compute the memory that they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.compendium.read import open_signal
from epixs.sampling.around import Target, targets_of
from epixs.sampling.fill import HALO
from epixs.sampling.kriging import BAND_RADII, Correlations, Equations
from epixs.sampling.panel import (
    Panel,
    Reads,
    alone_in,
    bands_of,
    equations_of,
    hidden_equations,
    panel_of,
    reads_of,
)
from epixs.sampling.scales import Scales, fit_scales
from epixs.sampling.stretches import POOLS_AT_ONCE, STRETCH_BINS, Spans
from epixs.sampling.windows import Windows, bytes_per_bin, read_windows

Ints = npt.NDArray[np.int32]

SIMILAR = 2.0
"""Ratio of the lengths of two species' regions up to which the bands of their tracks are alike."""

FEWEST_STRETCHES = 4
"""Minimum number of stretches of the genome that are in memory at once."""


@dataclass(frozen=True)
class Species:
    """One species' training tracks: their statistics, their values, and the tracks that are read for each.

    Parameters
    ----------
    at, part
        The species and its number on the axis; tracks are its training experiments in the order of their
        rows in the store.
    first_biosample, first_position
        Numbers on the axis of its first biosample, and of its first 25 bp, 250 bp and 5 kbp position.
    panel, scales
        Statistics of the tracks, and the expected mean and spread of other tracks.
    windows
        The tracks in memory.
    bands
        Correlations of each band of the tracks.
    alone
        Mask of the assays that have no two tracks in any species, shape `(assay,)`.
    reads, equations, hidden_equations
        The tracks that are read for each track as a target, and the equations for their weights in a sum, if
        its assay is read, and if it is hidden.
    """

    at: int
    part: SpeciesAxis
    first_biosample: int
    first_position: Ints
    panel: Panel
    scales: Scales
    windows: Windows
    bands: list[Correlations]
    alone: npt.NDArray[np.bool_]
    reads: Reads
    equations: list[list[Equations]]
    hidden_equations: list[list[Equations]]

    def target(self, track: int, windows: Windows | None = None) -> Target:
        """Make a target of a training track, with the mean and spread expected of it without itself.

        Its values are in `windows`; by default, in those of the species.
        """
        panel, reads = self.panel, self.reads
        return Target(
            self.at, int(panel.biosample[track]), int(panel.assay[track]), reads.own[track],
            reads.others[track], reads.weight[track], self.scales.without_track[track],
            self.equations[track], True, windows or self.windows, track,
        )  # fmt: skip

    def targets(self, biosample: Ints, assay: Ints, windows: Windows | None = None) -> list[Target]:
        """Make targets that are not training tracks."""
        return targets_of(self.panel, self.scales, self.bands, self.at, biosample, assay, self.alone, windows)


def tracks_of(part: SpeciesAxis) -> pd.DataFrame:
    """Return the training experiments of a species in the order in which models number them."""
    return part.training.sort_values("row", ignore_index=True)


def labels_of(axis: JointAxis, part: SpeciesAxis, tracks: pd.DataFrame) -> tuple[Ints, Ints]:
    """Return the numbers of the tracks' biosamples within the species, and of assays on the joint axis."""
    number = {name: i for i, name in enumerate(part.biosamples)}
    biosample = np.array([number[name] for name in tracks["biosample"]], dtype=np.int32)
    return biosample, axis.assay_index(tracks["assay"])


def track_labels(axis: JointAxis) -> list[tuple[str, str, str]]:
    """List species, biosample and assay of all training tracks, in the order in which models number them."""
    tables = [(part.species, tracks_of(part)) for part in axis.parts]
    return [
        (species, biosample, assay)
        for species, tracks in tables
        for biosample, assay in zip(tracks["biosample"], tracks["assay"], strict=True)
    ]


def load_species(
    axis: JointAxis, windows: Sequence[Windows] | None = None, known: Sequence[Panel | None] = ()
) -> list[Species]:
    """Load all species' training tracks with their statistics.

    Parameters
    ----------
    windows
        The tracks of each species; by default they are read, as wholes.
    known
        Statistics of each species' tracks; None (and by default) to compute them from the tracks.
    """
    windows = windows or [read_tracks(part, tracks_of(part)) for part in axis.parts]
    panels = [
        panel or panel_of(read, *labels_of(axis, part, tracks_of(part)))
        for part, read, panel in zip(axis.parts, windows, known or [None] * len(axis.parts), strict=True)
    ]
    species, alone = [], alone_in(panels, len(axis.assays))
    every = zip(axis.parts, panels, scales_of(axis, panels), windows, strict=True)
    for at, (part, panel, scales, read) in enumerate(every):
        reads, bands = reads_of(panel, panel.biosample, panel.assay), correlations_of(axis, panels, at)
        labels = list(zip(panel.biosample.tolist(), panel.assay.tolist(), strict=True))
        equations = [
            equations_of(bands, *label, own, others)
            for label, own, others in zip(labels, reads.own, reads.others, strict=True)
        ]
        hidden = [hidden_equations(bands, one, *label) for one, label in zip(equations, labels, strict=True)]
        first = sum(len(before.biosamples) for before in axis.parts[:at]), axis.offsets(part.species)
        species.append(Species(at, part, *first, panel, scales, read, bands, alone, reads, equations, hidden))
    return species


def scales_of(
    axis: JointAxis, panels: Sequence[Panel], seen: Sequence[npt.NDArray[np.bool_]] | None = None
) -> list[Scales]:
    """Fit means and spreads of all species' tracks, or of those that are seen."""
    tracks = [(p.biosample, p.assay, p.mean.astype(float), p.spread.astype(float)) for p in panels]
    return fit_scales(tracks, [len(part.biosamples) for part in axis.parts], classes_of(axis), seen)


def correlations_of(axis: JointAxis, panels: Sequence[Panel], at: int) -> list[Correlations]:
    """Set up the correlations of each band of a species' tracks."""
    lend = alike(axis)[at]
    others = [panel for other, panel in enumerate(panels) if lend[other] and other != at]
    return bands_of(panels[at], others, len(axis.assays))


def alike(axis: JointAxis) -> npt.NDArray[np.bool_]:
    """Tell which species have regions of similar lengths, shape `(species, species)`.

    In regions shorter than the widest means of `sampling.kriging`, bands are not what they are in long ones.
    So only species that are alike learn from each other what assays have in common.
    """
    lengths = np.array([_usual_length(part) for part in axis.parts])
    ratio = lengths[:, None] / lengths
    return np.asarray(np.maximum(ratio, ratio.T) <= SIMILAR)


def _usual_length(part: SpeciesAxis) -> float:
    """Return the length of the region of the middle bin, if regions are sorted by length, and limited."""
    sizes = np.sort(part.regions.n_bins_each)
    middle = np.searchsorted(np.cumsum(sizes), sizes.sum() / 2)
    return float(min(sizes[middle], 2 * BAND_RADII[-1] + 1))


def classes_of(axis: JointAxis) -> npt.NDArray[np.int32]:
    """Number of the class of each assay of a joint axis."""
    names = sorted(set(axis.assay_classes.values()))
    return np.array([names.index(axis.assay_classes[assay]) for assay in axis.assays], np.int32)


def read_tracks(part: SpeciesAxis, tracks: pd.DataFrame, spans: Spans | None = None) -> Windows:
    """Read some experiments of a species, over stretches of its bins or over all bins.

    Without experiments, the store is not opened.
    """
    rows, fill = tracks["row"].to_numpy(np.int64), tracks["signal_mean"].to_numpy(np.float32)
    spans = spans or [(0, part.n_positions[0])]
    signal = open_signal(part.source) if rows.size else None
    return read_windows(signal, rows, fill, spans, part.regions, HALO, order="F")


def signal_bytes(axis: JointAxis) -> int:
    """Return the memory that all training tracks take."""
    return int(signal_sizes(axis).sum())


def fewest_bytes(axis: JointAxis) -> int:
    """Return the minimum memory of the tracks in training."""
    tracks = sum(len(part.training) for part in axis.parts)
    return min(
        signal_bytes(axis),
        POOLS_AT_ONCE * FEWEST_STRETCHES * (STRETCH_BINS + 2 * HALO) * bytes_per_bin(tracks),
    )


def signal_sizes(axis: JointAxis) -> npt.NDArray[np.int64]:
    """Return the memory of each species' training tracks, shape `(species,)`."""
    sizes = [part.n_positions[0] * bytes_per_bin(len(part.training)) for part in axis.parts]
    return np.array(sizes, dtype=np.int64)
