"""The training tracks of each species: what is stored and known of them, and the memory that they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.compendium.read import open_signal
from epixs.sampling.around import HALO
from epixs.sampling.panel import Panel, Reads, panel_of, reads_of
from epixs.sampling.scales import Scales, fit_scales
from epixs.sampling.stretches import POOLS_AT_ONCE, STRETCH_BINS, Spans
from epixs.sampling.windows import Windows, bytes_per_bin, read_windows

Ints = npt.NDArray[np.int32]

FEWEST_STRETCHES = 16
"""Stretches of the genome that are in memory at once, at least."""


@dataclass(frozen=True)
class Species:
    """One species' training tracks: what is stored and known of them, and which are read for each.

    Parameters
    ----------
    part
        The species; tracks are its training experiments in the order of their rows in the store.
    panel, scales
        Statistics of the tracks, and what they let expect of others.
    windows
        The tracks in memory.
    reads
        Of each track as a target.
    """

    part: SpeciesAxis
    panel: Panel
    scales: Scales
    windows: Windows
    reads: Reads


def tracks_of(part: SpeciesAxis) -> pd.DataFrame:
    """The training experiments of a species in the order in which models know them."""
    return part.training.sort_values("row", ignore_index=True)


def labels_of(axis: JointAxis, part: SpeciesAxis, tracks: pd.DataFrame) -> tuple[Ints, Ints]:
    """Numbers of biosamples within the species, and of assays on the joint axis."""
    number = {name: i for i, name in enumerate(part.biosamples)}
    biosample = np.array([number[name] for name in tracks["biosample"]], dtype=np.int32)
    return biosample, axis.assay_index(tracks["assay"])


def load_species(axis: JointAxis, windows: Sequence[Windows] | None = None) -> list[Species]:
    """Work out what is known of all species' training tracks, from `windows` of them, or from all of them."""
    windows = windows or [read_tracks(part, tracks_of(part)) for part in axis.parts]
    panels = [
        panel_of(read, *labels_of(axis, part, tracks_of(part)))
        for part, read in zip(axis.parts, windows, strict=True)
    ]
    return [
        Species(part, panel, scales, read, reads_of(panel, panel.biosample, panel.assay))
        for part, panel, scales, read in zip(
            axis.parts, panels, scales_of(axis, panels), windows, strict=True
        )
    ]


def scales_of(axis: JointAxis, panels: Sequence[Panel]) -> list[Scales]:
    """Fit means and spreads of all species' tracks."""
    tracks = [(p.biosample, p.assay, p.mean.astype(float), p.spread.astype(float)) for p in panels]
    return fit_scales(tracks, [len(part.biosamples) for part in axis.parts], classes_of(axis))


def classes_of(axis: JointAxis) -> npt.NDArray[np.int32]:
    """Number of the class of each assay of a joint axis."""
    names = sorted(set(axis.assay_classes.values()))
    return np.array([names.index(axis.assay_classes[assay]) for assay in axis.assays], np.int32)


def read_tracks(part: SpeciesAxis, tracks: pd.DataFrame, spans: Spans | None = None) -> Windows:
    """Read some experiments of a species over stretches of its bins, or all of them."""
    rows, fill = tracks["row"].to_numpy(np.int64), tracks["signal_mean"].to_numpy(np.float32)
    spans = spans or [(0, part.n_positions[0])]
    return read_windows(open_signal(part.source), rows, fill, spans, part.regions, HALO)


def signal_bytes(axis: JointAxis) -> int:
    """Memory that all training tracks take."""
    return int(signal_sizes(axis).sum())


def fewest_bytes(axis: JointAxis) -> int:
    """Least memory that training can do with."""
    tracks = sum(len(part.training) for part in axis.parts)
    return min(signal_bytes(axis), POOLS_AT_ONCE * FEWEST_STRETCHES * STRETCH_BINS * bytes_per_bin(tracks))


def signal_sizes(axis: JointAxis) -> npt.NDArray[np.int64]:
    """Memory of each species' training tracks, shape `(species,)`."""
    sizes = [part.n_positions[0] * bytes_per_bin(len(part.training)) for part in axis.parts]
    return np.array(sizes, dtype=np.int64)
