"""Write factors of biosamples and assays as AnnData files, one row per label, to cluster and plot them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from epixs.axis.axis import JointAxis
from epixs.errors import ConfigError, TrainingError
from epixs.models.folder import TrainedModel, open_model
from epixs.storage.version import epixs_version

SUFFIX = ".h5ad"


@dataclass(frozen=True, eq=False)
class LabelTable:
    """Factors of one kind of labels.

    Parameters
    ----------
    what
        `"biosample"` or `"assay"`.
    factors
        Shape `(label, factor)`.
    labels
        Metadata of each label, by its name.
    """

    what: str
    factors: npt.NDArray[np.float32]
    labels: pd.DataFrame


def label_tables(trained: TrainedModel) -> list[LabelTable]:
    """Return the factors of a model's labels: of biosamples and assays, or of assays alone (`context`).

    Raises
    ------
    TrainingError
        If the kind of model has no such factors.
    """
    axis, weights = trained.axis, trained.kind.label_factors(trained.model)
    if not weights:
        raise TrainingError(
            f"{trained.folder}: its labels have no factors",
            got=f"a model of kind {trained.kind.name}",
            expected="one whose biosamples or assays have factors",
        )
    labels_of = {"biosample": _biosamples, "assay": _assays}
    return [LabelTable(what, weights[what], of(axis)) for what, of in labels_of.items() if what in weights]


def _biosamples(axis: JointAxis) -> pd.DataFrame:
    """List biosamples in the order of the axis. Their names include the species, so that they differ."""
    rows = [
        (name, part.species, int((part.training["biosample"] == name).sum()))
        for part in axis.parts
        for name in part.biosamples
    ]
    table = pd.DataFrame(rows, columns=["biosample", "species", "training_experiments"])
    table.index = pd.Index([f"{species} / {name}" for name, species, _ in rows], dtype=object)
    return table


def _assays(axis: JointAxis) -> pd.DataFrame:
    """List assays in the order of the axis, with their class and the species that measured them."""
    rows = []
    for assay in axis.assays:
        counts = {part.species: int((part.training["assay"] == assay).sum()) for part in axis.parts}
        measured = ", ".join(species for species, count in counts.items() if count)
        rows.append((assay, axis.assay_classes.get(assay, ""), measured, sum(counts.values())))
    table = pd.DataFrame(rows, columns=["assay", "assay_class", "species", "training_experiments"])
    table.index = pd.Index(list(axis.assays), dtype=object)
    return table


def export_factors(model: str | Path | TrainedModel, path: str | Path) -> list[Path]:
    """Write the factors of a model's biosamples and assays as two AnnData files.

    Parameters
    ----------
    model
        A model folder, or a model from `open_model`.
    path
        Name of the files: `factors.h5ad` gives `factors.biosamples.h5ad` and `factors.assays.h5ad`. There are
        two files because vectors of two lengths do not fit into one matrix. Models of kind `context` only
        have factors of assays, those of all members side by side.

    Returns
    -------
    The files. Rows have their labels, species, assay class and number of training experiments.

    Raises
    ------
    TrainingError
        If the folder holds no model, or its labels have no factors.
    ConfigError
        If anndata is not installed, or the files cannot be written there.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ConfigError("a file for factors", got=str(path), expected=f"a name that ends with {SUFFIX}")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: no folder {path.parent}", next_step="make that folder first")
    anndata = _anndata()
    trained = model if isinstance(model, TrainedModel) else open_model(model)
    made = []
    for table in label_tables(trained):
        where = {"model": trained.folder.name, "kind": trained.kind.name, "fingerprint": trained.fingerprint}
        content = anndata.AnnData(
            table.factors,
            obs=_categorical(table.labels),
            var=pd.DataFrame(
                index=pd.Index([f"factor{n}" for n in range(table.factors.shape[1])], dtype=object)
            ),
            uns=where | {"epixs_version": epixs_version()},
        )
        target = path.with_name(f"{path.stem}.{table.what}s{SUFFIX}")
        partial = target.with_name(f"partial-{target.name}")
        try:
            content.write_h5ad(partial)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
        made.append(target)
    return made


def _categorical(labels: pd.DataFrame) -> pd.DataFrame:
    """Convert texts to categories of Python strings: AnnData before 0.13 cannot write those of pandas 3."""
    made = labels.copy()
    for name in labels.columns:
        if not pd.api.types.is_numeric_dtype(labels[name]):
            known = pd.Index(sorted(set(labels[name])), dtype=object)
            made[name] = pd.Categorical(labels[name].astype(object), categories=known)
    return made


def _anndata() -> Any:
    try:
        import anndata
    except ImportError as error:
        raise ConfigError(
            "AnnData files need anndata",
            got="it is not installed",
            next_step="install it with `pip install anndata`, or epixs with its extra `tables`; "
            "anndata takes pandas 2, so it may need an environment of its own",
        ) from error
    return anndata
