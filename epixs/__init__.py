"""Epigenomes across species: bigWig tracks to compendia to cross-species imputations.

The public names in the order of the data flow. Importing epixs imports no TensorFlow: what needs it is
loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from epixs._keras import register_when_keras_is_imported

_HOMES = {
    # genome and catalog
    "load_assembly": "epixs.genome.assembly",
    "read_regions": "epixs.genome.bed",
    "read_catalog": "epixs.catalog.experiments",
    "select_experiments": "epixs.catalog.portal",
    # compendium
    "open_tracks": "epixs.ingestion.lazy",
    "ingest": "epixs.ingestion.run",
    "open_client": "epixs.cluster.client",
    "open_compendium": "epixs.compendium.read",
    # joint axis, sampling and model
    "joint_axis": "epixs.axis.join",
    "read_pairs": "epixs.catalog.pairs",
    "read_aliases": "epixs.axis.aliases",
    "Sampler": "epixs.sampling",
    "training_dataset": "epixs.training.dataset",
    "held_out_dataset": "epixs.training.dataset",
    "build_model": "epixs.models.avocado.network",
    "RowwiseAdam": "epixs.models.avocado.optimizer",
    "Settings": "epixs.config",
    "make_settings": "epixs.models.settings",
    "read_settings": "epixs.models.settings",
    "callbacks": "epixs.training",
    "train": "epixs.training.run",
    "extend": "epixs.training.extension",
    "fit_genome": "epixs.factors.fit",
    "save_model": "epixs.models.folder",
    "open_model": "epixs.models.folder",
    "open_factors": "epixs.factors.store",
    # imputation and evaluation
    "open_imputed": "epixs.imputation.write",
    "impute": "epixs.imputation.write",
    "evaluate": "epixs.evaluation.scores",
    "write_report": "epixs.report.tables",
    "EpixsError": "epixs.errors",
    "EpixsWarning": "epixs.errors",
}

__all__ = list(_HOMES)

if TYPE_CHECKING:
    from epixs.axis.aliases import read_aliases as read_aliases
    from epixs.axis.join import joint_axis as joint_axis
    from epixs.catalog.experiments import read_catalog as read_catalog
    from epixs.catalog.pairs import read_pairs as read_pairs
    from epixs.catalog.portal import select_experiments as select_experiments
    from epixs.cluster.client import open_client as open_client
    from epixs.compendium.read import open_compendium as open_compendium
    from epixs.config import Settings as Settings
    from epixs.errors import EpixsError as EpixsError
    from epixs.errors import EpixsWarning as EpixsWarning
    from epixs.evaluation.scores import evaluate as evaluate
    from epixs.factors.fit import fit_genome as fit_genome
    from epixs.factors.store import open_factors as open_factors
    from epixs.genome.assembly import load_assembly as load_assembly
    from epixs.genome.bed import read_regions as read_regions
    from epixs.imputation.write import impute as impute
    from epixs.imputation.write import open_imputed as open_imputed
    from epixs.ingestion.lazy import open_tracks as open_tracks
    from epixs.ingestion.run import ingest as ingest
    from epixs.models.avocado.network import build_model as build_model
    from epixs.models.avocado.optimizer import RowwiseAdam as RowwiseAdam
    from epixs.models.folder import open_model as open_model
    from epixs.models.folder import save_model as save_model
    from epixs.models.settings import make_settings as make_settings
    from epixs.models.settings import read_settings as read_settings
    from epixs.report.tables import write_report as write_report
    from epixs.sampling import Sampler as Sampler
    from epixs.training import callbacks as callbacks
    from epixs.training.dataset import held_out_dataset as held_out_dataset
    from epixs.training.dataset import training_dataset as training_dataset
    from epixs.training.extension import extend as extend
    from epixs.training.run import train as train


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'epixs' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


# `import epixs` gives every xarray Dataset its `.epixs`, and Keras our classes.
importlib.import_module("epixs.compendium.accessor")
register_when_keras_is_imported()
