"""Predict pairs of one species from the tracks that a store has around each bin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from epixs.axis.axis import JointAxis
from epixs.catalog.pairs import Pair
from epixs.cluster.client import on_free_threads
from epixs.compendium.plan import CHUNK_BINS
from epixs.compendium.read import open_signal
from epixs.genome.regions import Regions
from epixs.models.context.forward import Forward, forward_of
from epixs.models.folder import TrainedModel
from epixs.models.kinds import Predict, Spreads
from epixs.models.stores import observed_in
from epixs.sampling.agreement import FALL, expected_pearson, fit_agreement, known_elsewhere
from epixs.sampling.around import Reading, Target, read_context, targets_of
from epixs.sampling.bins import Places
from epixs.sampling.fill import HALO
from epixs.sampling.intervals import HALF_WIDTH, half_widths
from epixs.sampling.kriging import Correlations
from epixs.sampling.mixture import READINGS, biosamples_of, expected_shares, familiar, mixed, readings
from epixs.sampling.panel import Panel, alone_in, packed, packed_size, unpacked
from epixs.sampling.species import (
    Species,
    classes_of,
    correlations_of,
    labels_of,
    load_species,
    scales_of,
    tracks_of,
)
from epixs.sampling.windows import Windows, read_windows
from epixs.sampling.zero_shot import LEAST_DEVIATION

Ints = npt.NDArray[np.int32]

MOMENTS_BINS, MOMENTS_SPANS, MOMENTS_BIOSAMPLES = 256, 16, 4
"""Bins of a stretch, number of stretches, and of biosamples, for the summary of an assay's predictions."""

BLOCK_BINS = 4_096
"""Number of bins that a Keras model predicts at once."""

FEWEST_BINS, MOST_BINS = 4 * CHUNK_BINS, 16 * CHUNK_BINS
"""Minimum and maximum number of bins that a thread reads at once. Fewer take too long, because chunks at the
edges are read twice; more take too much memory."""


def statistics_of(species: Sequence[Species]) -> npt.NDArray[np.float32]:
    """Pack the statistics of all species' tracks, as a model keeps them."""
    return np.concatenate([packed(one.panel) for one in species]).astype(np.float32)


def panels_of(model: Any, axis: JointAxis) -> list[Panel]:
    """Read the statistics of all species' tracks from a model, or compute them from the stores."""
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


def zero_shot_shares(model: Any, axis: JointAxis, panels: Sequence[Panel]) -> npt.NDArray[np.float32]:
    """Return the share of each part in zero-shot tracks (`sampling.mixture`), `(species, assay, part)`."""
    shifted = model.shares.numpy()
    expected = expected_shares(panels, classes_of(axis), model.hidden_agreement.numpy())
    return np.asarray(np.where(np.isfinite(shifted), shifted, model.mixture.numpy()[:, None] * expected))


@dataclass(frozen=True)
class Ready:
    """Inputs for predicting pairs of one species over the bins of a store.

    Parameters
    ----------
    signal, regions
        Signal and regions of the store.
    rows, fill
        Row of each track in the store, and the value of its missing bins.
    at, panels, bands
        Number of the species, the statistics of all species' tracks, and the correlations of its own.
    targets
        The pairs, as targets.
    """

    signal: Any
    regions: Regions
    rows: npt.NDArray[np.int64]
    fill: npt.NDArray[np.float32]
    at: int
    panels: list[Panel]
    bands: list[Correlations]
    targets: list[Target]

    def windows(self, span: tuple[int, int], tracks: npt.NDArray[Any] | slice = slice(None)) -> Windows:
        """Read some tracks over a stretch of the store's bins."""
        return read_windows(self.signal, self.rows[tracks], self.fill[tracks], [span], self.regions, HALO)


def get_ready(trained: TrainedModel, pairs: Sequence[Pair], store: str | Path, panels: list[Panel]) -> Ready:
    """Collect the inputs for predicting pairs of one species."""
    axis = trained.axis
    at = axis.species.index(pairs[0][0])
    known, observed = axis.parts[at], observed_in(trained, store)
    panel, scales = panels[at], scales_of(axis, panels)[at]
    tracks = tracks_of(known)
    place = observed.experiments.set_index(["biosample", "assay"])["row"]
    rows = np.array(
        [place[b, a] for b, a in zip(tracks["biosample"], tracks["assay"], strict=True)], np.int64
    )
    fill = tracks["signal_mean"].to_numpy(np.float32)
    bands = correlations_of(axis, panels, at)
    alone = alone_in(panels, len(axis.assays))
    targets = targets_of(panel, scales, bands, at, *_numbers(axis, pairs), alone)
    return Ready(open_signal(store), observed.regions, rows, fill, at, panels, bands, targets)


def _numbers(axis: JointAxis, pairs: Sequence[Pair]) -> tuple[Ints, Ints]:
    """Return the numbers of pairs' biosamples within their species, and of their assays on the joint axis."""
    number = {name: i for i, name in enumerate(axis.part(pairs[0][0]).biosamples)}
    return np.array([number[b] for _, b, _ in pairs], np.int32), axis.assay_index([a for *_, a in pairs])


def predictor(trained: TrainedModel, pairs: Sequence[Pair], store: str | Path) -> Predict:
    """Prepare to predict pairs of one species over the bins of a store."""
    ready = get_ready(trained, pairs, store, panels_of(trained.model, trained.axis))
    panel = ready.panels[ready.at]
    forward = forward_of(trained.model)
    shares = zero_shot_shares(trained.model, trained.axis, ready.panels)[ready.at]
    moments = trained.model.moments.numpy()[ready.at]
    unknown = {target.assay for target in ready.targets if np.isnan(moments[target.assay, 0]).any()}
    for assay in unknown - set(panel.assay.tolist()):
        moments[assay] = moments_of(trained.axis, ready, forward, assay)
    assays = {target.assay for target in ready.targets}
    masks = {assay: familiar(ready.panels, ready.at, assay) for assay in assays}
    prepared = [
        [forward.of_target(part, panel) for part in mixed(one, panel, masks[one.assay], shares, moments)]
        for one in ready.targets
    ]

    def predict(start: int, stop: int, which: slice) -> npt.NDArray[np.float32]:
        read = np.unique(np.concatenate([part.tracks for parts in prepared[which] for part in parts]))
        chosen = [[part.reading(read) for part in parts] for parts in prepared[which]]
        mean, spread = panel.mean[read], panel.spread[read]

        def stretch(span: tuple[int, int]) -> npt.NDArray[np.float32]:
            windows = ready.windows(span, read)
            return np.stack(
                [sum(forward.predict(windows, mean, spread, part) for part in parts) for parts in chosen]
            )

        return np.concatenate(on_free_threads(stretch, partial(_spans, start, stop)), axis=1)

    return predict


def moments_of(axis: JointAxis, ready: Ready, forward: Forward, assay: int) -> npt.NDArray[np.float32]:
    """Mean and spread of the networks' predictions of an assay, standardised, at some bins of the store.

    Training learns them (`sampling.zero_shot`), but not of the species that an extension does not read. They
    do not depend on the pairs that are imputed. Their shape is `(reading, 2)`; NaN for a way that there is
    not.
    """
    bins = ready.regions.n_bins
    starts = np.linspace(0, max(0, bins - MOMENTS_BINS), MOMENTS_SPANS).astype(int)
    spans = [(int(start), min(bins, int(start) + MOMENTS_BINS)) for start in np.unique(starts)]
    panel, scales = ready.panels[ready.at], scales_of(axis, ready.panels)[ready.at]
    known, alone = familiar(ready.panels, ready.at, assay), alone_in(ready.panels, len(axis.assays))
    moments = np.full((READINGS, 2), np.nan, np.float32)
    for way in range(READINGS):
        biosample = biosamples_of(panel, known, way, MOMENTS_BIOSAMPLES)
        labels = biosample, np.full_like(biosample, assay)
        ways = [
            readings(one, known) for one in targets_of(panel, scales, ready.bands, ready.at, *labels, alone)
        ]
        values = [_some_values(ready, forward, one[way], spans) for one in ways if len(one) > way]
        if values:
            every = np.concatenate(values)
            moments[way] = every.mean(), max(every.std(), LEAST_DEVIATION)
    return moments


def _some_values(
    ready: Ready, forward: Forward, target: Target, spans: list[tuple[int, int]]
) -> npt.NDArray[np.float32]:
    """Predict a target at some bins of the store, standardised."""
    panel, prepared = ready.panels[ready.at], forward.of_target(target, ready.panels[ready.at])
    tracks = prepared.tracks
    windows = read_windows(ready.signal, ready.rows[tracks], ready.fill[tracks], spans, ready.regions, HALO)
    predicted = forward.predict(windows, panel.mean[tracks], panel.spread[tracks], prepared.reading(tracks))
    return np.asarray((predicted - target.scale[0]) / target.scale[1])


def spreads_of(trained: TrainedModel, pairs: Sequence[Pair]) -> Spreads | None:
    """Return the function that estimates the spread of pairs' errors; None if the model learned none."""
    model, axis = trained.model, trained.axis
    widths = model.intervals.numpy()
    if not widths[0, 1].any():
        return None
    at = axis.species.index(pairs[0][0])
    panels = panels_of(model, axis)
    biosample, assay = _numbers(axis, pairs)
    scale = scales_of(axis, panels)[at].of_all(biosample, assay, (panels[at].biosample, panels[at].assay))
    factor = model.assay_errors.numpy()[at, assay] / np.float32(HALF_WIDTH)
    is_zero_shot = ~np.isin(assay, panels[at].assay)

    def spreads(values: npt.NDArray[np.float32], rows: slice) -> npt.NDArray[np.float32]:
        estimate = np.full_like(values, np.nan)
        for row, pair in enumerate(range(len(pairs))[rows]):
            learned = widths[int(is_zero_shot[pair])]
            if learned[1].any():
                mean, spread = scale[pair]
                estimate[row] = half_widths(learned, (values[row] - mean) / spread) * (spread * factor[pair])
        return estimate

    return spreads


def expected_of(trained: TrainedModel, pairs: Sequence[Pair]) -> npt.NDArray[np.float32] | None:
    """Expected Pearson correlation of some pairs of one species; None if nothing was learned of it.

    Where a model that was extended does not know how parts of a mixture go together, because the species was
    not read, only what is expected of its networks counts.
    """
    model, axis = trained.model, trained.axis
    every = model.agreement.numpy()
    if not np.isfinite(every).any():
        return None
    labels = [labels_of(axis, part, tracks_of(part)) for part in axis.parts]
    ends = np.cumsum([biosample.size for biosample, _ in labels])
    agreement = np.split(every, ends[:-1])
    fits = fit_agreement(agreement, labels, [len(part.biosamples) for part in axis.parts], classes_of(axis))
    at = axis.species.index(pairs[0][0])
    absent = model.absent_agreement.numpy()[at]
    absent = np.where(np.isfinite(absent), absent, FALL * known_elsewhere(model.hidden_agreement.numpy(), at))
    return expected_pearson(fits[at], absent * model.ease.numpy()[at], *_numbers(axis, pairs), labels[at])


def predictor_by(
    call: Callable[[dict[str, Any]], npt.NDArray[np.float32]],
    trained: TrainedModel,
    pairs: Sequence[Pair],
    store: str | Path,
) -> Predict:
    """Prepare to predict with any Keras model that reads the inputs of a `ContextSampler`'s batches."""
    ready = get_ready(trained, pairs, store, [one.panel for one in load_species(trained.axis)])
    panel = ready.panels[ready.at]

    def predict(start: int, stop: int, which: slice) -> npt.NDArray[np.float32]:
        windows = ready.windows((start, stop))
        sizes = windows.high - windows.low
        piece = np.repeat(np.arange(sizes.size), sizes)
        offset = np.concatenate([np.arange(a, b) for a, b in zip(windows.low, windows.high, strict=True)])
        predicted = np.empty((len(ready.targets[which]), stop - start), np.float32)
        for row, target in enumerate(ready.targets[which]):
            first = target.others.max(axis=1)
            fixed = {
                "own_assay": np.where(target.own >= 0, panel.assay[target.own], -1),
                "others_assay": np.where(first >= 0, panel.assay[first], -1),
                "target": np.int32(target.assay),
                "named": np.float32(target.named),
                "scale": target.scale,
                "share": np.float32(1),
                "linear": np.zeros(target.own.size, np.float32),
                "member": np.int32(-1),
            }
            for begin in range(0, stop - start, BLOCK_BINS):
                block = slice(begin, min(stop - start, begin + BLOCK_BINS))
                reading = Reading(target, Places(piece[block], offset[block]))
                own, others, base = read_context(panel, windows, reading)
                inputs = fixed | {"own": own, "others": others, "base": base}
                batch = {name: tf.constant(np.asarray(value)[None]) for name, value in inputs.items()}
                predicted[row, block] = call(batch)
        return predicted

    return predict


def _spans(start: int, stop: int, threads: int) -> list[tuple[int, int]]:
    """Divide bins into stretches for threads to read and predict, all of equal length but the last."""
    share = -(-(stop - start) // threads)
    size = min(MOST_BINS, max(FEWEST_BINS, -(-share // CHUNK_BINS) * CHUNK_BINS))
    return [(first, min(stop, first + size)) for first in range(start, stop, size)]
