"""Splits: the experiments and regions that each fold of a cross-validation keeps from training.

A split depends only on labels and a seed, not on the order of experiments in a store. It is saved as tables
that `--exclude` reads; each contains the fingerprint of the whole split.
"""

from __future__ import annotations

import csv
import functools
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from epixs.axis.axis import COARSE_BINS, SpeciesAxis
from epixs.axis.join import joint_axis
from epixs.catalog.experiments import slug
from epixs.catalog.pairs import Pair
from epixs.errors import ConfigError, closest
from epixs.genome.regions import BIN_SIZE
from epixs.storage.files import check_new_folder, write_text
from epixs.storage.fingerprint import digest

BY = ("experiment", "assay", "class", "biosample", "region")
"""Ways to split."""

FOLDS = 3
"""Default number of folds, that of the paper."""

MOST_FOLDS = 1_000

Place = tuple[str, str, int, int, str]
"""Type of a region: `(species, chrom, start, end, name)`."""


@dataclass(frozen=True)
class Fold:
    """The experiments and regions that one fold keeps from training.

    Parameters
    ----------
    name
        Number of the fold, from 1 on, or the class that it excludes.
    pairs
        Experiments that are never trained on, and are scored.
    regions
        Regions that are also kept from training; only they are scored. If there are none, all regions are
        trained on and scored.
    """

    name: str
    pairs: tuple[Pair, ...]
    regions: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Split:
    """Folds that share no experiment.

    Parameters
    ----------
    by
        Way to split: one of `BY`.
    seed
        Seed that decides which experiment comes into which fold.
    folds
        The folds.
    kept
        Experiments in no fold: without them, their assay or biosample would have none left to train on.
    lost
        Fold and assay, if the fold excludes the assay in all of several species: nothing can impute it then.
    """

    by: str
    seed: int
    folds: tuple[Fold, ...]
    kept: tuple[Pair, ...] = ()
    lost: tuple[tuple[str, str], ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the whole split."""
        folds = [[fold.name, fold.pairs, fold.regions] for fold in self.folds]
        return digest([self.by, self.seed, folds, self.kept])

    def table(self, fold: Fold) -> pd.DataFrame:
        """Tabulate the experiments of a fold, as its file has them."""
        rows = [(*pair, fold.name, self.fingerprint) for pair in fold.pairs]
        return pd.DataFrame(rows, columns=["species", "biosample", "assay", "fold", "split"])

    def write(self, folder: str | Path) -> list[Path]:
        """Write `fold-1.tsv`, `fold-2.tsv` ..., and `fold-1.bed` ... if regions are withheld.

        Parameters
        ----------
        folder
            New or empty folder, or one that holds the same split.

        Returns
        -------
        The files.

        Raises
        ------
        ConfigError
            If the folder holds something else.
        """
        folder, texts = Path(folder), self._texts()
        if not _is_begun(folder, texts):
            check_new_folder(folder, ConfigError)
            folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            if not (folder / name).exists():
                write_text(folder / name, text)
        return [folder / name for name in texts]

    def _texts(self) -> dict[str, str]:
        texts = {}
        for number, fold in enumerate(self.folds, 1):
            texts[f"fold-{number}.tsv"] = self.table(fold).to_csv(
                sep="\t", index=False, lineterminator="\n", quoting=csv.QUOTE_NONE
            )
            for species in dict.fromkeys(place[0] for place in fold.regions):
                lines = [
                    f"{chrom}\t{start}\t{end}\t{name}\n" for s, chrom, start, end, name in fold.regions
                    if s == species
                ]  # fmt: skip
                several = len({place[0] for place in fold.regions}) > 1
                texts[f"fold-{number}{f'.{slug(species)}' * several}.bed"] = "".join(lines)
        return texts


def _is_begun(folder: Path, texts: Mapping[str, str]) -> bool:
    """Whether a folder holds some or all of the files with these texts, and nothing else."""
    there = [*folder.iterdir()] if folder.is_dir() else []
    return bool(there) and all(
        path.name in texts and path.is_file() and path.read_text("utf-8") == texts[path.name]
        for path in there
    )


def split(
    stores: str | Path | Sequence[str | Path],
    *,
    by: str = "experiment",
    folds: int | None = None,
    assay_class: str = "",
    seed: int = 0,
    out: str | Path | None = None,
) -> Split:
    """Split the experiments of compendia into folds, each of which is excluded in turn.

    Parameters
    ----------
    stores
        Finished compendia, one per species. Each is split by itself, and folds of the same number are joined;
        by `"assay"`, a fold excludes an assay in one species at a time, as far as possible.
    by
        `"experiment"`: single experiments, spread over assays and biosamples; each assay and biosample keeps
        an experiment in training. `"assay"`: all experiments of an assay are in one fold, so that they are
        zero-shot. `"class"`: all assays of a class, one fold per class. `"biosample"`: all experiments of a
        biosample except one, that of its most widespread assay. `"region"`: experiments as by `"experiment"`,
        and regions that are withheld too, so that neither the track nor the place was seen.
    folds
        Number of folds; 3 by default, not given if the folds are classes.
    assay_class
        Only experiments of this class are in folds; the others are always trained on.
    seed
        Seed that decides which experiment comes into which fold.
    out
        Folder to write the folds to; see `Split.write`.

    Raises
    ------
    ConfigError
        If there is no such way to split, or too few experiments or regions.
    AxisError, StoreError
        As `joint_axis` does, if stores cannot be used.

    Examples
    --------
    >>> import epixs
    >>> files = epixs.simulate("world", size="tiny")
    >>> chosen = epixs.make_catalog("world/metadata.tsv", "catalog.tsv")
    >>> table = epixs.ingest("catalog.tsv", "world/mouse.bed", "mouse.zarr", species="mouse")
    >>> folds = epixs.split("mouse.zarr", by="experiment", folds=3).folds
    >>> [len(fold.pairs) for fold in folds]
    [10, 8, 9]
    """
    made = split_parts(joint_axis(stores).parts, by, folds, assay_class, seed)
    if out is not None:
        made.write(out)
    return made


def split_parts(
    parts: Sequence[SpeciesAxis], by: str, folds: int | None, assay_class: str, seed: int
) -> Split:
    """Split the experiments of some species; see `split`."""
    if by not in BY:
        raise ConfigError("--by", got=f"{by!r}{closest(by, BY)}", expected=" or ".join(BY))
    known = sorted({str(name) for part in parts for name in part.experiments["assay_class"]})
    if assay_class and assay_class not in known:
        raise ConfigError(
            "assay class",
            got=f"{assay_class!r}{closest(assay_class, known)}",
            expected=f"one of {', '.join(known)}",
        )
    if by == "class" and folds is not None:
        raise ConfigError(
            "number of folds", got=folds, expected="none: each class is a fold", next_step="leave --folds out"
        )
    count = FOLDS if folds is None else folds
    if not 2 <= count <= MOST_FOLDS:
        raise ConfigError("number of folds", got=count, expected=f"2 to {MOST_FOLDS:,}")
    names = [assay_class] if assay_class else known
    if by != "class":
        names = [str(number) for number in range(1, count + 1)]
    parts = sorted(parts, key=lambda part: part.species)
    by_part: list[Placed] = []
    taken: dict[str, set[int]] = {}  # by assay, the folds that exclude it in one species
    for part in parts:
        by_part.append(_fold_of(part, by, names, assay_class, seed, taken))
        for (_, assay), at in by_part[-1].items():
            if at is not None:
                taken.setdefault(assay, set()).add(at)
    made, kept = [], []
    for number, name in enumerate(names):
        pairs = [
            (part.species, b, a)
            for part, placed in zip(parts, by_part, strict=True)
            for (b, a), at in placed.items()
            if at == number
        ]
        made.append(Fold(name, tuple(sorted(pairs))))
    for part, placed in zip(parts, by_part, strict=True):
        kept += [(part.species, b, a) for (b, a), at in placed.items() if at is None]
    empty = [fold.name for fold in made if not fold.pairs]
    if empty:
        raise ConfigError(
            f"fold {empty[0]} would hold no experiment",
            got=f"{count} folds by {by}",
            expected="fewer folds, or more to split",
        )
    if by == "region":
        made = _with_regions(made, parts, seed)
    return Split(by, seed, tuple(made), tuple(sorted(kept)), _lost(made, parts) if len(parts) > 1 else ())


def _lost(folds: Sequence[Fold], parts: Sequence[SpeciesAxis]) -> tuple[tuple[str, str], ...]:
    """List the assays of which a fold excludes every experiment of every species."""
    total = Counter(assay for part in parts for assay in part.experiments["assay"])
    held = Counter((fold.name, assay) for fold in folds for _, _, assay in fold.pairs)
    return tuple((name, assay) for (name, assay), count in held.items() if count == total[assay])


Label = tuple[str, str]
"""Type of a label: `(biosample, assay)`."""

Placed = dict[Label, int | None]
"""Number of the fold of each experiment; None for experiments that no fold can take."""


def _fold_of(
    part: SpeciesAxis,
    by: str,
    names: Sequence[str],
    assay_class: str,
    seed: int,
    taken: Mapping[str, Collection[int]],
) -> Placed:
    """Choose the fold of each experiment of a species that may be in one.

    By assay, the folds that are `taken` by the same assay of another species come last.
    """
    table = part.experiments
    classes = dict(
        zip(zip(table["biosample"], table["assay"], strict=True), table["assay_class"], strict=True)
    )
    chosen = {label: kind for label, kind in classes.items() if assay_class in ("", kind)}
    if by == "class":
        return {label: names.index(kind) for label, kind in chosen.items()}

    order = functools.partial(_digest_of, seed, part.species)
    if by == "assay":
        sizes = Counter(assay for _, assay in chosen)
        place = _balanced(sizes, len(names), order, taken)
        return {(b, a): place[a] for b, a in chosen}
    groups: dict[str, int] | None = None
    if by == "biosample":
        groups = _balanced(Counter(biosample for biosample, _ in chosen), len(names), order)
    return _stratified([*classes], sorted(chosen, key=lambda label: order(*label)), len(names), groups)


def _digest_of(seed: int, *texts: str) -> str:
    """Return a digest to order by: practically random, but the same for the same seed."""
    return digest([seed, *texts])


def _balanced(
    sizes: Mapping[str, int],
    count: int,
    order: Callable[[str], str],
    taken: Mapping[str, Collection[int]] = MappingProxyType({}),
) -> dict[str, int]:
    """Put groups into folds: the largest first, each into the fold with the fewest members so far.

    Folds that are `taken` for a group come last.
    """
    filled, place = [0] * count, {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], order(name))):
        place[name] = min(range(count), key=lambda at: (at in taken.get(name, ()), filled[at], at))
        filled[place[name]] += sizes[name]
    return place


def _stratified(
    every: Sequence[Label], labels: Sequence[Label], count: int, groups: Mapping[str, int] | None
) -> Placed:
    """Put experiments into folds, so that no fold has all experiments of an assay or of a biosample.

    Assays, then biosamples, are spread over the folds. If `groups` gives the fold of each biosample, its
    experiment of the most widespread assay comes last, and so is kept in training.
    """
    total = Counter(name for label in every for name in _names(label))
    held: list[Counter[Label]] = [Counter() for _ in range(count)]
    sizes = [0] * count
    placed: Placed = {}
    if groups is not None:
        labels = sorted(labels, key=lambda label: total[_names(label)[1]])
    for label in labels:
        names = _names(label)
        may = [at for at in range(count) if all(held[at][name] + 1 < total[name] for name in names)]
        if groups is not None:
            may = [at for at in may if at == groups[label[0]]]
        placed[label] = min(
            may, key=lambda at: (held[at][names[1]], held[at][names[0]], sizes[at], at), default=None
        )
        if (at := placed[label]) is not None:
            held[at].update(names)
            sizes[at] += 1
    return placed


def _names(label: Label) -> tuple[Label, Label]:
    """Return a biosample and an assay as keys that differ even if their names are the same."""
    return ("biosample", label[0]), ("assay", label[1])


def _with_regions(folds: Sequence[Fold], parts: Sequence[SpeciesAxis], seed: int) -> list[Fold]:
    """Give each fold regions of its own, balanced by their length."""
    withheld: list[list[Place]] = [[] for _ in folds]
    for part in parts:
        places = _places(part, len(folds))
        order = functools.partial(_digest_of, seed, part.species)
        sizes = {f"{chrom}:{start}-{stop}": stop - start for _, chrom, start, stop, _ in places}
        fold_of = _balanced(sizes, len(folds), order)
        for place in places:
            _, chrom, start, stop, _ = place
            withheld[fold_of[f"{chrom}:{start}-{stop}"]].append(place)
    return [replace(fold, regions=tuple(own)) for fold, own in zip(folds, withheld, strict=True)]


def _places(part: SpeciesAxis, count: int) -> list[Place]:
    """List a species' regions; if they are fewer than the folds, each is cut into one stretch per fold."""
    regions, places = part.regions, []
    for number, (name, chrom, first, end) in enumerate(
        zip(regions.name, regions.chrom, regions.start, regions.end, strict=True)
    ):
        positions = -(-int(regions.n_bins_each[number]) // COARSE_BINS)
        stretches = 1 if len(regions) >= count else count
        if positions < stretches:
            raise ConfigError(
                f"region {name} of {part.species}",
                got=f"{end - first:,} bp, to be cut for {count} folds",
                expected=f"at least {count * COARSE_BINS * BIN_SIZE:,} bp, or {count} regions",
                next_step="ask for fewer folds, or ingest more regions",
            )
        cuts = [first + COARSE_BINS * BIN_SIZE * (positions * at // stretches) for at in range(stretches)]
        for at, (start, stop) in enumerate(itertools.pairwise([*cuts, end]), 1):
            places.append((part.species, chrom, start, stop, f"{name}-{at}" if stretches > 1 else name))
    return places
