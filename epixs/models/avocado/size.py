"""Count the parameters of a model, from its sizes alone."""

from __future__ import annotations

from epixs.axis.axis import JointAxis
from epixs.models.avocado.settings import AvocadoSettings


def count_parameters(axis: JointAxis, settings: AvocadoSettings) -> int:
    """Count the parameters of the model that settings make for an axis."""
    shared = axis.n_biosamples * settings.biosample_factors + len(axis.assays) * settings.assay_factors
    width = settings.biosample_factors + settings.assay_factors + sum(settings.genome_factors)
    for units in (*settings.hidden, 1):
        shared += (width + 1) * units
        width = units
    return shared + sum(n * k for n, k in zip(axis.n_positions, settings.genome_factors, strict=True))
