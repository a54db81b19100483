"""Compare an imputed and an observed compendium: match their rows, and read their values."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from epixs.catalog.pairs import why_unknown
from epixs.compendium.read import experiments_of, open_compendium, provenance_of, regions_of
from epixs.compendium.schema import SPREAD
from epixs.errors import AxisError, EpixsWarning
from epixs.evaluation.columns import Signal
from epixs.evaluation.scores import check_fit
from epixs.evaluation.steps import to_units
from epixs.genome.regions import Regions
from epixs.imputation.roles import GAP_FILL, ZERO_SHOT, roles_in
from epixs.report.figures.canvas import shown

BLOCK_BINS = 1 << 20
"""Number of bins of whole tracks that are read at a time."""

Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Track:
    """One imputed experiment, and the observed rows that it is compared with.

    Parameters
    ----------
    biosample, assay
        Its labels, as the imputed store has them.
    imputed
        Its row in the imputed store.
    observed
        Its row in the observed store; None if there is none, for the reason in `why`.
    average
        Rows of the other biosamples' experiments of the assay that were trained on.
    why
        Why there is no observed row; empty where there is one.
    role
        Its role, as in `imputation.roles`.
    beside
        Rows of the biosample's other experiments that were trained on.
    highest
        Highest value of the assay in training, arcsinh units; 0 if the store does not say.
    """

    biosample: str
    assay: str
    imputed: int
    observed: int | None
    average: tuple[int, ...]
    why: str = ""
    role: str = GAP_FILL
    beside: tuple[int, ...] = ()
    highest: float = 0.0

    @property
    def name(self) -> str:
        """Both labels."""
        return f"{self.biosample} / {self.assay}"

    @property
    def is_zero_shot(self) -> bool:
        """Whether no experiment of its species with this assay was trained on."""
        return self.role == ZERO_SHOT

    def titled(self, short: str) -> str:
        """Title of its picture, with a short name of the assay, and with what is unusual about it."""
        unusual = [self.role] * (self.role != GAP_FILL) + ["not measured"] * (self.observed is None)
        return f"{short} in {shown(self.biosample)}" + (f" ({', '.join(unusual)})" if unusual else "")


@dataclass(frozen=True, eq=False)
class Comparison:
    """An imputed and an observed compendium of one species and the same bins, opened.

    Parameters
    ----------
    imputed, store
        The two compendia as given: paths, or Datasets.
    predicted, observed
        The two compendia as Datasets.
    """

    imputed: str | Path | xr.Dataset
    store: str | Path | xr.Dataset
    predicted: xr.Dataset
    observed: xr.Dataset

    @classmethod
    def open(cls, imputed: str | Path | xr.Dataset, store: str | Path | xr.Dataset) -> Comparison:
        """Open both, and check that they fit.

        Raises
        ------
        AxisError
            If they do not fit.
        """
        predicted, observed = (
            place if isinstance(place, xr.Dataset) else open_compendium(place) for place in (imputed, store)
        )
        check_fit(_name(imputed), predicted, _name(store), observed)
        return cls(imputed, store, predicted, observed)

    @cached_property
    def regions(self) -> Regions:
        """The bins of both."""
        return regions_of(self.observed)

    @property
    def species(self) -> str:
        """Name of the species."""
        return str(self.observed.attrs["species"])

    @property
    def has_spread(self) -> bool:
        """Whether the imputed compendium has a `spread`, the expected error of its values."""
        return (
            SPREAD.name in self.predicted
            and self.predicted[SPREAD.name].dims == self.predicted["signal"].dims
        )

    @cached_property
    def _provenance(self) -> dict[str, Any]:
        return provenance_of(self.predicted)

    @property
    def _training(self) -> dict[str, Any]:
        training: dict[str, Any] = self._provenance["training"][self.species]
        return training

    def _joint(self, assay: str) -> str:
        """Return the model's name of an assay, whichever of its names is given."""
        return str(self._training.get("aliases", {}).get(assay, assay))

    @cached_property
    def _imputed_rows(self) -> dict[tuple[str, str], int]:
        labels = (self.predicted[name].to_numpy() for name in ("biosample", "assay"))
        return {(str(b), self._joint(str(a))): row for row, (b, a) in enumerate(zip(*labels, strict=True))}

    @cached_property
    def _table(self) -> pd.DataFrame:
        """The observed experiments, with the model's names of their assays."""
        table = experiments_of(self.observed)
        return table.assign(joint=[self._joint(str(assay)) for assay in table["assay"]])

    def track(self, biosample: str, assay: str) -> Track:
        """Find an experiment by its labels.

        Raises
        ------
        AxisError
            If the imputed store does not hold it.
        """
        joint, table = self._joint(assay), self._table
        named = table[(table["biosample"] == biosample) & (table["joint"] == joint)]
        at = self._imputed_rows.get((biosample, joint))
        if at is None:
            raise self._unknown(biosample, assay, measured=len(named) > 0)
        measured = named.index[named["status"] == "ok"]
        trained = {tuple(pair) for pair in self._training["experiments"]}
        pair = pd.DataFrame({"biosample": [biosample], "assay": [joint]})
        (role,) = roles_in(pair, self.species, self._provenance)
        seen = [pair in trained for pair in zip(table["biosample"], table["joint"], strict=True)]
        usable = table[np.array(seen, bool) & (table["status"] == "ok").to_numpy()]
        average = usable.index[(usable["joint"] == joint) & (usable["biosample"] != biosample)]
        beside = usable.index[(usable["joint"] != joint) & (usable["biosample"] == biosample)]
        why = ""
        if not len(measured):
            why = f"cannot be used ({named['status'].iloc[0]})" if len(named) else "was not measured"
        return Track(
            biosample,
            str(self.predicted["assay"].to_numpy()[at]),
            at,
            int(measured[0]) if len(measured) else None,
            tuple(map(int, average)),
            why,
            role,
            tuple(map(int, beside)),
            self._provenance.get("ranges", {}).get(joint, (0.0, 0.0))[1],
        )

    def tracks(self, biosample: str | None = None, assay: str | None = None) -> list[Track]:
        """List all imputed experiments with these labels. Those that were also measured come first.

        Raises
        ------
        AxisError
            If there is none.
        """
        joint = None if assay is None else self._joint(assay)
        tracks = [
            self.track(b, a)
            for b, a in self._imputed_rows
            if (biosample is None or b == biosample) and (joint is None or a == joint)
        ]
        if not tracks:
            raise self._unknown(biosample, assay, measured=False)
        return sorted(tracks, key=lambda track: bool(track.why))

    def _unknown(self, biosample: str | None, assay: str | None, *, measured: bool) -> AxisError:
        if measured:
            return AxisError(
                f"{biosample} / {assay} was measured and is not imputed in {_name(self.imputed)}",
                next_step="impute it: name it in a table for `epixs impute --pairs`, or use --all",
            )
        known = {str(name) for name in self.predicted["biosample"].to_numpy()}
        assays = {str(name) for name in self.predicted["assay"].to_numpy()}
        wanted = " / ".join(name for name in (biosample, assay) if name is not None)
        why = why_unknown(biosample or min(known), assay or min(assays), known, assays)
        return AxisError(
            f"{_name(self.imputed)} does not hold the experiment",
            got=f"{wanted}: {why}",
            expected="one of its experiments",
            next_step=f"list them with `epixs info {_name(self.imputed)}`",
        )

    def units(self, dataset: xr.Dataset, rows: Sequence[int]) -> list[str]:
        """List the tracks' own units of some rows."""
        kinds = dict.fromkeys(str(kind) for kind in dataset["output_type"].to_numpy()[list(rows)])
        return list(dict.fromkeys(part for kind in kinds for part in kind.split(" | ")))

    def at(self, locus: str) -> Place:
        """Find the bins of a locus, in order along the chromosome."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EpixsWarning)  # the figure's notes say it
            bins = self.regions.locate(locus)
        return self.place(bins)

    def place(self, bins: npt.NDArray[np.int64]) -> Place:
        """Sort some bins of one chromosome along it."""
        table = self.regions.table(bins).sort_values("start", kind="stable")
        return Place(
            str(table["chrom"].iloc[0]),
            table["bin"].to_numpy(),
            table["start"].to_numpy(),
            table["end"].to_numpy(),
        )

    def values(self, track: Track, bins: npt.NDArray[np.int64]) -> Mapping[str, Values]:
        """Read observed, imputed, spread and average of a track at some bins, as far as they exist.

        A zero-shot track has no average of its assay. Instead it has `"mean beside"`, the mean of the
        biosample's other tracks, as in the baseline "biosample mean".
        """
        values = {"imputed": self.predicted["signal"][track.imputed].isel(bin=bins).to_numpy()}
        if track.observed is not None:
            values["observed"] = self.observed["signal"][track.observed].isel(bin=bins).to_numpy()
        if track.average:
            rows = self.observed["signal"][list(track.average)].isel(bin=bins)
            values["average"] = rows.mean("experiment").to_numpy()
        if track.is_zero_shot and track.beside:
            values["mean beside"] = self.read(track.beside, bins).mean(axis=0)
        if self.has_spread:
            values[SPREAD.name] = self.predicted[SPREAD.name][track.imputed].isel(bin=bins).to_numpy()
        return values

    def read(self, rows: Sequence[int], bins: npt.NDArray[np.int64]) -> Values:
        """Read some observed rows at some bins, shape `(row, bin)`, arcsinh units."""
        values: Values = self.observed["signal"][list(rows)].isel(bin=bins).to_numpy()
        return values

    def blocks(
        self, track: Track, bins: npt.NDArray[np.int64] | None = None
    ) -> Iterator[tuple[int, Mapping[str, Values]]]:
        """Yield observed, imputed and spread of a measured track, block by block, or of some bins at once."""
        if bins is not None:
            yield 0, self.values(track, bins)
            return
        assert track.observed is not None
        truth, guess = Signal.open(self.store), Signal.open(self.imputed)
        for start in range(0, truth.n_bins, BLOCK_BINS):
            stop = min(truth.n_bins, start + BLOCK_BINS)
            values = {
                "observed": to_units(truth.read([track.observed], start, stop)[track.observed]),
                "imputed": to_units(guess.read([track.imputed], start, stop)[track.imputed]),
            }
            if self.has_spread:
                values[SPREAD.name] = self.predicted[SPREAD.name][track.imputed, start:stop].to_numpy()
            yield start, values


@dataclass(frozen=True, eq=False)
class Place:
    """Bins along one chromosome.

    Parameters
    ----------
    chrom
        The chromosome.
    bins
        Their numbers in the compendia.
    start, end
        Where each begins and ends, bp.
    """

    chrom: str
    bins: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]

    @property
    def locus(self) -> str:
        """The stretch from the first bin to the last, as people write it."""
        return f"{self.chrom}:{int(self.start.min()):,}-{int(self.end.max()):,}"


def _name(place: str | Path | xr.Dataset) -> str:
    return f"the {place.attrs.get('kind', 'given')} Dataset" if isinstance(place, xr.Dataset) else str(place)
