"""How many parameters a model has, from its sizes alone."""

from __future__ import annotations

from epixs.axis.axis import JointAxis
from epixs.config import TrainConfig


def count_parameters(axis: JointAxis, config: TrainConfig) -> int:
    """Parameters of the model that a configuration makes for an axis."""
    shared = axis.n_biosamples * config.biosample_factors + len(axis.assays) * config.assay_factors
    width = config.biosample_factors + config.assay_factors + sum(config.genome_factors)
    for units in (*config.hidden, 1):
        shared += (width + 1) * units
        width = units
    return shared + sum(n * k for n, k in zip(axis.n_positions, config.genome_factors, strict=True))
