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
    "load_assembly": "epixs.genome",
    "read_regions": "epixs.genome",
    "read_catalog": "epixs.catalog",
    "select_experiments": "epixs.portal",
    # compendium
    "open_tracks": "epixs.compendium.ingest",
    "ingest": "epixs.compendium.ingest",
    "open_client": "epixs.cluster",
    "open_compendium": "epixs.compendium.store",
    # joint axis, sampling and model
    "joint_axis": "epixs.joint",
    "read_pairs": "epixs.pairs",
    "Sampler": "epixs.sampling",
    "training_dataset": "epixs.dataset",
    "held_out_dataset": "epixs.dataset",
    "build_model": "epixs.model",
    "RowwiseAdam": "epixs.model",
    "TrainConfig": "epixs.config",
    "read_config": "epixs.config",
    "train": "epixs.training.run",
    "extend": "epixs.training.extension",
    "fit_genome": "epixs.training.genome",
    "save_model": "epixs.trained",
    "open_model": "epixs.trained",
    "open_factors": "epixs.factors",
    # imputation and evaluation
    "open_imputed": "epixs.imputation",
    "impute": "epixs.imputation",
    "evaluate": "epixs.evaluation",
    "write_report": "epixs.report",
    "EpixsError": "epixs.errors",
}

__all__ = list(_HOMES)

if TYPE_CHECKING:
    from epixs.catalog import read_catalog as read_catalog
    from epixs.cluster import open_client as open_client
    from epixs.compendium.ingest import ingest as ingest
    from epixs.compendium.ingest import open_tracks as open_tracks
    from epixs.compendium.store import open_compendium as open_compendium
    from epixs.config import TrainConfig as TrainConfig
    from epixs.config import read_config as read_config
    from epixs.dataset import held_out_dataset as held_out_dataset
    from epixs.dataset import training_dataset as training_dataset
    from epixs.errors import EpixsError as EpixsError
    from epixs.evaluation import evaluate as evaluate
    from epixs.factors import open_factors as open_factors
    from epixs.genome import load_assembly as load_assembly
    from epixs.genome import read_regions as read_regions
    from epixs.imputation import impute as impute
    from epixs.imputation import open_imputed as open_imputed
    from epixs.joint import joint_axis as joint_axis
    from epixs.model import RowwiseAdam as RowwiseAdam
    from epixs.model import build_model as build_model
    from epixs.pairs import read_pairs as read_pairs
    from epixs.portal import select_experiments as select_experiments
    from epixs.report import write_report as write_report
    from epixs.sampling import Sampler as Sampler
    from epixs.trained import open_model as open_model
    from epixs.trained import save_model as save_model
    from epixs.training.extension import extend as extend
    from epixs.training.genome import fit_genome as fit_genome
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
