"""Settings: frozen dataclasses whose fields say which values are possible."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from epixs.errors import ConfigError, closest

PRECISIONS = ("auto", "float32", "bfloat16")

POSITIVE, NOT_NEGATIVE = "a positive number", "0 or more"

Rule = tuple[Callable[[Any], bool], str]
"""A check of a value, and what it expects in words."""


class Texts(tuple[str, ...]):
    """Several texts, as the default of a setting; other tuples are of whole numbers."""

    __slots__ = ()


def read_toml(path: Path, next_step: str) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    ConfigError
        If there is none, with `next_step`, or it is no TOML.
    """
    if not path.is_file():
        raise ConfigError(
            f"configuration {path} {'is a folder' if path.is_dir() else 'does not exist'}",
            next_step=next_step,
        )
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def setting(default: Any, *rules: Rule) -> Any:
    """Declare a setting by its default, which gives its type too, and the rules that its values obey."""
    return dataclasses.field(default=default, metadata={"rules": rules})


def positive() -> Rule:
    """Numbers above 0."""
    return lambda value: value > 0, POSITIVE


def not_negative() -> Rule:
    """Numbers from 0 on."""
    return lambda value: value >= 0, NOT_NEGATIVE


def between(low: int, high: int) -> Rule:
    """Whole numbers from `low` to `high`."""
    return lambda value: low <= value <= high, f"{low:,} to {high:,}"


def share() -> Rule:
    """Shares of a whole, which they are not."""
    return lambda value: 0 <= value < 1, "at least 0 and below 1"


def sizes(most: int = 65_536, count: int | None = None) -> Rule:
    """Lists of sizes, of a fixed length or at least one."""
    how_many = "at least one size" if count is None else f"{count} sizes"
    return (
        lambda value: (
            all(0 < n <= most for n in value) and (len(value) >= 1 if count is None else len(value) == count)
        ),
        f"{how_many}, 1 to {most:,} each",
    )


def one_of(choices: Iterable[str]) -> Rule:
    """Texts of a list."""
    known = tuple(choices)
    return lambda value: value in known, " or ".join(known)


@dataclass(frozen=True)
class CheckedSettings:
    """Settings of one table, each checked against its default's type and its rules."""

    table: ClassVar[str] = ""
    """Name of the table of a settings file that they stand in."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            name = f"{self.table}.{field.name}"
            value = _typed(name, getattr(self, field.name), field.default)
            object.__setattr__(self, field.name, value)
            for holds, expected in field.metadata.get("rules", ()):
                if not holds(value):
                    raise ConfigError(f"setting {name}", got=repr(value), expected=expected)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the settings."""
        return tuple(field.name for field in dataclasses.fields(cls))

    def replace(self, changes: Mapping[str, Any]) -> Self:
        """A copy with the values of those changes that are settings of this table."""
        return dataclasses.replace(self, **{n: v for n, v in changes.items() if n in self.names()})

    def to_dict(self) -> dict[str, Any]:
        """Settings as JSON and TOML hold them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}


def _typed(name: str, value: object, default: object) -> object:
    """Give a value its setting's type, or say why it cannot have it."""
    if isinstance(default, Texts):
        if isinstance(value, (list, tuple)) and all(type(text) is str for text in value):
            return Texts(value)
        expected = "a list of texts"
    elif isinstance(default, tuple):
        if isinstance(value, (list, tuple)) and all(type(n) is int for n in value):
            return tuple(value)
        expected = "a list of whole numbers"
    elif isinstance(default, float):
        if type(value) in (int, float):
            return float(value)  # type: ignore[arg-type]
        expected = "a number"
    else:
        if type(value) is type(default):
            return value
        expected = f"a value like {default!r}"
    raise ConfigError(f"setting {name}", got=repr(value), expected=expected)


@dataclass(frozen=True)
class ModelSettings(CheckedSettings):
    """Settings that define a network: those of one kind of model, which derives its own from this class."""

    table: ClassVar[str] = "model"
    kind: ClassVar[str] = ""
    """Name of the kind."""

    def to_dict(self) -> dict[str, Any]:
        """Settings as JSON and TOML hold them, with their kind."""
        return {"kind": self.kind, **super().to_dict()}


@dataclass(frozen=True)
class TrainingSettings(CheckedSettings):
    """Settings that say how a model is fitted, whatever its kind; docs/training.md has reasons for defaults.

    Parameters
    ----------
    batch_size, experiments_per_position
        Entries per step, and how many of them share a position. A `batch_size` of 0 plans it: a 28th of the
        positions, 1,000 to the paper's 40,000 (docs/settings.md).
    epochs
        Passes over the positions; the learning rate falls over all of them. 0 plans them from the number of
        experiments: half of those at a position, 8 to 200.
    max_minutes
        Stop by then; fewer epochs are planned where they would not fit.
    checkpoint_minutes
        How often the state is saved from which `--resume` goes on; 0 saves it after every step.
    learning_rate
        Where it begins; it falls to 1 % along a cosine.
    weight_decay
        Decoupled, as in AdamW.
    held_out
        Share of (5 kbp position, experiment) blocks kept for choosing the checkpoint.
    held_out_tracks
        Experiments held out whole, chosen by seed, which then choose the checkpoint instead: what is seen of
        a track elsewhere on the genome makes held-out blocks easier than tracks that were never seen.
    species_weight
        Share of each species in an epoch: `"by_bins"` as in the paper, `"balanced"`, or numbers for all of
        them, as in `"mouse=3, human=1"`.
    patience
        Epochs without a better held-out error after which training stops.
    precision
        Of the hidden layers' products in training: `"float32"` or `"bfloat16"`. `"auto"` times both when
        training starts and takes the faster one. Imputation is float32.
    memory_gb
        Refuse to start beyond this much memory.
    seed
        Decides everything that is drawn.
    """

    table: ClassVar[str] = "training"

    batch_size: int = setting(0, between(0, 10_000_000))
    experiments_per_position: int = setting(1, between(1, 10_000_000))
    epochs: int = setting(0, not_negative())
    max_minutes: float = setting(0.0, not_negative())
    checkpoint_minutes: float = setting(10.0, not_negative())
    learning_rate: float = setting(2.5e-4, positive())
    weight_decay: float = setting(0.0, not_negative())
    held_out: float = setting(
        0.02, share(), (lambda value: value > 0, "above 0, or nothing could choose the checkpoint")
    )
    held_out_tracks: int = setting(0, not_negative())
    species_weight: str = setting("by_bins")
    patience: int = setting(5, not_negative())
    precision: str = setting("auto", one_of(PRECISIONS))
    memory_gb: float = setting(16.0, positive())
    seed: int = setting(0, not_negative(), (lambda value: value < 2**32, "below 2**32"))


@dataclass(frozen=True)
class Settings:
    """All settings of a training run: those of its model, and those of all runs.

    Parameters
    ----------
    model
        Settings of the kind of model, a `ModelSettings`.
    training
        Settings of all kinds.

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
        """A copy with the settings that are not None changed, whichever of the two tables they stand in.

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
        """The settings of both tables by name, without the kind; no name is in both."""
        model = {name: value for name, value in self.model.to_dict().items() if name != "kind"}
        return model | self.training.to_dict()

    def to_dict(self) -> dict[str, Any]:
        """Settings as JSON and TOML hold them."""
        return {"model": self.model.to_dict(), "training": self.training.to_dict()}
