"""The joint axis: union of assays x union of biosamples (separate for each species) x all species' bins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from epixs.axis.aliases import Alias
from epixs.catalog.pairs import Pair, why_unknown
from epixs.compendium.picture import page, pairs_svg
from epixs.errors import AxisError, closest, counted
from epixs.genome.regions import Regions

MEDIUM_BINS = 10

COARSE_BINS = 200
"""Numbers of bins in one 250 bp and in one 5 kbp position; both are counted from the start of a region."""


@dataclass(frozen=True)
class SpeciesAxis:
    """One species' share of the joint axis.

    Parameters
    ----------
    species, source, plan
        Name of the species, its store, and the fingerprint of the store's plan.
    regions
        Regions of the species' bins.
    biosamples
        The species' biosamples, sorted. Their numbers continue from one species to the next.
    experiments
        One row per experiment: `row` (in the store), `biosample`, `assay`, `assay_class`, `signal_mean`,
        `signal_min`, `signal_max`, `excluded`, and `held_out` (whole, to choose when training stops).
    first_bin
        The store's bin at which the regions begin; 0 except for a window.
    aliases
        Assays with another name in the store: maps the store's name to the name on this axis.
    """

    species: str
    source: str
    plan: str
    regions: Regions
    biosamples: tuple[str, ...]
    experiments: pd.DataFrame
    first_bin: int = 0
    aliases: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"SpeciesAxis({self.species}: {len(self.biosamples)} biosamples, {len(self.training)} of "
            f"{len(self.experiments)} experiments to train on, {self.n_positions[0]:,} bins of {self.source})"
        )

    @property
    def alias_rows(self) -> list[Alias]:
        """The aliases as rows of a table."""
        return [Alias(joint, name, self.species) for name, joint in self.aliases.items()]

    def store_name(self, assay: str) -> str:
        """Return the store's name of an assay; if the store has no or several names, the name given."""
        names = [name for name, joint in self.aliases.items() if joint == assay]
        return names[0] if len(names) == 1 else assay

    @property
    def training(self) -> pd.DataFrame:
        """The experiments that may be trained on."""
        return self.experiments[~(self.experiments["excluded"] | self.experiments["held_out"])]

    @cached_property
    def n_positions(self) -> tuple[int, int, int]:
        """Number of 25 bp, 250 bp and 5 kbp positions."""
        bins = self.regions.n_bins_each
        return (
            int(bins.sum()),
            int((-(-bins // MEDIUM_BINS)).sum()),
            int((-(-bins // COARSE_BINS)).sum()),
        )

    def bins_of_block(self, block: int) -> tuple[int, int]:
        """Return the first bin of a 5 kbp position, and the bin after its last."""
        sizes = self.regions.n_bins_each
        firsts = np.concatenate([[0], np.cumsum(-(-sizes // COARSE_BINS))])
        region = int(np.searchsorted(firsts, block, side="right")) - 1
        first = int(self.regions.first_bin[region])
        start = first + (block - int(firsts[region])) * COARSE_BINS
        return start, min(start + COARSE_BINS, first + int(sizes[region]))

    def window(self, first: int, stop: int) -> SpeciesAxis:
        """Return the species' axis over the 5 kbp positions `[first, stop)` alone."""
        start, end = self.bins_of_block(first)[0], self.bins_of_block(stop - 1)[1]
        return replace(self, regions=self.regions.window(start, end), first_bin=self.first_bin + start)

    def positions(self, bins: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Return the 25 bp, 250 bp and 5 kbp positions of bins in this species, shape `(len(bins), 3)`."""
        region = np.searchsorted(self.regions.first_bin, bins, side="right") - 1
        offset = bins - self.regions.first_bin[region]
        medium, coarse = self._first_positions
        columns = [bins, medium[region] + offset // MEDIUM_BINS, coarse[region] + offset // COARSE_BINS]
        return np.stack(columns, axis=1).astype(np.int32)

    @cached_property
    def _first_positions(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The first 250 bp and 5 kbp position of each region."""
        sizes = self.regions.n_bins_each
        medium, coarse = (
            np.concatenate([[0], np.cumsum(-(-sizes // width))[:-1]]) for width in (MEDIUM_BINS, COARSE_BINS)
        )
        return medium, coarse


@dataclass(frozen=True)
class JointAxis:
    """The experiments and positions of all species on which a model is trained.

    Parameters
    ----------
    parts
        One `SpeciesAxis` per species, in the order in which their bins are concatenated.
    assays
        Union of the species' assays, sorted.
    """

    parts: tuple[SpeciesAxis, ...]
    assays: tuple[str, ...]
    assay_classes: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"JointAxis({len(self.assays)} assays; {', '.join(map(repr, self.parts))})"

    def _repr_html_(self) -> str:
        """Show in a notebook the sizes, and which pairs are measured or can be imputed."""
        return page("epixs joint axis", self.sizes, self.pictures)

    @property
    def sizes(self) -> list[tuple[str, object]]:
        """Names and values that a notebook shows of the axis."""
        return [
            ("species", ", ".join(self.species)),
            ("assays", len(self.assays)),
            ("biosamples", self.n_biosamples),
            ("experiments", self.n_experiments),
            ("experiments to train on", self.n_training),
            ("bins of 25 bp", self.n_positions[0]),
        ]

    @property
    def pictures(self) -> list[tuple[str, str]]:
        """Matrix of each species' pairs as SVG: measured, set aside, or imputable."""
        assays = {assay for part in self.parts for assay in part.training["assay"]}
        pictures = []
        for part in self.parts:
            table = part.experiments
            biosamples = set(part.training["biosample"])
            states = {(b, a): "imputable" for b in part.biosamples if b in biosamples for a in assays}
            aside = (table["excluded"] | table["held_out"]).tolist()
            for b, a, is_aside in zip(table["biosample"], table["assay"], aside, strict=True):
                states[b, a] = "set aside" if is_aside else "measured"
            pictures.append((part.species, pairs_svg(part.biosamples, self.assays, states)))
        return pictures

    @property
    def species(self) -> tuple[str, ...]:
        """Names of the species."""
        return tuple(part.species for part in self.parts)

    @property
    def n_biosamples(self) -> int:
        """Number of biosamples of all species together."""
        return sum(len(part.biosamples) for part in self.parts)

    @property
    def n_positions(self) -> tuple[int, int, int]:
        """Number of 25 bp, 250 bp and 5 kbp positions of all species together."""
        totals = np.sum([part.n_positions for part in self.parts], axis=0)
        return int(totals[0]), int(totals[1]), int(totals[2])

    @property
    def n_experiments(self) -> int:
        """Number of experiments of all species together."""
        return sum(len(part.experiments) for part in self.parts)

    @property
    def n_training(self) -> int:
        """Number of experiments that may be trained on."""
        return sum(len(part.training) for part in self.parts)

    @property
    def n_held_out(self) -> int:
        """Number of experiments that are held out whole."""
        return sum(int(part.experiments["held_out"].sum()) for part in self.parts)

    def hold_out(self, count: int, seed: int) -> JointAxis:
        """Hold some experiments out whole, chosen by seed, to measure the error on unseen tracks in training.

        An experiment is chosen only if its biosample and its assay have another training experiment in its
        species.

        Raises
        ------
        AxisError
            If there are fewer than `count` such experiments.
        """
        if not count:
            return self
        candidates = [(number, row) for number, part in enumerate(self.parts) for row in part.training.index]
        chosen: set[tuple[int, int]] = set()
        left = [part.training for part in self.parts]
        for at in np.random.Generator(np.random.PCG64([seed, 0x40])).permutation(len(candidates)):
            number, row = candidates[int(at)]
            table = left[number]
            alike = table.loc[row, ["biosample", "assay"]]
            others = table.drop(row)
            if all((others[name] == alike[name]).any() for name in ("biosample", "assay")):
                left[number] = others
                chosen.add((number, row))
            if len(chosen) == count:
                break
        if len(chosen) < count:
            raise AxisError(
                "held_out_tracks",
                got=count,
                expected=f"at most {len(chosen)}, whose biosample and assay have others to train on",
            )
        parts = tuple(
            replace(
                part,
                experiments=part.experiments.assign(
                    held_out=[(number, row) in chosen for row in part.experiments.index]
                ),
            )
            for number, part in enumerate(self.parts)
        )
        return replace(self, parts=parts)

    def held_out_alone(self) -> JointAxis:
        """Return an axis whose training experiments are those that this one holds out."""
        parts = tuple(
            replace(
                part,
                experiments=part.experiments.assign(excluded=~part.experiments["held_out"], held_out=False),
            )
            for part in self.parts
        )
        return replace(self, parts=parts)

    def mean_signal(self) -> float:
        """Compute the mean training value over all positions and their experiments; 0 if there are none."""
        parts = [part for part in self.parts if len(part.training)]
        means = [float(part.training["signal_mean"].mean()) for part in parts]
        return float(np.average(means, weights=[part.n_positions[0] for part in parts])) if parts else 0.0

    def part(self, species: str) -> SpeciesAxis:
        """Return the axis of one species.

        Raises
        ------
        AxisError
            If the axis has no such species.
        """
        for part in self.parts:
            if part.species == species:
                return part
        raise AxisError("species", got=repr(species), expected=f"one of {', '.join(self.species)}")

    def offsets(self, species: str) -> npt.NDArray[np.int32]:
        """Return the first 25 bp, 250 bp and 5 kbp position of a species, shape `(3,)`."""
        before = self.parts[: self.species.index(species)]
        totals = np.sum([part.n_positions for part in before] or [(0, 0, 0)], axis=0)
        return np.asarray(totals, dtype=np.int32)

    def biosample_index(self, species: str, biosamples: Iterable[str]) -> npt.NDArray[np.int32]:
        """Return the numbers of a species' biosamples on the joint axis."""
        at = self.species.index(species)
        first = sum(len(part.biosamples) for part in self.parts[:at])
        number = {name: first + i for i, name in enumerate(self.parts[at].biosamples)}
        return np.array([number[name] for name in biosamples], dtype=np.int32)

    def assay_index(self, assays: Iterable[str]) -> npt.NDArray[np.int32]:
        """Return the numbers of assays on the joint axis."""
        number = {name: i for i, name in enumerate(self.assays)}
        return np.array([number[name] for name in assays], dtype=np.int32)

    def missing_pairs(self, species: str) -> list[Pair]:
        """List every (biosample of the species, assay of the union) that was not trained on."""
        part = self.part(species)
        trained = set(zip(part.training["biosample"], part.training["assay"], strict=True))
        return [(species, b, a) for b in part.biosamples for a in self.assays if (b, a) not in trained]

    def units(self, species: str | None = None) -> dict[str, list[str]]:
        """List the output types (tracks' units) of each assay's training experiments in `species` or all."""
        by_assay: dict[str, list[str]] = {}
        for part in self.parts:
            if species in (None, part.species):
                for assay, kind in zip(part.training["assay"], part.training["output_type"], strict=True):
                    kinds = by_assay.setdefault(assay, [])
                    kinds += [kind] if kind not in kinds else []
        return by_assay

    def joint_pair(self, pair: Pair) -> Pair:
        """Rename the assay of a pair from its name in the species' store to its name on this axis."""
        species, biosample, assay = pair
        names = self.part(species).aliases if species in self.species else {}
        return species, biosample, names.get(assay, assay)

    def all_pairs(self, species: str) -> list[Pair]:
        """List every (biosample of the species, assay of the union)."""
        return [(species, b, a) for b in self.part(species).biosamples for a in self.assays]

    def exclude(self, pairs: Sequence[Pair]) -> JointAxis:
        """Exclude experiments: they are never trained on, nor used to choose when training stops.

        Raises
        ------
        AxisError
            If a pair is not an experiment of the axis, or no experiment is left.
        """
        pairs = [self.joint_pair(pair) for pair in pairs]
        known = {
            (part.species, row.biosample, row.assay)
            for part in self.parts
            for row in part.experiments.itertuples()
        }
        unknown = [pair for pair in pairs if pair not in known]
        if unknown:
            raise AxisError(
                f"no experiment of these compendia: {counted(len(unknown), 'excluded pair')}",
                got="; ".join(f"{' / '.join(pair)}: {self._why_unknown(pair)}" for pair in unknown[:3]),
                expected="species, biosample and assay of an observed experiment",
                next_step="list the experiments with `epixs info STORE`",
            )
        wanted = set(pairs)
        parts = tuple(
            replace(
                part,
                experiments=part.experiments.assign(
                    excluded=[
                        (part.species, b, a) in wanted
                        for b, a in zip(part.experiments["biosample"], part.experiments["assay"], strict=True)
                    ]
                ),
            )
            for part in self.parts
        )
        axis = replace(self, parts=parts)
        if axis.n_training == 0:
            raise AxisError("every experiment is excluded", expected="at least one to train on")
        return axis

    def _why_unknown(self, pair: Pair) -> str:
        species, biosample, assay = pair
        if species not in self.species:
            return f"unknown species {species!r}{closest(species, self.species)}"
        part = self.part(species)
        assays = {part.store_name(name) for name in part.experiments["assay"]}
        return why_unknown(biosample, assay, set(part.experiments["biosample"]), assays)
