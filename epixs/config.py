"""Settings: frozen dataclasses whose fields say which values are possible."""

from __future__ import annotations

import dataclasses
import sys
import tomllib
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import msgspec
from msgspec import Meta

from epixs.errors import ConfigError, closest

PRECISIONS = ("auto", "float32", "bfloat16")

MAX_TOML_BYTES = 1 << 20
"""Maximum size of a settings file, checked before it is read."""

Rule = tuple[Callable[[Any], bool], str]
"""Check of a value, and the values it allows in words, for rules that a `msgspec.Meta` cannot express."""

IN_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    tuple[str, ...]: "a list of texts",
}
"""Types in words. All types that are not listed are lists of whole numbers."""


def read_toml(path: Path, next_step: str) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    ConfigError
        If it does not exist (the message ends with `next_step`), is too large, or is not TOML.
    """
    if not path.is_file():
        raise ConfigError(
            f"configuration {path} {'is a folder' if path.is_dir() else 'does not exist'}",
            next_step=next_step,
        )
    if path.stat().st_size > MAX_TOML_BYTES:
        raise ConfigError(f"configuration {path} is too large", expected=f"at most {MAX_TOML_BYTES:,} bytes")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def between(low: int, high: int) -> Meta:
    """Allow numbers from `low` to `high`."""
    return Meta(ge=low, le=high, description=f"{low:,} to {high:,}")


MOST = 1_000_000_000
"""Largest number allowed where no smaller limit is given. Numbers computed from it stay finite and fit into
64-bit integers."""

POSITIVE = Meta(gt=0, le=sys.float_info.max, description="above 0 and finite")

NOT_NEGATIVE = between(0, MOST)

SEED = between(0, 2**32 - 1)

SHARE = Meta(ge=0, lt=1, description="at least 0 and below 1")
"""Share of a whole, but not the whole."""


def sizes(most: int = 65_536, count: str = "one or more") -> Rule:
    """Allow lists of at least one size."""
    return lambda values: values and all(0 < size <= most for size in values), f"{count}, 1 to {most:,} each"


def one_of(choices: Collection[str]) -> Rule:
    """Allow only the texts in a list."""
    return lambda text: text in choices, " or ".join(choices)


@dataclass(frozen=True)
class CheckedSettings:
    """Settings of one table, each checked against its declared type and its rules."""

    table: ClassVar[str] = ""
    """Name of their table in a settings file."""

    def __post_init__(self) -> None:
        for name, kind in self.types().items():
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, _fitting(value, kind))
            except ValueError as error:
                raise ConfigError(
                    f"setting {self.table}.{name}", got=repr(value), expected=in_words(kind)
                ) from error

    @classmethod
    def types(cls) -> dict[str, Any]:
        """Return the type of each setting, with its rules."""
        hints = typing.get_type_hints(cls, include_extras=True)
        return {name: hints[name] for name in cls.names()}

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the settings."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def from_table(cls, content: Any, defaults: Self | None = None) -> Self:
        """Read settings from their table in a file; a setting that is missing there keeps its default.

        Raises
        ------
        ConfigError
            If a setting is unknown or has an impossible value; it is named.
        """
        if not isinstance(content, dict):
            raise ConfigError(cls.table, got=repr(content), expected=f"a table, [{cls.table}]")
        if unknown := sorted(content.keys() - set(cls.names())):
            raise ConfigError(
                "unknown setting",
                got=f"{cls.table}.{unknown[0]}{closest(unknown[0], cls.names())}",
                expected=f"one of {', '.join(cls.names())}",
            )
        return defaults.replace(content) if defaults else cls(**content)

    def replace(self, changes: Mapping[str, Any]) -> Self:
        """Return a changed copy; changes of settings of other tables are ignored."""
        return dataclasses.replace(self, **{n: v for n, v in changes.items() if n in self.names()})

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON and TOML hold them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}


def _fitting(value: object, kind: Any) -> Any:
    """Convert a value to a type, and apply the checks among the type's annotations."""
    converted = msgspec.convert(value, kind)
    for rule in getattr(kind, "__metadata__", ()):
        if isinstance(rule, tuple) and not rule[0](converted):
            raise ValueError(rule[1])
    return converted


def in_words(kind: Any) -> str:
    """Say which values a setting of a type may have."""
    base, *rules = typing.get_args(kind) if typing.get_origin(kind) is Annotated else (kind,)
    words = [] if base is str and rules else [IN_WORDS.get(base, "a list of whole numbers")]
    return ", ".join(words + [rule[1] if isinstance(rule, tuple) else rule.description for rule in rules])


@dataclass(frozen=True)
class ModelSettings(CheckedSettings):
    """Settings that define a network. Each kind of model has its own class, derived from this one."""

    table: ClassVar[str] = "model"
    kind: ClassVar[str] = ""
    """Name of the kind."""

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON and TOML hold them, with their kind."""
        return {"kind": self.kind, **super().to_dict()}


@dataclass(frozen=True)
class TrainingSettings(CheckedSettings):
    """Settings that say how a model of any kind is fitted; docs/training.md gives reasons for the defaults.

    Parameters
    ----------
    batch_size, experiments_per_position
        Entries per step, and how many of them share a position. With 0, `batch_size` is 4,096 for `context`,
        and for `avocado` a 28th of the positions, at least 1,000 and at most 40,000 (docs/settings.md).
    epochs
        Number of epochs; the learning rate falls over all of them. With 0, there are 16 to 28 for `context`,
        the more the more tracks there are (16 for zero-shot imputation), and for `avocado` half of the mean
        number of experiments at a position, 8 to 200.
    max_minutes
        Time limit of training; 0 sets none. If the planned epochs do not fit, fewer are planned.
    checkpoint_minutes
        Minutes between two saves of the state from which `--resume` continues; 0 saves it after every step.
    learning_rate
        Learning rate at the start; it falls to 1 % of that along a cosine.
    weight_decay
        Share of each weight that AdamW subtracts per step, times the learning rate; 0 for none.
    held_out
        Of kind `avocado`: share of (5 kbp position, experiment) blocks kept for choosing the checkpoint.
    held_out_tracks
        Number of experiments held out whole, chosen by seed. They then choose the checkpoint instead of the
        blocks, which are easier: the model has seen other blocks of the same track.
    species_weight
        Share of each species in an epoch: `"by_bins"` as in the paper, `"balanced"`, or a number for each
        species, as in `"mouse=3, human=1"`.
    patience
        Epochs without a better held-out error after which training stops; 0 never stops it.
    precision
        Precision of the hidden layers' products in training: `"float32"` or `"bfloat16"`. `"auto"` times both
        when training starts and takes the faster one. Imputation does not depend on it.
    memory_gb
        Maximum memory of training, in GB. If the signal does not fit, it is streamed from the stores; if the
        model alone does not fit, training is refused.
    seed
        Seed of everything that is drawn at random.
    """

    table: ClassVar[str] = "training"

    batch_size: Annotated[int, between(0, 10_000_000)] = 0
    experiments_per_position: Annotated[int, between(1, 10_000_000)] = 1
    epochs: Annotated[int, NOT_NEGATIVE] = 0
    max_minutes: Annotated[float, NOT_NEGATIVE] = 0.0
    checkpoint_minutes: Annotated[float, NOT_NEGATIVE] = 10.0
    learning_rate: Annotated[float, POSITIVE] = 2.5e-4
    weight_decay: Annotated[float, NOT_NEGATIVE] = 0.0
    held_out: Annotated[float, Meta(gt=0, lt=1, description="above 0 and below 1")] = 0.02
    held_out_tracks: Annotated[int, NOT_NEGATIVE] = 0
    species_weight: str = "by_bins"
    patience: Annotated[int, NOT_NEGATIVE] = 5
    precision: Annotated[str, one_of(PRECISIONS)] = "auto"
    memory_gb: Annotated[float, Meta(gt=0, le=MOST, description=f"above 0, at most {MOST:,}")] = 16.0
    seed: Annotated[int, SEED] = 0


@dataclass(frozen=True)
class Settings:
    """All settings of a training run: those of its model, and those of all runs.

    Parameters
    ----------
    model
        Settings of its kind of model, a `ModelSettings`.
    training
        Settings that all kinds of model share.

    Examples
    --------
    >>> import epixs
    >>> settings = epixs.make_settings(hidden=(256, 256), max_minutes=30)
    >>> settings.model.hidden, settings.training.max_minutes
    ((256, 256), 30.0)
    >>> settings.replace(seed=3).training.seed
    3
    """

    model: Any
    training: TrainingSettings

    @property
    def kind(self) -> str:
        """Kind of the model."""
        return str(self.model.kind)

    def replace(self, **changes: Any) -> Settings:
        """Return a copy with some settings of either table changed; a change to None is ignored.

        Raises
        ------
        ConfigError
            If one is unknown or has an impossible value.
        """
        wanted = {name: value for name, value in changes.items() if value is not None}
        names = {*self.model.names(), *self.training.names()}
        if unknown := sorted(wanted.keys() - names):
            raise ConfigError(
                f"unknown setting of a model of kind {self.kind}",
                got=f"{unknown[0]}{closest(unknown[0], names)}",
                expected=f"one of {', '.join(sorted(names))}",
            )
        return Settings(*(table.replace(wanted) for table in (self.model, self.training)))

    def flat(self) -> dict[str, Any]:
        """Return the settings of both tables by name, without the kind. No name is in both tables."""
        model = {name: value for name, value in self.model.to_dict().items() if name != "kind"}
        return model | self.training.to_dict()

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON and TOML hold them."""
        return {"model": self.model.to_dict(), "training": self.training.to_dict()}
