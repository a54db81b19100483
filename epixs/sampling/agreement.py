"""How well tracks that nobody measured are expected to agree with what would be measured.

The agreement is the Pearson correlation over bins. It is known of each training track, and tracks that one
network has never seen show by how much lower it is without having seen them. On Fisher's scale, the inverse
hyperbolic tangent, it is fitted by biosample and by assay, as the size of a track is (`scales`): a deeply
sequenced biosample and an assay with the same peaks in all biosamples are predicted well.

Of an assay that a species lacks, it is known how well it is predicted in the species that have it, when it is
hidden from the networks. In a species where they never saw it, a part of that is left. With what is expected
of the mean of a biosample's tracks, this says what is expected of their mixture. How much better or worse
such mixtures are in a species, for instance because its tracks are less noisy, is known from the assays that
are hidden from members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from epixs.sampling.scales import Fitted, fit_species, numbers_of

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

USUAL_AGREEMENT = (1.0, 0.5)
"""Expected strength of the pull of biosample and assay effects towards 0, in tracks."""

FALL = 0.6
"""Part of the agreement, on Fisher's scale, that is left of an assay in a species where it was never seen."""

USUAL = 0.5
"""Usual agreement of a hidden assay, on Fisher's scale, for what is not known of any or of many."""

MOST_BETTER = 2.0
"""Limit of how many times better, or worse, assays are taken to be predicted in a species than expected."""

LARGEST = 0.999
"""Correlation beyond which Fisher's scale is cut."""


def fisher_scale(pearson: npt.ArrayLike) -> Doubles:
    """Put correlations on Fisher's scale, cut at `LARGEST`."""
    return np.asarray(np.arctanh(np.clip(pearson, -LARGEST, LARGEST)))


def fisher(predicted: npt.NDArray[np.floating], value: npt.NDArray[np.floating]) -> float:
    """Pearson correlation on Fisher's scale; 0 if predictions are constant, NaN if the values are."""
    if not value.size or np.ptp(value) == 0:
        return float("nan")
    if np.ptp(predicted) == 0:
        return 0.0
    centred = [np.asarray(one, np.float64) - np.mean(one, dtype=np.float64) for one in (predicted, value)]
    size = np.sqrt((centred[0] @ centred[0]) * (centred[1] @ centred[1]))
    return float(fisher_scale(centred[0] @ centred[1] / size)) if size > 0 else 0.0


def expected_share(hidden: float) -> float:
    """Correlation that is expected of a zero-shot track: its best contrast, relative to that of its assay.

    Parameters
    ----------
    hidden
        Agreement of the assay in the species that have it, when it is hidden; NaN if it is not known.
    """
    return float(np.tanh(FALL * max(0.0, hidden if np.isfinite(hidden) else USUAL)))


def known_elsewhere(hidden: npt.NDArray[np.floating], at: int) -> Floats:
    """Average what is known of hidden assays over all species but one: `(species, assay, ...)` by species."""
    others = np.delete(hidden, at, axis=0)
    known = np.isfinite(others)
    total, count = np.where(known, others, 0).sum(axis=0), known.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def expected_agreement(shares: Floats, of_parts: Floats, alike: Doubles) -> float:
    """Return how well a mixture is expected to agree with its track, on Fisher's scale.

    Parameters
    ----------
    shares, of_parts
        Share of each standardised part, and the correlation that is expected of it, shape `(part,)`.
    alike
        Correlations of the parts with each other, shape `(part, part)`. Less than 0 is taken for 0: if parts
        contradict each other, not both can agree with the track as expected.
    """
    variance = float(shares @ np.maximum(alike, 0) @ shares)
    return float(fisher_scale(shares @ of_parts / np.sqrt(variance))) if variance > 0 else 0.0


def ease(found: Mapping[int, Sequence[float]], expected: Mapping[int, Sequence[float]]) -> float:
    """Return how many times better than expected a species' hidden assays are predicted, on Fisher's scale.

    It is pulled towards 1 as by one more assay of `USUAL` agreement, and limited by `MOST_BETTER`.

    Parameters
    ----------
    found, expected
        For each hidden assay, the agreement of its tracks with their prediction, and what was expected.
    """
    sums = [sum(float(np.mean(of_assay)) for of_assay in one.values()) for one in (found, expected)]
    better = (max(0.0, sums[0]) + USUAL) / (max(0.0, sums[1]) + USUAL)
    return float(np.clip(better, 1 / MOST_BETTER, MOST_BETTER))


def fit_agreement(
    agreement: Sequence[npt.NDArray[np.floating]],
    labels: Sequence[tuple[Ints, Ints]],
    n_biosamples: Sequence[int],
    classes: Ints,
) -> list[Fitted]:
    """Fit the agreement of all species' tracks.

    Parameters
    ----------
    agreement
        Per species: that of each training track on Fisher's scale; NaN where it is not known.
    labels
        Per species: biosample and assay of each.
    n_biosamples, classes
        As in `scales.fit_species`.

    Returns
    -------
    Per species the effects, and the agreement expected of each training track: as if the track had not been
    measured, and as if its whole assay had not; NaN where the track's agreement is not known.
    """
    known = [np.isfinite(values) for values in agreement]
    fits = fit_species(
        [values[None, mask].astype(np.float64) for values, mask in zip(agreement, known, strict=True)],
        [(biosample[mask], assay[mask]) for (biosample, assay), mask in zip(labels, known, strict=True)],
        n_biosamples,
        (USUAL_AGREEMENT,),
        classes,
    )
    spread_out = []
    for [(effects, *parts)], mask in zip(fits, known, strict=True):
        without_track, without_assay = (np.full(mask.size, np.nan) for _ in range(2))
        without_track[mask], without_assay[mask] = parts
        spread_out.append((effects, without_track, without_assay))
    return spread_out


def expected_pearson(
    fit: Fitted,
    absent: npt.NDArray[np.floating],
    biosample: Ints,
    assay: Ints,
    known: tuple[Ints, Ints],
) -> Floats:
    """Expected Pearson correlation of pairs of one species, as if none of them had been measured.

    Parameters
    ----------
    fit
        The species' part of `fit_agreement`.
    absent
        Agreement that is expected of each assay's tracks if the species lacks it; NaN where it is not known.
    biosample, assay
        Numbers of the pairs' labels.
    known
        Labels of the species' training tracks.

    Returns
    -------
    Shape `(pair,)`; NaN where nothing is known.
    """
    effects, without_track, _ = fit
    agreement = effects.of(biosample, assay)
    measured = np.unique(known[0])
    for lacking in np.setdiff1d(assay, known[1]) if measured.size else ():
        pairs = assay == lacking
        usual = effects.of(measured, np.full_like(measured, lacking)).mean()
        agreement[pairs] = absent[lacking] + FALL * (agreement[pairs] - usual)
    track = numbers_of(biosample, assay, known)
    unseen = np.full(agreement.size, np.nan)
    unseen[track >= 0] = without_track[track[track >= 0]]
    agreement = np.where(np.isfinite(unseen), unseen, agreement)
    return np.tanh(agreement).astype(np.float32)
