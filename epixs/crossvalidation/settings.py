"""The configuration of a cross-validation, read from a TOML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from epixs.axis.splits import BY
from epixs.config import NOT_NEGATIVE, SEED, CheckedSettings, Rule, Settings, one_of, read_toml
from epixs.errors import ConfigError, closest
from epixs.evaluation.ladder import LADDER
from epixs.evaluation.metrics import Mode
from epixs.evaluation.runs import NOBODY
from epixs.evaluation.strata import Annotations
from epixs.models.settings import DEFAULT_KIND, settings_from
from epixs.storage.location import is_url

NOTHING, MODELS, ALL = "nothing", "models", "all"
"""Files of a fit that are kept beside its scores: none, the model, or the model and its imputed tracks."""


def _given(what: str) -> Rule:
    return lambda text: bool(text), what


def _name() -> Rule:
    return (
        lambda text: text.isprintable() and text == text.strip() and text not in ("", NOBODY),
        f"a printable name, other than {NOBODY!r}",
    )


def _seeds() -> Rule:
    return (
        lambda seeds: 0 < len(seeds) == len({seed for seed in seeds if 0 <= seed < 2**32}),
        "at least one, each once, 0 to 2**32 - 1",
    )


@dataclass(frozen=True)
class SplitSettings(CheckedSettings):
    """Settings of the folds that are excluded; `epixs.split` explains them in detail.

    Parameters
    ----------
    store
        Compendium of the species whose experiments are excluded and scored.
    by
        Experiments that stay together in one fold.
    folds
        Number of folds; 0 takes 3, or one per class.
    assay_class
        Only experiments of this class are excluded.
    seed
        Seed that deals the experiments to the folds.
    """

    table: ClassVar[str] = "split"

    store: Annotated[str, _given("the path of a compendium")] = ""
    by: Annotated[str, one_of(BY)] = "experiment"
    folds: Annotated[int, NOT_NEGATIVE] = 0
    assay_class: str = ""
    seed: Annotated[int, SEED] = 0


@dataclass(frozen=True)
class TrainingSet(CheckedSettings):
    """Experiments that a model is trained on, except those of the fold.

    Parameters
    ----------
    name
        Name of the training set in tables.
    others
        Compendia of other species, trained on jointly with the one that is split.
    core
        Minimum number of assays per biosample and of biosamples per assay, for other species: 5 is the
        paper's Core; 0 takes all.
    exclude
        Table of species, biosample and assay that are not trained on in any fold.
    """

    table: ClassVar[str] = "training_set"

    name: Annotated[str, _name()] = ""
    others: tuple[str, ...] = ()
    core: Annotated[int, NOT_NEGATIVE] = 0
    exclude: str = ""


@dataclass(frozen=True)
class RunSettings(CheckedSettings):
    """Settings of the run.

    Parameters
    ----------
    folder
        Folder of the run: scores, plan, splits, and the files of the fits that are kept.
    seeds
        Seeds; each model is fitted with each of them.
    keep
        Files of a fit to keep beside its scores: `"nothing"`, its `"models"`, or `"all"`, with its imputed
        tracks.
    assay_alias
        Table of assays with several names, as for `--assay-alias`.
    """

    table: ClassVar[str] = "run"

    folder: Annotated[str, _given("the path of a folder")] = "crossvalidation"
    seeds: Annotated[tuple[int, ...], _seeds()] = (0,)
    keep: Annotated[str, one_of((NOTHING, MODELS, ALL))] = NOTHING
    assay_alias: str = ""


@dataclass(frozen=True)
class ScoringSettings(CheckedSettings):
    """Settings of the scoring of imputed tracks, as for `epixs evaluate`.

    Parameters
    ----------
    mode
        Definitions of the metrics.
    baselines
        Further baselines by name, or `"all"`.
    genes, enhancers, blacklist, peaks
        Annotation files.
    """

    table: ClassVar[str] = "evaluation"

    mode: Annotated[str, one_of(get_args(Mode))] = "corrected"
    baselines: tuple[str, ...] | str = ()
    genes: str = ""
    enhancers: str = ""
    blacklist: str = ""
    peaks: str = ""

    @property
    def annotations(self) -> Annotations:
        """The files, as `epixs.evaluate` takes them."""
        return Annotations(
            self.genes or None, self.enhancers or None, self.blacklist or None, self.peaks or None
        )


@dataclass(frozen=True)
class Config:
    """The whole configuration; its paths are absolute.

    Parameters
    ----------
    split, run, evaluation
        The tables of those names.
    training_sets
        Training sets, in the order of the tables.
    models
        Settings of each model, by its name.
    """

    split: SplitSettings
    training_sets: tuple[TrainingSet, ...]
    models: dict[str, Settings]
    run: RunSettings
    evaluation: ScoringSettings

    def to_dict(self) -> dict[str, Any]:
        """List, as JSON can hold them, the settings that decide the scores: all but `folder` and `keep`."""
        return {
            "split": self.split.to_dict(),
            "training_sets": {one.name: one.to_dict() for one in self.training_sets},
            "models": {name: settings.to_dict() for name, settings in self.models.items()},
            "seeds": list(self.run.seeds),
            "assay_alias": self.run.assay_alias,
            "evaluation": self.evaluation.to_dict(),
        }


Table = TypeVar("Table", bound=CheckedSettings)

TABLES = ("split", "training_set", "model", "run", "evaluation")

PATHS = {
    "split": ("store",),
    "training_set": ("others", "exclude"),
    "run": ("folder", "assay_alias"),
    "evaluation": ("genes", "enhancers", "blacklist", "peaks"),
}
"""Settings that are paths, relative to the file."""


def read_config(path: str | Path) -> Config:
    """Read the TOML file of a cross-validation; docs/crossvalidation.md explains it.

    Raises
    ------
    ConfigError
        If the file is no TOML, or a setting is unknown, missing or impossible; the message names it.
    """
    path = Path(path)
    content = read_toml(path, "give a TOML file, such as those in pipelines/")
    try:
        return _config_of(content, path.parent.resolve())
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}") from error


def _config_of(content: Mapping[str, Any], folder: Path) -> Config:
    unknown = sorted(content.keys() - set(TABLES))
    if unknown:
        raise ConfigError(
            "unknown table or setting",
            got=f"{unknown[0]}{closest(unknown[0], TABLES)}",
            expected=f"[{'], ['.join(TABLES)}]",
        )
    sets = [_read(TrainingSet, entry, folder) for entry in _entries(content, "training_set")]
    _check_names("training_set", [one.name for one in sets])
    entries = _entries(content, "model")
    names = [entry.get("name", entry.get("kind", DEFAULT_KIND)) for entry in entries]
    _check_names("model", names)
    scoring = _read(ScoringSettings, content.get("evaluation", {}), folder)
    _check_files(scoring)
    return Config(
        _read(SplitSettings, content.get("split", {}), folder),
        tuple(sets),
        {name: _model_of(entry, name) for name, entry in zip(names, entries, strict=True)},
        _read(RunSettings, content.get("run", {}), folder),
        scoring,
    )


def _entries(content: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    entries = content.get(name)
    if not isinstance(entries, list) or not entries or not all(isinstance(one, dict) for one in entries):
        raise ConfigError(
            name, got="none" if entries is None else repr(entries), expected=f"at least one table [[{name}]]"
        )
    return entries


def _check_names(table: str, names: Sequence[Any]) -> None:
    taken = {baseline.name for baseline in LADDER}
    valid, expected = _name()
    for name in names:
        if not isinstance(name, str) or not valid(name):
            raise ConfigError(f"setting {table}.name", got=repr(name), expected=expected)
        if names.count(name) > 1:
            raise ConfigError(f"setting {table}.name", got=f"{name!r} twice", expected="each name once")
        if table == "model" and name in taken:
            raise ConfigError("setting model.name", got=repr(name), expected="a name that no baseline has")


def _read(kind: type[Table], content: Any, folder: Path) -> Table:
    """Read and check one table, and make its paths absolute."""
    settings = kind.from_table(content)
    changes: dict[str, Any] = {}
    for name in PATHS[kind.table]:
        value = getattr(settings, name)
        changes[name] = (
            _beside(folder, value) if isinstance(value, str) else tuple(_beside(folder, one) for one in value)
        )
    return replace(settings, **changes)


def _check_files(scoring: ScoringSettings) -> None:
    """Refuse annotation files that do not exist: they would be read only after the first fit."""
    for name in PATHS[scoring.table]:
        path = getattr(scoring, name)
        if path and not is_url(path) and not Path(path).is_file():
            raise ConfigError(f"setting {scoring.table}.{name}", got=path, expected="a file that is there")


def _beside(folder: Path, path: str) -> str:
    """Make a path absolute that is relative to the configuration; URLs and empty texts stay as they are."""
    return path if not path or is_url(path) else str(folder / Path(path).expanduser())


def _model_of(entry: dict[str, Any], name: str) -> Settings:
    model = {key: value for key, value in entry.items() if key not in ("name", "training")}
    training = entry.get("training", {})
    settings = settings_from({"model": model, "training": training}, f"model {name}", DEFAULT_KIND)
    if "seed" in training:
        raise ConfigError(
            f"model {name}: training.seed", got=training["seed"], expected="seeds = [...] in [run]"
        )
    if settings.training.precision == "auto":  # `auto` chooses by timing, which may differ between runs
        settings = settings.replace(precision="float32")
    return settings
