"""The joint axis: union of assays x biosamples kept apart by species x concatenation of the species' bins."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from epixs.compendium.location import absolute
from epixs.compendium.store import experiments_of, open_compendium, regions_of
from epixs.errors import AxisError, closest
from epixs.genome import Regions
from epixs.tables import read_tsv

MEDIUM_BINS = 10
COARSE_BINS = 200
"""Bins in one 250 bp and in one 5 kbp position; both are counted inside a region."""

Pair = tuple[str, str, str]
"""`(species, biosample, assay)`"""


@dataclass(frozen=True)
class SpeciesAxis:
    """One species' share of the joint axis.

    Parameters
    ----------
    species, source, plan
        Name, store, and the store's plan fingerprint.
    regions
        Places the species' bins.
    biosamples
        The species' biosamples, sorted; they are numbered through over the species.
    experiments
        One row each: `row` (in the store), `biosample`, `assay`, `assay_class`, `signal_min`,
        `signal_max`, `excluded`, and `held_out` (whole, to choose when training stops).
    first_bin
        The store's bin at which the regions begin; 0 but for a window.
    """

    species: str
    source: str
    plan: str
    regions: Regions
    biosamples: tuple[str, ...]
    experiments: pd.DataFrame
    first_bin: int = 0

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
        """First bin of a 5 kbp position, and the bin after its last."""
        sizes = self.regions.n_bins_each
        firsts = np.concatenate([[0], np.cumsum(-(-sizes // COARSE_BINS))])
        region = int(np.searchsorted(firsts, block, side="right")) - 1
        first = int(self.regions.first_bin[region])
        start = first + (block - int(firsts[region])) * COARSE_BINS
        return start, min(start + COARSE_BINS, first + int(sizes[region]))

    def window(self, first: int, stop: int) -> SpeciesAxis:
        """The 5 kbp positions `[first, stop)` alone."""
        start, end = self.bins_of_block(first)[0], self.bins_of_block(stop - 1)[1]
        return replace(self, regions=self.regions.window(start, end), first_bin=self.first_bin + start)

    def positions(self, bins: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """25 bp, 250 bp and 5 kbp positions of bins, shape `(len(bins), 3)`, within this species."""
        sizes = self.regions.n_bins_each
        region = np.searchsorted(self.regions.first_bin, bins, side="right") - 1
        offset = bins - self.regions.first_bin[region]
        columns = [bins]
        for width in (MEDIUM_BINS, COARSE_BINS):
            first = np.concatenate([[0], np.cumsum(-(-sizes // width))[:-1]])
            columns.append(first[region] + offset // width)
        return np.stack(columns, axis=1).astype(np.int32)


@dataclass(frozen=True)
class JointAxis:
    """Everything a model is trained over.

    Parameters
    ----------
    parts
        One a species, in the order their bins are concatenated.
    assays
        Union of the species' assays, sorted.
    """

    parts: tuple[SpeciesAxis, ...]
    assays: tuple[str, ...]
    assay_classes: dict[str, str] = field(default_factory=dict)

    @property
    def species(self) -> tuple[str, ...]:
        """Names of the species."""
        return tuple(part.species for part in self.parts)

    @property
    def n_biosamples(self) -> int:
        """Biosamples of all species together."""
        return sum(len(part.biosamples) for part in self.parts)

    @property
    def n_positions(self) -> tuple[int, int, int]:
        """25 bp, 250 bp and 5 kbp positions of all species together."""
        totals = np.sum([part.n_positions for part in self.parts], axis=0)
        return int(totals[0]), int(totals[1]), int(totals[2])

    @property
    def n_experiments(self) -> int:
        """Experiments of all species together."""
        return sum(len(part.experiments) for part in self.parts)

    @property
    def n_training(self) -> int:
        """Experiments that may be trained on."""
        return sum(len(part.training) for part in self.parts)

    @property
    def targets(self) -> tuple[str, ...]:
        """Species that zero-shot is meant for: those with excluded experiments, else the first."""
        chosen = tuple(part.species for part in self.parts if part.experiments["excluded"].any())
        return chosen or self.species[:1]

    @property
    def n_held_out(self) -> int:
        """Experiments that are held out whole."""
        return sum(int(part.experiments["held_out"].sum()) for part in self.parts)

    def hold_out(self, count: int, seed: int) -> JointAxis:
        """Hold some experiments out whole, chosen by seed, to see how unseen tracks fare in training.

        Only those whose biosample and whose assay have another training experiment in their species.

        Raises
        ------
        AxisError
            If there are fewer of them.
        """
        if not count:
            return self
        every = [(number, row) for number, part in enumerate(self.parts) for row in part.training.index]
        chosen: set[tuple[int, int]] = set()
        left = [part.training for part in self.parts]
        for at in np.random.Generator(np.random.PCG64([seed, 0x40])).permutation(len(every)):
            number, row = every[int(at)]
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
        """An axis whose training experiments are those that this one holds out."""
        parts = tuple(
            replace(
                part,
                experiments=part.experiments.assign(excluded=~part.experiments["held_out"], held_out=False),
            )
            for part in self.parts
        )
        return replace(self, parts=parts)

    def lacking_assays(self) -> list[str]:
        """Assays that a target species lacks in training and another species has: zero-shot ones."""
        trained = {part.species: set(part.training["assay"]) for part in self.parts}
        everywhere = set.union(*trained.values())
        return sorted(
            assay for assay in everywhere if any(assay not in trained[name] for name in self.targets)
        )

    def part(self, species: str) -> SpeciesAxis:
        """The share of one species.

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
        """First 25 bp, 250 bp and 5 kbp position of a species, shape `(3,)`."""
        before = self.parts[: self.species.index(species)]
        totals = np.sum([part.n_positions for part in before] or [(0, 0, 0)], axis=0)
        return np.asarray(totals, dtype=np.int32)

    def biosample_index(self, species: str, biosamples: Iterable[str]) -> npt.NDArray[np.int32]:
        """Numbers of a species' biosamples on the joint axis."""
        at = self.species.index(species)
        first = sum(len(part.biosamples) for part in self.parts[:at])
        number = {name: first + i for i, name in enumerate(self.parts[at].biosamples)}
        return np.array([number[name] for name in biosamples], dtype=np.int32)

    def assay_index(self, assays: Iterable[str]) -> npt.NDArray[np.int32]:
        """Numbers of assays on the joint axis."""
        number = {name: i for i, name in enumerate(self.assays)}
        return np.array([number[name] for name in assays], dtype=np.int32)

    def missing_pairs(self, species: str) -> list[Pair]:
        """Every (biosample of the species, assay of the union) that was not trained on."""
        part = self.part(species)
        trained = set(zip(part.training["biosample"], part.training["assay"], strict=True))
        return [(species, b, a) for b in part.biosamples for a in self.assays if (b, a) not in trained]

    def all_pairs(self, species: str) -> list[Pair]:
        """Every (biosample of the species, assay of the union)."""
        return [(species, b, a) for b in self.part(species).biosamples for a in self.assays]

    def exclude(self, pairs: Sequence[Pair]) -> JointAxis:
        """Set experiments aside: they are never trained on, nor used to choose when to stop.

        Raises
        ------
        AxisError
            If a pair is not an experiment of the axis, or no experiment is left.
        """
        known = {
            (part.species, row.biosample, row.assay)
            for part in self.parts
            for row in part.experiments.itertuples()
        }
        unknown = [pair for pair in pairs if pair not in known]
        if unknown:
            raise AxisError(
                f"{len(unknown)} excluded pair(s) are no experiment of these compendia",
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
        table = self.part(species).experiments
        return why_unknown(biosample, assay, set(table["biosample"]), set(table["assay"]))

    def to_dict(self) -> dict[str, Any]:
        """Everything a model needs to find its rows again, as JSON holds it."""
        return {
            "assays": list(self.assays),
            "assay_classes": self.assay_classes,
            "species": [
                {
                    "species": part.species,
                    "source": part.source,
                    "plan": part.plan,
                    "assembly": part.regions.assembly,
                    "regions": [
                        list(row)
                        for row in zip(
                            part.regions.name,
                            part.regions.chrom,
                            part.regions.start,
                            part.regions.end,
                            strict=True,
                        )
                    ],
                    "biosamples": list(part.biosamples),
                    "experiments": part.experiments.to_dict("records"),
                }
                for part in self.parts
            ],
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any], *, whole: bool = True) -> JointAxis:
        """Inverse of `to_dict`; one that is not whole has labels without an experiment.

        Raises
        ------
        AxisError
            If something is missing.
        """
        try:
            parts = tuple(_species_from(entry, whole) for entry in _list_of(dict, content["species"]))
            axis = cls(parts, tuple(_names(content["assays"])), dict(content["assay_classes"]))
            shown = {name for part in parts for name in part.experiments["assay"]}
            if len(set(axis.species)) != len(parts) or not parts:
                raise ValueError(f"species are {axis.species}")
            if set(axis.assays) != set(axis.assay_classes) or not shown <= set(axis.assays):
                raise ValueError("the experiments have other assays")
            if whole and shown != set(axis.assays):
                raise ValueError("the assays are not those of the experiments")
            _list_of(str, [*axis.assay_classes.values()])
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise AxisError("the model's axis is damaged", got=f"{type(error).__name__}: {error}") from error
        return axis


def why_unknown(biosample: str, assay: str, biosamples: Collection[str], assays: Collection[str]) -> str:
    """Say which of an experiment's two labels is not known, and which known one is close."""
    labels = (("biosample", biosample, biosamples), ("assay", assay, assays))
    unknown = [
        f"unknown {what} {name!r}{closest(name, known)}" for what, name, known in labels if name not in known
    ]
    return " and ".join(unknown) or "biosample and assay are known, but not together"


_EXPERIMENT_FIELDS = {
    "row": int,
    "biosample": str,
    "assay": str,
    "assay_class": str,
    "accession": str,
    "output_type": str,
    "signal_min": float,
    "signal_max": float,
    "excluded": bool,
    "held_out": bool,
}


def _list_of(kind: type, values: Any) -> list[Any]:
    if type(values) is not list or any(type(value) is not kind for value in values):
        raise TypeError(f"expected a list of {kind.__name__}, got {str(values)[:60]!r}")
    return values


def _names(values: Any) -> list[str]:
    """Sorted, distinct names."""
    names = _list_of(str, values)
    if names != sorted(set(names)):
        raise ValueError(f"names are not sorted, or come twice: {names[:5]}")
    return names


def _species_from(entry: dict[str, Any], whole: bool) -> SpeciesAxis:
    """One species of `JointAxis.to_dict`, every field checked."""
    species, source, plan, assembly = _list_of(
        str, [entry[key] for key in ("species", "source", "plan", "assembly")]
    )
    names, chroms, starts, ends = (list(column) for column in zip(*entry["regions"], strict=True))
    regions = Regions(
        assembly,
        tuple(_list_of(str, names)),
        tuple(_list_of(str, chroms)),
        tuple(_list_of(int, starts)),
        tuple(_list_of(int, ends)),
    )
    if not regions.sound:
        raise ValueError(f"{species}: impossible regions")
    experiments = pd.DataFrame(_list_of(dict, entry["experiments"]), columns=[*_EXPERIMENT_FIELDS])
    for name, kind in _EXPERIMENT_FIELDS.items():
        _list_of(kind, experiments[name].tolist())
    bounds = experiments[["signal_min", "signal_max"]].to_numpy()
    if not np.isfinite(bounds).all() or (bounds[:, 0] > bounds[:, 1]).any():
        raise ValueError(f"{species}: an experiment's signal_min or signal_max is impossible")
    biosamples = tuple(_names(entry["biosamples"]))
    shown = set(experiments["biosample"])
    if not shown <= set(biosamples) or (whole and shown != set(biosamples)):
        raise ValueError(f"{species}: the biosamples are not those of the experiments")
    if experiments.duplicated(["biosample", "assay"]).any() or (experiments["row"] < 0).any():
        raise ValueError(f"{species}: an experiment comes twice, or its row is negative")
    return SpeciesAxis(species, source, plan, regions, biosamples, experiments)


def joint_axis(stores: Sequence[str | Path], exclude: Sequence[Pair] = ()) -> JointAxis:
    """Join the compendia of any number of species.

    Parameters
    ----------
    stores
        Finished compendia, one a species. Rows that could not be read take no part.
    exclude
        Experiments never to be trained on.

    Raises
    ------
    AxisError
        If a species comes twice, a store is imputed, or an excluded pair does not exist.
    StoreError
        If a store is foreign or unfinished.
    """
    parts = [_species_axis(path) for path in stores]
    if not parts:
        raise AxisError("no compendium given", expected="at least one store")
    names = [part.species for part in parts]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise AxisError(
            "species given twice",
            got=", ".join(sorted(twice)),
            expected="one compendium per species",
            next_step="ingest its experiments into one store",
        )
    classes: dict[str, str] = {}
    for part in parts:
        classes |= dict(zip(part.experiments["assay"], part.experiments["assay_class"], strict=True))
    axis = JointAxis(tuple(parts), tuple(sorted(classes)), classes)
    return axis.exclude(exclude)


def _species_axis(path: str | Path) -> SpeciesAxis:
    dataset = open_compendium(path)
    if dataset.attrs["kind"] != "observed":
        raise AxisError(f"{path} is imputed", expected="an observed compendium")
    table = experiments_of(dataset)
    readable = table[(table["status"] == "ok") & table["signal_max"].notna()]
    if readable.empty:
        raise AxisError(f"{path} has no readable experiment", next_step="see `epixs status` for the reasons")
    columns = ["biosample", "assay", "assay_class", "accession", "output_type", "signal_min", "signal_max"]
    experiments = (
        readable[columns].assign(row=readable.index, excluded=False, held_out=False).reset_index(drop=True)
    )
    return SpeciesAxis(
        str(dataset.attrs["species"]),
        absolute(path),
        str(dataset.attrs["plan"]),
        regions_of(dataset),
        tuple(sorted(set(readable["biosample"]))),
        experiments,
    )


def read_pairs(path: str | Path, *, what: str = "pairs file") -> list[Pair]:
    """Read a TSV with the columns `species biosample assay`; a message calls it `what`.

    Raises
    ------
    AxisError
        If the file is missing, lacks a column or repeats a pair.
    """
    path = Path(path)
    table = read_tsv(
        path,
        ("species", "biosample", "assay"),
        what=what,
        error=AxisError,
        next_step="give a tab-separated file with the columns species, biosample and assay",
    )
    pairs = list(
        zip(
            table["species"].str.strip(),
            table["biosample"].str.strip(),
            table["assay"].str.strip(),
            strict=True,
        )
    )
    repeated = (
        [pair for pair in dict.fromkeys(pairs) if pairs.count(pair) > 1]
        if len(set(pairs)) < len(pairs)
        else []
    )
    if repeated:
        raise AxisError(f"{path} repeats a pair", got=" / ".join(repeated[0]), expected="each pair once")
    return pairs
