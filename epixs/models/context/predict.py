"""Pairs of one species, predicted from the tracks that a store has around each bin."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis
from epixs.catalog.pairs import Pair
from epixs.cluster.client import free_threads
from epixs.compendium.plan import CHUNK_BINS
from epixs.compendium.read import open_signal
from epixs.models.context.forward import forward_of
from epixs.models.folder import TrainedModel
from epixs.models.kinds import Predict
from epixs.models.stores import observed_in
from epixs.sampling.around import HALO, targets_of
from epixs.sampling.context import Species, labels_of, load_species, scales_of, tracks_of
from epixs.sampling.mixture import mixed
from epixs.sampling.panel import Panel, packed, packed_size, unpacked
from epixs.sampling.windows import read_windows

FEWEST_BINS, MOST_BINS = 4 * CHUNK_BINS, 16 * CHUNK_BINS
"""Bins that a thread reads at once: of fewer, the chunks at the edges, which are read twice, take too long;
more take memory."""


def statistics_of(species: Sequence[Species]) -> npt.NDArray[np.float32]:
    """What a model keeps about the tracks of all species."""
    return np.concatenate([packed(one.panel) for one in species]).astype(np.float32)


def panels_of(model: Any, axis: JointAxis) -> list[Panel]:
    """The statistics of all species' tracks, as a model keeps them; else worked out from the stores anew."""
    values = model.statistics.numpy()
    if not values.any():
        return [one.panel for one in load_species(axis)]
    panels, first = [], 0
    for part in axis.parts:
        biosample, assay = labels_of(axis, part, tracks_of(part))
        size = packed_size(biosample, assay)
        panels.append(unpacked(values[first : first + size], biosample, assay))
        first += size
    return panels


def predictor(trained: TrainedModel, pairs: Sequence[Pair], store: str | Path) -> Predict:
    """Prepare to predict pairs of one species over the bins of a store."""
    axis = trained.axis
    at = axis.species.index(pairs[0][0])
    known, here = axis.parts[at], observed_in(trained, store)
    panels = panels_of(trained.model, axis)
    panel, scales = panels[at], scales_of(axis, panels)[at]
    tracks = tracks_of(known)
    place = here.experiments.set_index(["biosample", "assay"])["row"]
    rows = np.array(
        [place[b, a] for b, a in zip(tracks["biosample"], tracks["assay"], strict=True)], np.int64
    )
    fill = tracks["signal_mean"].to_numpy(np.float32)
    number = {name: i for i, name in enumerate(known.biosamples)}
    biosample = np.array([number[pair[1]] for pair in pairs], np.int32)
    targets = targets_of(panel, scales, at, biosample, axis.assay_index([pair[2] for pair in pairs]))
    forward, shares = forward_of(trained.model), trained.model.mixture.numpy()[at]
    prepared = [forward.of_target(mixed(target, panels, shares), panel) for target in targets]
    signal = open_signal(store)

    def predict(start: int, stop: int, which: slice) -> npt.NDArray[np.float32]:
        read = np.unique(np.concatenate([target.tracks for target in prepared[which]]))
        mine = [target.reading(read) for target in prepared[which]]
        mean, spread = panel.mean[read], panel.spread[read]

        def stretch(span: tuple[int, int]) -> npt.NDArray[np.float32]:
            windows = read_windows(signal, rows[read], fill[read], [span], here.regions, HALO)
            return np.stack([forward.predict(windows, mean, spread, target) for target in mine])

        threads = free_threads()
        spans = _spans(start, stop, threads)
        if min(threads, len(spans)) == 1:
            return np.concatenate([stretch(span) for span in spans], axis=1)
        with ThreadPoolExecutor(threads) as pool:
            return np.concatenate(list(pool.map(stretch, spans)), axis=1)

    return predict


def _spans(start: int, stop: int, threads: int) -> list[tuple[int, int]]:
    """Stretches that threads read and predict, of equal length but for the last."""
    share = -(-(stop - start) // threads)
    size = min(MOST_BINS, max(FEWEST_BINS, -(-share // CHUNK_BINS) * CHUNK_BINS))
    return [(first, min(stop, first + size)) for first in range(start, stop, size)]
