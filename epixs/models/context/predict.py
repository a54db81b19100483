"""Pairs of one species, predicted from the tracks that a store has around each bin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from epixs.axis.axis import JointAxis
from epixs.catalog.pairs import Pair
from epixs.compendium.read import open_signal
from epixs.models.folder import TrainedModel
from epixs.models.kinds import Predict
from epixs.models.stores import observed_in
from epixs.sampling.around import HALO, RADII, SUMMARIES, read_context, targets_of
from epixs.sampling.context import Species, labels_of, load_species, scales_of, tracks_of
from epixs.sampling.mixture import mixed
from epixs.sampling.panel import Panel, packed, packed_size, unpacked
from epixs.sampling.windows import read_windows

BLOCK_BINS = 4_096
"""Bins predicted at once."""


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
    axis, model = trained.axis, trained.model
    at = axis.species.index(pairs[0][0])
    known, here = axis.parts[at], observed_in(trained, store)
    panels = panels_of(model, axis)
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
    shares = model.mixture.numpy()[at]
    targets = [mixed(target, panels, shares) for target in targets]
    signal = open_signal(store)

    @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[misc, unused-ignore]
    def forward(inputs: Any) -> Any:
        return model(inputs, training=False)[..., 0]

    def predict(start: int, stop: int, which: slice) -> npt.NDArray[np.float32]:
        windows = read_windows(signal, rows, fill, [(start, stop)], here.regions, HALO)
        sizes = windows.high - windows.low
        piece = np.repeat(np.arange(sizes.size), sizes)
        offset = np.concatenate([np.arange(a, b) for a, b in zip(windows.low, windows.high, strict=True)])
        found = []
        for target in targets[which]:
            values = np.empty(stop - start, np.float32)
            constants = {
                "own_assay": np.where(target.own >= 0, panel.assay[target.own], -1),
                "others_assay": np.where(
                    (target.others >= 0).any(axis=1), panel.assay[target.others.max(axis=1)], -1
                ),
                "target": np.int32(target.assay),
                "scale": np.asarray(target.scale, np.float32),
                "share": np.float32(target.share),
                "linear": np.zeros(target.own.size, np.float32) if target.linear is None else target.linear,
                "member": np.int32(-1),
            }
            fixed = {name: tf.constant(np.asarray(value)[None]) for name, value in constants.items()}
            for first in range(0, values.size, BLOCK_BINS):
                mine = slice(first, min(values.size, first + BLOCK_BINS))
                own = np.empty((mine.stop - first, target.own.size, RADII.size), np.float32)
                others = np.empty(
                    (mine.stop - first, target.others.shape[0], SUMMARIES * RADII.size), np.float32
                )
                read_context(panel, windows, piece[mine], offset[mine], target, own, others)
                values[mine] = forward(fixed | {"own": own[None], "others": others[None]}).numpy()[0]
            found.append(values)
        return np.stack(found)

    return predict
