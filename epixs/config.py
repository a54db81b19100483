"""Training settings: a frozen dataclass, read from TOML, every value checked."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epixs.errors import ConfigError

MODELS = ("avocado",)
PRECISIONS = ("auto", "float32", "bfloat16")
NOT_NEGATIVE = ("epochs", "max_minutes", "checkpoint_minutes", "weight_decay", "patience", "held_out_tracks")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run; `docs/training.md` says how the defaults were found.

    Parameters
    ----------
    model
        Kind of model; `"avocado"` is the paper's deep tensor factorization.
    hidden, biosample_factors, assay_factors, genome_factors
        Sizes of the model.
    batch_size, experiments_per_position
        Entries a step, and how many of them share a position. A `batch_size` of 0 plans it: a 28th of the
        positions, 1,000 to the paper's 40,000 (docs/settings.md).
    epochs
        Passes over the positions; the learning rate falls over all of them. 0 plans them from the number of
        experiments: half of those at a position, 8 to 200.
    max_minutes
        Stop by then; fewer epochs are planned where they would not fit.
    checkpoint_minutes
        How often the state is saved from which `--resume` goes on; 0 saves it after every step.
    learning_rate, genome_multiplier
        Of shared parameters, and how much larger it is for genome factors.
    weight_decay
        Of shared parameters (decoupled, AdamW).
    genome_dropout
        Share of a position's factors set to 0 in training.
    zero_shot
        Let assays that a target species lacks leave the genome factors of the others alone
        (docs/training.md).
    target
        The species that zero-shot imputation is meant for, several separated by commas. Empty, it is the one
        of which an assay is excluded as a whole that another species keeps, else the one with excluded
        experiments, else the one with the fewest.
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
        Of the hidden layers' products in training: `"float32"`, `"bfloat16"`, or `"auto"`: what multiplies
        faster on this machine, by trying. Imputation is float32.
    memory_gb
        Refuse to start beyond this much memory.
    seed
        Decides everything that is drawn.
    """

    model: str = "avocado"
    hidden: tuple[int, ...] = (2048, 2048)
    biosample_factors: int = 32
    assay_factors: int = 256
    genome_factors: tuple[int, int, int] = (25, 40, 45)
    batch_size: int = 0
    experiments_per_position: int = 1
    epochs: int = 0
    max_minutes: float = 0.0
    checkpoint_minutes: float = 10.0
    learning_rate: float = 2.5e-4
    genome_multiplier: float = 20.0
    weight_decay: float = 0.0
    genome_dropout: float = 0.3
    zero_shot: bool = True
    target: str = ""
    held_out: float = 0.02
    held_out_tracks: int = 0
    species_weight: str = "by_bins"
    patience: int = 5
    precision: str = "auto"
    memory_gb: float = 16.0
    seed: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(
                self, field.name, _checked(field.name, getattr(self, field.name), field.default)
            )
        if self.model not in MODELS:
            raise ConfigError("model", got=repr(self.model), expected=f"one of {', '.join(MODELS)}")
        _require("precision", repr(self.precision), self.precision in PRECISIONS, " or ".join(PRECISIONS))
        _require("genome_factors", self.genome_factors, len(self.genome_factors) == 3, "three sizes")
        _require("hidden", self.hidden, len(self.hidden) >= 1, "at least one width")
        for name in ("hidden", "genome_factors"):
            _require(
                name,
                getattr(self, name),
                all(0 < n <= 65_536 for n in getattr(self, name)),
                "1 to 65,536 each",
            )
        for name in ("biosample_factors", "assay_factors", "experiments_per_position"):
            _require(name, getattr(self, name), 0 < getattr(self, name) <= 10_000_000, "a positive number")
        _require("batch_size", self.batch_size, 0 <= self.batch_size <= 10_000_000, "0 to 10,000,000")
        for name in ("learning_rate", "genome_multiplier", "memory_gb"):
            _require(name, getattr(self, name), getattr(self, name) > 0, "a positive number")
        for name in (*NOT_NEGATIVE, "seed"):
            _require(name, getattr(self, name), getattr(self, name) >= 0, "0 or more")
        _require("seed", self.seed, self.seed < 2**32, "below 2**32")
        for name in ("held_out", "genome_dropout"):
            _require(name, getattr(self, name), 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        _require(
            "held_out", self.held_out, self.held_out > 0, "above 0, or nothing could choose the checkpoint"
        )

    def replace(self, **changes: Any) -> TrainConfig:
        """A copy with the settings that are not None changed."""
        return dataclasses.replace(self, **{k: v for k, v in changes.items() if v is not None})

    def to_dict(self) -> dict[str, Any]:
        """Settings as JSON and TOML hold them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}


def _require(name: str, got: object, holds: bool, expected: str) -> None:
    if not holds:
        raise ConfigError(f"setting {name}", got=got, expected=expected)


def _checked(name: str, value: object, default: object) -> object:
    """Give a value its setting's type, or say why it cannot have it."""
    if isinstance(default, tuple):
        numbers = isinstance(value, (list, tuple)) and all(type(n) is int for n in value)
        _require(name, repr(value), numbers, "a list of whole numbers")
        return tuple(value)  # type: ignore[arg-type]
    if isinstance(default, float):
        _require(name, repr(value), type(value) in (int, float), "a number")
        return float(value)  # type: ignore[arg-type]
    _require(name, repr(value), type(value) is type(default), f"a value like {default!r}")
    return value


def read_config(path: str | Path) -> TrainConfig:
    """Read `[train]` settings (or a table of bare settings) from a TOML file.

    Raises
    ------
    ConfigError
        If the file is no TOML, or a setting is unknown or impossible.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(
            f"configuration {path} {'is a folder' if path.is_dir() else 'does not exist'}",
            next_step="give a TOML file with --config, or leave it out for the defaults",
        )
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    settings = content.get("train", content)
    outside = [name for name in content if "train" in content and _is_setting(name, content[name])]
    if outside:
        raise ConfigError(
            f"{path}: setting outside [train]", got=", ".join(outside), expected="all of them below [train]"
        )
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: train", got=repr(settings), expected="a table, [train]")
    return config_from(settings, where=str(path))


def _is_setting(name: str, value: object) -> bool:
    """Whether a name and its value could be a setting; other tables of a file may use the same names."""
    try:
        TrainConfig(**{name: value})  # type: ignore[arg-type]
    except (ConfigError, TypeError):
        return False
    return True


def config_from(settings: dict[str, Any], where: str) -> TrainConfig:
    """Make a configuration from named settings."""
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    unknown = sorted(set(settings) - names)
    if unknown:
        raise ConfigError(
            f"{where}: unknown setting", got=", ".join(unknown), expected=", ".join(sorted(names))
        )
    try:
        return TrainConfig(**settings)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}") from error
