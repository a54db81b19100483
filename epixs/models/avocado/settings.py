"""Settings that define a deep tensor factorization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from epixs.config import ModelSettings, between, positive, setting, share, sizes


@dataclass(frozen=True)
class AvocadoSettings(ModelSettings):
    """Settings of the kind `avocado`, the paper's deep tensor factorization.

    Parameters
    ----------
    hidden, biosample_factors, assay_factors, genome_factors
        Sizes of the model.
    genome_multiplier
        Learning rate of genome factors over that of shared parameters.
    genome_dropout
        Share of a position's factors set to 0 in training.
    zero_shot
        Let assays that a target species lacks leave the genome factors of the others alone
        (docs/training.md).
    target
        The species that zero-shot imputation is meant for, several separated by commas. Empty, it is the one
        of which an assay is excluded as a whole that another species keeps, else the one with excluded
        experiments, else the one with the fewest.
    """

    kind: ClassVar[str] = "avocado"

    hidden: tuple[int, ...] = setting((2048, 2048), sizes())
    biosample_factors: int = setting(32, between(1, 10_000_000))
    assay_factors: int = setting(256, between(1, 10_000_000))
    genome_factors: tuple[int, int, int] = setting((25, 40, 45), sizes(count=3))
    genome_multiplier: float = setting(20.0, positive())
    genome_dropout: float = setting(0.3, share())
    zero_shot: bool = setting(True)
    target: str = setting("")
