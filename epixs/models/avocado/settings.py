"""Settings that define a deep tensor factorization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from epixs.config import POSITIVE, SHARE, ModelSettings, between, sizes


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

    hidden: Annotated[tuple[int, ...], sizes()] = (2048, 2048)
    biosample_factors: Annotated[int, between(1, 10_000_000)] = 32
    assay_factors: Annotated[int, between(1, 10_000_000)] = 256
    genome_factors: Annotated[tuple[int, int, int], sizes(count="3 of them")] = (25, 40, 45)
    genome_multiplier: Annotated[float, POSITIVE] = 20.0
    genome_dropout: Annotated[float, SHARE] = 0.3
    zero_shot: bool = True
    target: str = ""
