"""Entries that training never draws, and the baselines that a prediction of them has to beat.

Average activity is the mean of the assay's other training experiments at the bin, read from the stores. The
mean is a constant, taken over all bins of the same experiments. Both leave out the experiment itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.compendium.read import open_signal, stored_layout
from epixs.sampling import Batch
from epixs.training.dataset import dataset_of
from epixs.training.verdict import KINDS, GroupError

MOST_CHUNKS = 2_048
"""Maximum number of chunks that are read from a store for average activity: 2 GB, a few seconds."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class HeldOut:
    """Entries that are never trained on, shape `(n, 1)` each, with the baselines' predictions of them.

    Parameters
    ----------
    axis
        Axis that the numbers in the batch refer to.
    batch
        The entries.
    average, mean
        Predictions of average activity and of the mean, shape `(n,)`; NaN if there is no other experiment,
        or if it was not looked up (`MOST_CHUNKS`).
    """

    axis: JointAxis
    batch: Batch
    average: Floats
    mean: Floats

    @cached_property
    def dataset(self) -> Any:
        """The entries as a dataset to predict from."""
        return dataset_of(self.batch)

    @cached_property
    def truth(self) -> Floats:
        """Observed values, shape `(n,)`."""
        return self.batch.value[:, 0]

    def errors_of(self, row: dict[str, float]) -> list[GroupError]:
        """Read errors by species and assay from a row of the history."""
        errors = []
        for (species, assay), mask in self._groups.items():
            values = {
                name: row.get(f"{kind}/{_group(species, assay)}", np.nan) for name, kind in KINDS.items()
            }
            errors.append(GroupError(species, assay, int(mask.sum()), **values))
        return errors

    @cached_property
    def _groups(self) -> dict[tuple[str, str], npt.NDArray[np.bool_]]:
        """Mask of the entries of each species and assay (`""`: all): those with both baselines, if any."""
        species = species_of_entries(self.axis, self.batch)
        compared = ~np.isnan(self.average) & ~np.isnan(self.mean)
        masks = {}
        for number, part in enumerate(self.axis.parts):
            whole = species == number
            if len(part.training):
                masks[part.species, ""] = whole & compared if (whole & compared).any() else whole
                assays = self.batch.assay[:, 0]
                for assay in np.unique(assays[whole]):
                    name, mask = part.store_name(self.axis.assays[assay]), whole & (assays == assay)
                    masks[part.species, name] = mask & compared if (mask & compared).any() else mask
        return masks

    def mse(self, predicted: Floats) -> float:
        """Return the mean squared error over all entries."""
        return float(np.mean((predicted.astype(np.float64) - self.truth) ** 2))

    def errors(self, predicted: Floats) -> list[GroupError]:
        """Compute errors by species and assay, of a prediction of shape `(n,)` and of the baselines."""
        squares = [
            (values.astype(np.float64) - self.truth) ** 2 for values in (predicted, self.average, self.mean)
        ]
        return [
            GroupError(species, assay, int(mask.sum()), *(_mean(square[mask]) for square in squares))
            for (species, assay), mask in self._groups.items()
        ]


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else float("nan")


def history_columns(errors: list[GroupError]) -> dict[str, float]:
    """Turn errors by group into columns of the history: `held_out_mse/SPECIES/ASSAY`, and the baselines'."""
    columns: dict[str, float] = {}
    for error in errors:
        for name in KINDS:
            columns[f"{KINDS[name]}/{_group(error.species, error.assay)}"] = getattr(error, name)
    return columns


def _group(species: str, assay: str) -> str:
    return f"{species}/{assay}" if assay else species


def with_baselines(axis: JointAxis, batch: Batch, seed: int = 0, known: JointAxis | None = None) -> HeldOut:
    """Add the baselines' predictions to held-out entries.

    Parameters
    ----------
    axis
        Axis that is trained over; nothing is said of species without training experiments.
    batch
        Entries; those with weight 0 are left out.
    seed
        Seed that chooses the chunks read for average activity, in stores too large to read them all.
    known
        Axis whose training experiments make the baselines, by default the same; for an extension, that of the
        extended model.
    """
    known = known or axis
    batch = batch.take(batch.weight[:, 0] > 0)
    average, mean = (np.full(len(batch.position), np.nan, np.float32) for _ in range(2))
    species = species_of_entries(axis, batch)
    for number, part in enumerate(known.parts):
        entries = np.flatnonzero(species == number)
        if entries.size and len(part.training):
            bins = batch.position[entries, 0].astype(np.int64) - axis.offsets(part.species)[0]
            labels = batch.biosample[entries, 0], batch.assay[entries, 0]
            average[entries] = average_activity(known, part, bins, *labels, seed=seed)
            mean[entries] = mean_signal(known, part, *labels)
    return HeldOut(axis, batch, average, mean)


def species_of_entries(axis: JointAxis, batch: Batch) -> npt.NDArray[np.int64]:
    """Return the number of the species in which each entry lies."""
    ends = np.cumsum([part.n_positions[0] for part in axis.parts])
    return np.searchsorted(ends, batch.position[:, 0], side="right").astype(np.int64)


def mean_signal(
    axis: JointAxis, part: SpeciesAxis, biosample: npt.NDArray[np.int32], assay: npt.NDArray[np.int32]
) -> Floats:
    """Return the mean of the assay's other training experiments for each pair, shape `(n,)`."""
    training = part.training
    names, assays = (
        axis.biosample_index(part.species, training["biosample"]),
        axis.assay_index(training["assay"]),
    )
    means = training["signal_mean"].to_numpy(dtype=np.float64)
    predicted = np.full(assay.size, np.nan, np.float32)
    for b, a in {*zip(biosample.tolist(), assay.tolist(), strict=True)}:
        others = means[(assays == a) & (names != b)]
        if others.size:
            predicted[(biosample == b) & (assay == a)] = others.mean()
    return predicted


def average_activity(
    axis: JointAxis,
    part: SpeciesAxis,
    bins: npt.NDArray[np.int64],
    biosample: npt.NDArray[np.int32],
    assay: npt.NDArray[np.int32],
    *,
    seed: int = 0,
) -> Floats:
    """Read the mean of the assay's other training experiments at each bin of a species, shape `(n,)`."""
    training = part.training
    rows = training["row"].to_numpy(dtype=np.int64)
    names, assays = (
        axis.biosample_index(part.species, training["biosample"]),
        axis.assay_index(training["assay"]),
    )
    layout, signal = stored_layout(part.source), open_signal(part.source)
    place = bins + part.first_bin
    column, group = place // layout.chunk_bins, rows // layout.chunk_rows
    columns = np.unique(column)
    most = max(1, MOST_CHUNKS // np.unique(group[np.isin(assays, assay)]).size) if rows.size else 1
    if columns.size > most:
        columns = np.random.default_rng([seed, 0xBA5E]).choice(columns, most, replace=False)
    total, count = np.zeros(bins.size), np.zeros(bins.size, dtype=np.int64)
    for at in columns:
        entries = np.flatnonzero(column == at)
        first = int(at) * layout.chunk_bins
        wanted = np.isin(assays, assay[entries])
        for number in np.unique(group[wanted]):
            low = int(number) * layout.chunk_rows
            block = np.asarray(
                signal[low : low + layout.chunk_rows, first : first + layout.chunk_bins], dtype=np.float32
            )
            for experiment in np.flatnonzero(wanted & (group == number)):
                chosen = entries[
                    (assay[entries] == assays[experiment]) & (biosample[entries] != names[experiment])
                ]
                values = block[rows[experiment] - low, place[chosen] - first]
                known = ~np.isnan(values)
                total[chosen[known]] += values[known]
                count[chosen[known]] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
