"""The Keras model; importing it registers its classes so that plain Keras can load a `.keras` file."""

from epixs.model.factorization import DeepTensorFactorization, build_model
from epixs.model.factors import GenomeFactors, LabelFactors
from epixs.model.optimizer import RowwiseAdam

__all__ = ["DeepTensorFactorization", "GenomeFactors", "LabelFactors", "RowwiseAdam", "build_model"]
