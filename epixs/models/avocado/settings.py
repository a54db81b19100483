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
        Ratio of the learning rate of genome factors to that of shared parameters.
    genome_dropout
        Share of a position's factors that training sets to 0.
    zero_shot
        Whether assays that a target species lacks do not train the genome factors of the other species
        (docs/training.md).
    target
        Target species of zero-shot imputation, several separated by commas. If empty, it is the species with
        an assay that is excluded as a whole and that another species keeps, else the species with excluded
        experiments, else the one with the fewest experiments.
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
