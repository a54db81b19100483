"""Carry out one fit: train, impute the experiments of the fold, score them beside the baselines."""

from __future__ import annotations

import csv
import gc
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from epixs.axis.join import joint_axis
from epixs.cluster.client import take_one_thread
from epixs.compendium.read import open_compendium, regions_of
from epixs.crossvalidation.plan import Fit
from epixs.crossvalidation.settings import ALL, MODELS
from epixs.crossvalidation.status import FitRow
from epixs.errors import EpixsError
from epixs.evaluation.runs import NOBODY
from epixs.evaluation.scores import evaluate
from epixs.evaluation.table import IMPUTED, Evaluation
from epixs.factors.fit import fit_genome
from epixs.factors.store import open_factors
from epixs.genome.regions import Regions
from epixs.imputation.write import impute
from epixs.ingestion.subset import copy_regions
from epixs.models.folder import open_model
from epixs.storage.fingerprint import crc32
from epixs.storage.ledger import Record
from epixs.storage.store import Store
from epixs.storage.version import epixs_version
from epixs.training.run import train

LABELS = ("training_set", "model", "seed", "fold", "method", "species", "biosample", "assay", "assay_class")
"""First columns of the table of scores."""


def scores_key(fit: Fit) -> str:
    """Return the key under which the store of tasks keeps a fit's rows."""
    return f"scores/{fit.name}.tsv"


def carry_out(run: str, keep: str, store: Store, fits: Sequence[Fit]) -> Iterator[Record]:
    """Carry out fits, write the rows of each, and yield its ledger record. Safe to repeat.

    `run` is the folder of the run; `keep` says which files of a fit stay in it.
    """
    for fit in fits:
        started = time.monotonic()
        folder = Path(run) / "fits" / fit.name
        try:
            evaluation = _fitted_and_scored(fit, folder, Path(run) / "regions")
        except EpixsError as error:
            raise type(error)(f"{fit.description}: {error.message}") from error
        text = (
            rows_of(fit, evaluation)
            .to_csv(sep="\t", index=False, na_rep="NA", lineterminator="\n", quoting=csv.QUOTE_NONE)
            .encode()
        )
        store.put(scores_key(fit), [text])
        row: FitRow = {
            "checksum": f"{crc32(memoryview(text)):08x}",
            "seconds": round(time.monotonic() - started, 3),
            "epixs_version": epixs_version(),
            "remarks": list(evaluation.notes),
        }
        yield Record(fit.fingerprint, [{**row}])  # entered in the ledger before anything is deleted
        clear(folder, keep)
        gc.collect()


def rows_of(fit: Fit, evaluation: Evaluation) -> pd.DataFrame:
    """Make the rows of a fit for the table of scores, with those of its baselines if it has them."""
    scores = evaluation.scores
    is_own = scores["method"] == IMPUTED
    labelled = scores.assign(
        training_set=fit.training_set,
        fold=fit.fold.name,
        model=is_own.map({True: fit.model, False: NOBODY}),
        seed=is_own.map({True: str(fit.seed), False: NOBODY}),
        method=scores["method"].where(~is_own, fit.model),
        species=fit.pairs[0][0],
    )
    rest = [name for name in scores.columns if name not in LABELS]
    baselines = labelled[~is_own] if fit.has_baselines else labelled[:0]
    return pd.concat([baselines, labelled[is_own]])[[*LABELS, *rest]]


def clear(folder: Path, keep: str) -> None:
    """Delete the files of a fit that are not to be kept."""
    if keep == ALL:
        return
    for path in folder.glob("*"):
        if keep != MODELS or path.name != "model":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if keep != MODELS:
        shutil.rmtree(folder, ignore_errors=True)


def _fitted_and_scored(fit: Fit, folder: Path, regions: Path) -> Evaluation:
    take_one_thread()
    folder.mkdir(parents=True, exist_ok=True)
    trained_on, scored = _stores_of(fit, regions)
    train(joint_axis(trained_on, fit.exclude, fit.aliases), fit.settings, folder / "model", resume=True)
    trained = open_model(folder / "model")
    factors = None
    if scored != trained_on[0] and trained.kind.has_genome_factors:
        fit_genome(trained, scored, folder / "factors.zarr")
        factors = open_factors(folder / "factors.zarr")
    impute(trained, scored, folder / "imputed.zarr", pairs=fit.pairs, factors=factors)
    settings = fit.evaluation
    return evaluate(
        folder / "imputed.zarr",
        scored,
        mode=settings.mode,  # type: ignore[arg-type]
        **vars(settings.annotations),
        baselines=settings.baselines,
    )


def _stores_of(fit: Fit, folder: Path) -> tuple[tuple[str, ...], str]:
    """Return the stores that a fit is trained on, and the one that it is scored on."""
    if not fit.fold.regions:
        return fit.stores, fit.stores[0]
    trained_on, scored = region_stores(fit, folder)
    return (str(trained_on), *fit.stores[1:]), str(scored)


def region_stores(fit: Fit, folder: Path) -> tuple[Path, Path]:
    """Return the paths of the compendia of the regions outside a fold, and of those in it."""
    return folder / f"fold-{fit.fold.name}-outside.zarr", folder / f"fold-{fit.fold.name}.zarr"


def write_region_stores(fit: Fit, folder: Path) -> None:
    """Write the compendia of the regions outside a fold, and of those in it; existing ones stay."""
    whole = regions_of(open_compendium(fit.stores[0]))
    inside = [(chrom, start, end) for _, chrom, start, end, _ in fit.fold.regions]
    outside, within = region_stores(fit, folder)
    copy_regions(fit.stores[0], without(whole, inside), outside)
    copy_regions(fit.stores[0], _regions(whole, inside), within)


def _regions(whole: Regions, places: Sequence[tuple[str, int, int]]) -> Regions:
    names = tuple(f"{chrom}:{start}-{end}" for chrom, start, end in places)
    chroms, starts, ends = (tuple(column) for column in zip(*places, strict=True))
    return Regions(whole.assembly, names, chroms, starts, ends, whole.chrom_sizes)


def without(whole: Regions, places: Sequence[tuple[str, int, int]]) -> Regions:
    """Cut some places out of regions."""
    left = []
    for chrom, start, end in zip(whole.chrom, whole.start, whole.end, strict=True):
        for _, low, high in sorted(p for p in places if p[0] == chrom and start <= p[1] and p[2] <= end):
            if start < low:
                left.append((chrom, start, low))
            start = high
        if start < end:
            left.append((chrom, start, end))
    return _regions(whole, left)
