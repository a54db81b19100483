"""Plan the fits of a cross-validation: all are decided and checked before the first one begins."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from epixs.axis.aliases import Alias, check_used, read_aliases
from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.axis.join import joint_axis
from epixs.axis.splits import Fold, Split, split_parts
from epixs.catalog.pairs import Pair, read_pairs
from epixs.config import Settings
from epixs.crossvalidation.settings import Config, ScoringSettings, TrainingSet, read_config
from epixs.errors import ConfigError, EpixsError
from epixs.evaluation.ladder import baselines_named
from epixs.evaluation.strata import content_of
from epixs.imputation.pairs import imputable
from epixs.storage.fingerprint import digest
from epixs.storage.ledger import Record
from epixs.storage.tiling import Key
from epixs.storage.version import epixs_version
from epixs.training.cost import Cost, check_memory, check_tracks, estimate_cost
from epixs.training.run import time_steps

LIBRARIES = ("tensorflow", "keras", "numpy")
"""Libraries whose versions may change the results of a fit."""


@dataclass(frozen=True)
class Fit:
    """One fit: a model, trained on a training set without a fold, that imputes the fold.

    Parameters
    ----------
    number
        Its place in the plan, from 0.
    training_set, model, seed
        Names of the training set and of the model, and the seed.
    fold
        The experiments or regions that are excluded.
    stores
        Compendia that are trained on; the one that is split comes first.
    exclude, aliases
        As in `joint_axis`.
    settings
        Settings of the model, with the seed.
    pairs
        Experiments that are imputed and scored.
    evaluation
        Settings of the scoring.
    has_baselines
        Whether the table takes the baselines from this fit: they are the same for all models.
    content
        Digest of the experiments and values that the stores hold.
    """

    number: int
    training_set: str
    model: str
    seed: int
    fold: Fold
    stores: tuple[str, ...]
    exclude: tuple[Pair, ...]
    aliases: tuple[Alias, ...]
    settings: Settings
    pairs: tuple[Pair, ...]
    evaluation: ScoringSettings
    has_baselines: bool
    content: str

    @property
    def key(self) -> Key:
        """The fit's place in the ledger."""
        return self.number, 0

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"{self.number + 1:04d}"

    @property
    def description(self) -> str:
        """Description of the fit in messages."""
        names = f"{self.training_set}, {self.model}, seed {self.seed}, fold {self.fold.name}"
        return f"fit {self.number + 1} ({names})"

    @cached_property
    def fingerprint(self) -> str:
        """Digest of everything that decides its scores."""
        fold = [self.fold.name, self.fold.pairs, self.fold.regions]
        names = [[alias.assay, alias.alias, alias.species] for alias in self.aliases]
        rest = [self.exclude, names, self.settings.to_dict(), self.pairs, self.evaluation.to_dict()]
        return digest([self.training_set, self.model, fold, *rest, self.content])

    def is_written(self, record: Record | None) -> bool:
        """Check whether a ledger record is that of this fit."""
        return record is not None and record.fingerprint == self.fingerprint

    def axis(self) -> JointAxis:
        """Join the axis that the fit is trained over."""
        return joint_axis(self.stores, self.exclude, self.aliases)


@dataclass(frozen=True)
class CrossValidation:
    """The whole plan of a cross-validation.

    Parameters
    ----------
    config
        The configuration.
    species
        Species whose experiments are scored.
    split
        Folds of that species.
    stores
        Species, path, plan, and digest of the experiments of each store.
    fits
        All fits, in the order of the tables: by training set, fold, model, seed.
    not_imputed
        Experiments that cannot be imputed, with training set and fold: no other experiment of their assay or
        biosample is left in that set.
    costs
        Cost of a fit, by training set and model.
    """

    config: Config
    species: str
    split: Split
    stores: tuple[Mapping[str, str], ...]
    fits: tuple[Fit, ...]
    not_imputed: tuple[tuple[str, str, Pair], ...]
    costs: Mapping[tuple[str, str], Cost]

    @property
    def settings(self) -> dict[str, Any]:
        """Values, by name, that a resumed run must share."""
        return {
            **self.config.to_dict(),
            "stores": {one["source"]: f"{one['plan']} {one['experiments']}" for one in self.stores},
            "folds": self.split.fingerprint,
            "fits": digest([fit.fingerprint for fit in self.fits]),
        }

    def to_dict(self) -> dict[str, Any]:
        """The plan as `crossvalidation.json` holds it."""
        return {
            "epixs_version": epixs_version(),
            "versions": {"python": platform.python_version()}
            | {name: importlib.metadata.version(name) for name in LIBRARIES},
            "config": self.config.to_dict(),
            "species": self.species,
            "stores": [dict(one) for one in self.stores],
            "split": {
                "by": self.split.by,
                "seed": self.split.seed,
                "fingerprint": self.split.fingerprint,
                "folds": [
                    {"name": fold.name, "file": f"splits/fold-{number}.tsv", "experiments": len(fold.pairs)}
                    for number, fold in enumerate(self.split.folds, 1)
                ],
                "always_trained_on": [list(pair) for pair in self.split.kept],
            },
            "fits": [
                {
                    "number": fit.number + 1,
                    "training_set": fit.training_set,
                    "model": fit.model,
                    "seed": fit.seed,
                    "fold": fit.fold.name,
                    "scored": len(fit.pairs),
                    "fingerprint": fit.fingerprint,
                }
                for fit in self.fits
            ],
            "not_imputed": [
                {"training_set": name, "fold": fold, "biosample": pair[1], "assay": pair[2]}
                for name, fold, pair in self.not_imputed
            ],
        }


def plan_crossvalidation(config: Config | str | Path) -> CrossValidation:
    """Plan all fits; nothing is written.

    Parameters
    ----------
    config
        Configuration from `read_config`, or the path of its file.

    Raises
    ------
    ConfigError
        If nothing can be scored, or a kind of model cannot be trained on a training set.
    AxisError, StoreError, TrainingError
        If stores or tables do not fit together, or memory does not suffice.
    """
    config = config if isinstance(config, Config) else read_config(config)
    baselines_named(config.evaluation.baselines)
    target, wanted = config.split.store, config.split
    aliases_of, annotations = _aliases_by_stores(config), content_of(config.evaluation.annotations)
    # By joint names, so that an assay that has two names is excluded whole.
    own = joint_axis([target], (), aliases_of([target])).parts
    folds = split_parts(own, wanted.by, wanted.folds or None, wanted.assay_class, wanted.seed)
    fits: list[Fit] = []
    costs: dict[tuple[str, str], Cost] = {}
    not_imputed: list[tuple[str, str, Pair]] = []
    stores: dict[str, Mapping[str, str]] = {}
    for one in config.training_sets:
        aliases = aliases_of([target, *one.others])
        whole = joint_axis([target, *one.others], (), aliases)
        stores |= {part.source: _described(part) for part in whole.parts}
        outside = _outside(one, whole)
        for fold in folds.folds:
            exclude = tuple(dict.fromkeys([*outside, *fold.pairs]))
            axis = whole.exclude(exclude)
            pairs = imputable(axis, [axis.joint_pair(pair) for pair in fold.pairs])
            not_imputed += [
                (one.name, fold.name, pair) for pair in fold.pairs if axis.joint_pair(pair) not in set(pairs)
            ]
            if not pairs:
                continue
            content = digest([*(stores[part.source] for part in whole.parts), *annotations])
            first = len(fits)
            for name, settings in config.models.items():
                cost = _checked(axis, settings, one.name, name)
                costs.setdefault((one.name, name), cost)
                fits += [
                    Fit(
                        len(fits) + at,
                        one.name,
                        name,
                        seed,
                        fold,
                        (target, *one.others),
                        exclude,
                        aliases,
                        settings.replace(seed=seed),
                        tuple(pairs),
                        config.evaluation,
                        False,
                        content,
                    )
                    for at, seed in enumerate(config.run.seeds)
                ]
            fits[first] = replace(fits[first], has_baselines=True)
    if not fits:
        raise ConfigError(
            "nothing can be imputed",
            got=f"no training set with an experiment of the assays and biosamples of a fold by {wanted.by}",
            expected="[[training_set]] others = [...]: a species in which these assays were measured",
        )
    return CrossValidation(
        config,
        whole.parts[0].species,
        folds,
        tuple(stores.values()),
        tuple(fits),
        tuple(not_imputed),
        costs,
    )


def _aliases_by_stores(config: Config) -> Callable[[Sequence[str]], tuple[Alias, ...]]:
    """Return a function that gives the aliases that some stores use; each alias must be one of some store."""
    aliases = read_aliases(config.run.assay_alias) if config.run.assay_alias else []
    others = [path for one in config.training_sets for path in one.others]
    parts = {path: joint_axis([path]).parts[0] for path in dict.fromkeys([config.split.store, *others])}
    assays = {path: set(part.experiments["assay"]) for path, part in parts.items()}
    by_species: dict[str, list[str]] = {}
    for path, part in parts.items():
        by_species.setdefault(part.species, []).extend(assays[path])
    check_used(aliases, by_species)

    def used(stores: Sequence[str]) -> tuple[Alias, ...]:
        return tuple(
            row
            for row in aliases
            if any(row.species in ("", parts[path].species) and row.alias in assays[path] for path in stores)
        )

    return used


def estimated_seconds(plan: CrossValidation) -> float:
    """Estimate the training time on this machine, from timing a few steps of each training set and model.

    All fits of one training set and model are assumed to last as long as the first.
    """
    total = 0.0
    for fits in _alike(plan.fits):
        settings = fits[0].settings
        probe = time_steps(fits[0].axis(), settings)
        seconds = probe.seconds_per_epoch * probe.epochs
        if settings.training.max_minutes:
            seconds = min(seconds, 60 * settings.training.max_minutes)
        total += len(fits) * seconds
    return total


def _alike(fits: Sequence[Fit]) -> Iterator[list[Fit]]:
    """Group fits by training set and model."""
    for key in dict.fromkeys((fit.training_set, fit.model) for fit in fits):
        yield [fit for fit in fits if (fit.training_set, fit.model) == key]


def _described(part: SpeciesAxis) -> dict[str, str]:
    """Describe a store: its path, and digests of its content."""
    return {
        "species": part.species,
        "source": part.source,
        "plan": part.plan,
        "experiments": digest(part.experiments.to_dict(orient="list")),
    }


def _outside(one: TrainingSet, axis: JointAxis) -> list[Pair]:
    """List the experiments that a training set leaves out in every fold."""
    pairs = [] if not one.exclude else read_pairs(one.exclude, what=f"training_set.exclude of {one.name}")
    for part in axis.parts[1:] if one.core else ():
        outside = outside_core(part, one.core)
        if len(outside) == len(part.experiments):
            raise ConfigError(
                f"training_set.core of {one.name}",
                got=f"{one.core}, which nothing of {part.species} meets",
                expected="fewer: biosamples with so many assays, and assays in so many biosamples",
            )
        pairs += outside
    return [axis.joint_pair(pair) for pair in pairs]


def outside_core(part: SpeciesAxis, fewest: int) -> list[Pair]:
    """List the experiments outside the core of a species.

    In the core, each biosample has at least `fewest` assays, and each assay at least `fewest` biosamples.
    """
    table = part.experiments[["biosample", "assay"]]
    left = table
    while len(left):
        counts = [left.groupby(name)[name].transform("size") for name in ("biosample", "assay")]
        dense = left[(counts[0] >= fewest) & (counts[1] >= fewest)]
        if len(dense) == len(left):
            break
        left = dense
    outside = table.drop(left.index)
    return [(part.species, b, a) for b, a in zip(outside["biosample"], outside["assay"], strict=True)]


def _checked(axis: JointAxis, settings: Settings, training_set: str, model: str) -> Cost:
    """Estimate the cost of a fit, and check that it can be done."""
    try:
        check_tracks(axis, settings)
        cost = estimate_cost(axis, settings)
        check_memory(cost, settings)
    except EpixsError as error:
        raise type(error)(f"model {model} on {training_set}: {error.message}") from error
    return cost
