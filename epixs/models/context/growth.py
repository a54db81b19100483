"""Extend a trained context model: its networks read new tracks, and only new assays' factors are fitted."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from epixs.axis.axis import JointAxis
from epixs.models.context.predict import panels_of, zero_shot_shares
from epixs.models.folder import TrainedModel
from epixs.sampling.added import AddedTracks, assays_to_fit
from epixs.sampling.learned import (
    Reliability,
    learn_reliability,
)
from epixs.sampling.mixture import expected_shares, mixture
from epixs.sampling.panel import Panel
from epixs.sampling.species import alike, classes_of, labels_of, track_labels, tracks_of
from epixs.sampling.zero_shot import learn_absent, learn_hidden, learn_mixture


def known_panels(axis: JointAxis, known: TrainedModel) -> list[Panel | None]:
    """Read the statistics of the species without tracks on an axis from a model; None for the others."""
    panels: list[Panel | None] = [None] * len(axis.parts)
    for at, (old, part) in enumerate(zip(panels_of(known.model, known.axis), known.axis.parts, strict=True)):
        if axis.parts[at].training.empty:
            _, assay = labels_of(axis, part, tracks_of(part))
            panels[at] = dataclasses.replace(old, assay=assay)
    return panels


def copy_known(model: Any, axis: JointAxis, known: TrainedModel) -> None:
    """Copy the networks and all that they know into a model over a larger axis; a new species comes last.

    The factors of a new assay, or of one that was always excluded, begin at the mean of its class, or of all
    assays if the class is new.
    """
    old, before = known.model, known.axis
    for new_layer, old_layer in zip(model.layers, old.layers, strict=True):
        new_layer.set_weights(old_layer.get_weights())
    model.absent.assign(old.absent)
    model.unnamed.assign(old.unnamed)
    model.trust.assign(old.trust)
    rows, classes = axis.assay_index(before.assays), classes_of(axis)
    trained = np.isin(before.assays, [assay for *_, assay in track_labels(before)])
    factors = np.empty(model.factors.shape, np.float32)
    for assay in range(len(axis.assays)):
        like = trained & (classes[rows] == classes[assay])
        factors[:, assay] = old.factors.numpy()[:, like if like.any() else trained].mean(axis=1)
    factors[:, rows[trained]] = old.factors.numpy()[:, trained]
    model.factors.assign(factors)
    n = len(before.parts)
    # A model of one species has learned no mixture, and has now a species to take assays from.
    model.mixture.assign(_over(model.mixture, old.mixture if n > 1 else mixture([], []), slice(n)))
    where = np.ix_(np.arange(n), rows)
    model.hidden_agreement.assign(_over(model.hidden_agreement, old.hidden_agreement, where))
    model.assay_errors.assign(_over(model.assay_errors, old.assay_errors, where))
    # The moments of predictions are not known for new assays in species whose store is not read, nor where
    # new tracks tell more of what absent assays have in common with others, or make more of them familiar.
    # Imputation computes them. Shares stay, unless more is familiar.
    before_it = {*track_labels(before)}
    met = [assay for assay, _ in _together(axis) - _together(before)]
    kept = np.flatnonzero(~assays_to_fit(axis, before)[rows] & ~np.isin(before.assays, met))
    grown = {species for species, *label in track_labels(axis) if (species, *label) not in before_it}
    told = alike(axis)[:n, [axis.species.index(name) for name in sorted(grown)]].any(axis=1)
    moments = np.full(model.moments.shape, np.nan, np.float32)
    same = np.flatnonzero(~told & (n > 1))
    model.moments.assign(_over(moments, old.moments, np.ix_(same, rows[kept]), np.ix_(same, kept)))
    every = np.arange(n if n > 1 else 0)
    places = np.ix_(every, rows[kept]), np.ix_(every, kept)
    model.shares.assign(_over(model.shares, old.shares, *places))
    model.absent_agreement.assign(_over(model.absent_agreement, old.absent_agreement, *places))
    model.ease.assign(_over(model.ease, old.ease, slice(n)))
    model.relations.assign(_over(model.relations, old.relations, np.ix_(np.arange(n), rows, rows)))
    model.intervals.assign(old.intervals)
    model.agreement.assign(_over(model.agreement, old.agreement, _tracks(axis, before)))
    model.hidden_before = model.hidden_agreement.numpy()
    model.relations_before = model.relations.numpy()
    model.known_before = Reliability(
        model.intervals.numpy(),
        model.assay_errors.numpy(),
        model.agreement.numpy(),
    )


def _together(axis: JointAxis) -> set[tuple[str, str]]:
    """List the pairs of assays that are measured in the same biosample of any species."""
    labels = pd.DataFrame(track_labels(axis), columns=["species", "biosample", "assay"])
    pairs = labels.merge(labels, on=["species", "biosample"])
    return set(zip(pairs["assay_x"], pairs["assay_y"], strict=True))


def learn_additions(model: Any, sampler: AddedTracks) -> None:
    """Learn of the new tracks what training learns of all: mixture, size of errors, and agreement.

    What is known of other tracks, and the widths of intervals, stay.
    """
    at, axis, panels = sampler.at, sampler.axis, [one.panel for one in sampler.species]

    def predict(batch: Any) -> Any:
        return model.by_member(dict(batch.inputs)).numpy()[..., 0, 0]

    known = model.hidden_before, model.relations_before
    hidden, in_common = (
        np.where(np.isfinite(before), before, new)
        for before, new in zip(known, learn_hidden(sampler, predict), strict=True)
    )
    model.hidden_agreement.assign(hidden)
    model.relations.assign(in_common)
    expected = expected_shares(panels, classes_of(axis), hidden)
    if sampler.is_new_species:
        learned_mixture, ease = learn_mixture(sampler, predict, expected)
        model.mixture.assign(_over(model.mixture, learned_mixture, at, at))
        model.ease.assign(_over(model.ease, ease, at, at))
    mixture_now = model.mixture.numpy()
    moments, shares, agreement = learn_absent(sampler, predict, expected, mixture_now, in_common)
    model.moments.assign(_over(model.moments, moments, at, at))
    model.shares.assign(_over(model.shares, shares, at, at))
    model.absent_agreement.assign(_over(model.absent_agreement, agreement, at, at))
    shares = zero_shot_shares(model, axis, panels)
    learned = learn_reliability(sampler, predict, shares, model.known_before)
    model.intervals.assign(learned.widths)
    model.agreement.assign(learned.agreement)
    new = (at, np.flatnonzero(sampler.new_assays))
    model.assay_errors.assign(_over(model.assay_errors, learned.assay_errors, new, new))


def _over(values: Any, other: Any, where: Any, there: Any = ...) -> npt.NDArray[np.float32]:
    """Return values with those of another array in some places."""
    changed = np.array(values)
    changed[where] = np.asarray(other)[there]
    return changed


def _tracks(axis: JointAxis, before: JointAxis) -> npt.NDArray[np.int64]:
    """Return the numbers that a model's tracks have on a larger axis."""
    number = {label: n for n, label in enumerate(track_labels(axis))}
    return np.array([number[label] for label in track_labels(before)], np.int64)
