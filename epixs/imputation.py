"""A trained model -> lazy xarray Dataset -> imputed Zarr, in the layout of a compendium."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf
import xarray as xr

from epixs.compendium.lazy import Block, lazy_dataset
from epixs.compendium.ledger import Record, read_ledger, row_statistics, write_record
from epixs.compendium.lock import writing
from epixs.compendium.plan import Plan, Progress, Tile, digest
from epixs.compendium.schema import EXPERIMENT_LABELS
from epixs.compendium.store import open_compendium, regions_of
from epixs.compendium.write import finalise, prepare_store, write_block
from epixs.errors import AxisError, closest
from epixs.factors import FactorStore
from epixs.genome import BIN_SIZE
from epixs.joint import JointAxis, SpeciesAxis
from epixs.pairs import Pair, why_unknown
from epixs.trained import TrainedModel, as_trained
from epixs.transforms import quantise

ACTIVATION_VALUES = 1 << 24
"""Activations of the widest layer computed at once: 64 MiB of float32."""


class Predictor:
    """Predicts bins x pairs of one species, in blocks that bound the memory of the activations.

    Parameters
    ----------
    trained
        The model.
    pairs
        What to predict, all of one species.
    factors
        Genome factors that were fitted apart, of other regions; else the model's own.
    """

    def __init__(
        self, trained: TrainedModel, pairs: Sequence[Pair], factors: FactorStore | None = None
    ) -> None:
        species = pairs[0][0]
        axis = trained.axis
        self.part, self.offset, self.factors = axis.part(species), axis.offsets(species), factors
        self.biosample = axis.biosample_index(species, [pair[1] for pair in pairs])
        self.assay = axis.assay_index([pair[2] for pair in pairs])
        self.low = np.array([trained.bounds[pair[2]][0] for pair in pairs], dtype=np.float32)
        self.high = np.array([trained.bounds[pair[2]][1] for pair in pairs], dtype=np.float32)
        self._widest = max(trained.config.hidden)
        model = trained.model

        @tf.function(
            input_signature=[
                tf.TensorSpec((None, 3), tf.int32),
                tf.TensorSpec((1, None), tf.int32),
                tf.TensorSpec((1, None), tf.int32),
            ],
            autograph=False,
        )
        def forward(position: Any, biosample: Any, assay: Any) -> Any:
            return model({"position": position, "biosample": biosample, "assay": assay}, training=False)

        @tf.function(
            input_signature=[
                tf.TensorSpec((None, sum(trained.config.genome_factors)), tf.float32),
                tf.TensorSpec((1, None), tf.int32),
                tf.TensorSpec((1, None), tf.int32),
            ],
            autograph=False,
        )
        def forward_factors(values: Any, biosample: Any, assay: Any) -> Any:
            return model.decode(model.genome.project(values)[:, None, :], biosample, assay)

        self._forward, self._forward_factors = forward, forward_factors

    def predict(self, start: int, stop: int, rows: slice = slice(None)) -> npt.NDArray[np.float32]:
        """Predict bins `[start, stop)` of the species for some of the pairs, shape `(pair, bin)`.

        Arcsinh units, bounded by what each assay has shown in training (the inverse, sinh, turns a
        prediction a little too high into one that is absurd).
        """
        biosample, assay = self.biosample[None, rows], self.assay[None, rows]
        block = max(256, ACTIVATION_VALUES // (self._widest * biosample.shape[1]))
        parts = []
        for first in range(start, stop, block):
            last = min(stop, first + block)
            if self.factors is not None:
                found = self._forward_factors(self.factors.read(first, last), biosample, assay)
            else:
                position = self.part.positions(np.arange(first, last)) + self.offset
                found = self._forward(position, biosample, assay)
            parts.append(found.numpy()[..., 0])
        values = np.concatenate(parts).T
        return quantise(np.clip(values, self.low[rows, None], self.high[rows, None]))


def check_store(trained: TrainedModel, path: str | Path, factors: FactorStore | None = None) -> str:
    """Check that a store's bins are those a model (or its factors) was fitted to; returns its species.

    Raises
    ------
    AxisError
        Naming what differs.
    """
    dataset = open_compendium(path)
    species = str(dataset.attrs["species"])
    if species not in trained.axis.species:
        raise AxisError(
            f"{path} and {trained.folder} do not fit together: species",
            got=repr(species),
            expected=f"one of {', '.join(trained.axis.species)}, which the model was trained on",
            next_step="train with this store, or give the store of one of these species",
        )
    known = trained.axis.part(species)
    if factors is not None:
        if factors.plan.model != trained.fingerprint:
            raise AxisError(
                f"{factors.path} belongs to another model than {trained.folder}",
                got=factors.plan.model,
                expected=trained.fingerprint,
                next_step="fit them with `epixs fit-genome` and this model",
            )
        known = factors.plan.part
        if known.species != species:
            raise AxisError(f"{factors.path}: species", got=known.species, expected=species)
    mine, theirs = known.regions, regions_of(dataset)
    if mine != theirs:
        raise AxisError(
            f"{path} and {trained.folder} do not fit together: regions of {species}",
            got=f"{len(theirs)} regions, {theirs.n_bins:,} bins, of which {theirs.first_difference(mine)}",
            expected=f"{len(mine)} regions, {mine.n_bins:,} bins on {mine.assembly}, as in training",
            next_step=f"use the store it was trained on ({known.source}), or fit genome factors of these "
            "regions with `epixs fit-genome`",
        )
    return species


def imputable(axis: JointAxis, pairs: Sequence[Pair]) -> list[Pair]:
    """Those pairs whose biosample and assay each have a training experiment somewhere."""
    assays = _trained_assays(axis)
    biosamples = {(part.species, name) for part in axis.parts for name in part.training["biosample"]}
    return [pair for pair in pairs if pair[2] in assays and pair[:2] in biosamples]


def _trained_assays(axis: JointAxis) -> set[str]:
    return {assay for part in axis.parts for assay in part.training["assay"]}


def unknown_biosamples(
    trained: TrainedModel, path: str | Path, factors: FactorStore | None = None
) -> list[str]:
    """Biosamples of a store of which the model saw no training experiment, so that none can be imputed."""
    known = set(trained.axis.part(check_store(trained, path, factors)).training["biosample"])
    return sorted(set(open_compendium(path).biosample.to_numpy()) - known)


def choose_pairs(
    trained: TrainedModel, species: str, *, pairs: Sequence[Pair] | None = None, everything: bool = False
) -> list[Pair]:
    """Pairs to impute: those asked for, all, or (by default) all that were not trained on.

    Raises
    ------
    AxisError
        If a pair asked for has a biosample or an assay that the model never saw.
    """
    axis = trained.axis
    if pairs is None:
        chosen = imputable(axis, axis.all_pairs(species) if everything else axis.missing_pairs(species))
        if not chosen:
            raise AxisError(f"nothing is left to impute in {species}", next_step="give --pairs or --all")
        return chosen
    named = dict.fromkeys(axis.joint_pair(pair) for pair in pairs)
    strangers = sorted({pair[0] for pair in named} - set(axis.species))
    if strangers:
        raise AxisError(
            "pairs of a species that the model does not know",
            got=f"{strangers[0]!r}{closest(strangers[0], axis.species)}",
            expected=f"one of {', '.join(axis.species)}",
        )
    mine = [pair for pair in named if pair[0] == species]
    if not mine:
        raise AxisError(
            "no pair of this store's species", got=sorted({p[0] for p in pairs}), expected=species
        )
    possible = set(imputable(axis, mine))
    unknown = [pair for pair in mine if pair not in possible]
    if unknown:
        part = axis.part(species)
        raise AxisError(
            f"{len(unknown)} pair(s) cannot be imputed: no training experiment of their biosample or assay",
            got="; ".join(f"{' / '.join(pair)}: {_why_not(axis, part, *pair[1:])}" for pair in unknown[:3]),
            expected="a biosample and an assay that training saw",
        )
    return mine


def _why_not(axis: JointAxis, part: SpeciesAxis, biosample: str, assay: str) -> str:
    """Say why a pair cannot be imputed: a label is not known, or all its experiments are set aside."""
    aside = []
    if biosample in part.biosamples and biosample not in set(part.training["biosample"]):
        aside.append(f"all experiments of biosample {biosample!r} are excluded")
    if assay in axis.assays and assay not in _trained_assays(axis):
        aside.append(f"all experiments of assay {assay!r} are excluded")
    return " and ".join(aside) or why_unknown(biosample, assay, set(part.biosamples), set(axis.assays))


def provenance(trained: TrainedModel, factors: FactorStore | None = None) -> dict[str, Any]:
    """What an imputed store says about where it came from."""
    content: dict[str, Any] = {
        "model": trained.folder.name,
        "model_fingerprint": trained.fingerprint,
        "model_kind": trained.config.model,
        "training": {part.species: _training_of(part) for part in trained.axis.parts},
    }
    if factors is None:
        return content
    mine = factors.plan.part
    seen, fitted = content["training"][mine.species], _training_of(mine)
    new = [at for at, pair in enumerate(fitted["experiments"]) if pair not in seen["experiments"]]
    for name in ("experiments", "accessions"):
        fitted[name] = seen[name] + [fitted[name][at] for at in new]
    fitted["held_out"] = seen["held_out"]
    content["training"][mine.species] = fitted
    return content | {"factors": factors.path, "factors_fingerprint": factors.fingerprint}


def _training_of(part: SpeciesAxis) -> dict[str, Any]:
    held_out = part.experiments[part.experiments["held_out"]]
    return {
        "source": part.source,
        "plan": part.plan,
        "experiments": part.training[["biosample", "assay"]].to_numpy().tolist(),
        "accessions": part.training["accession"].tolist(),
        "held_out": held_out[["biosample", "assay"]].to_numpy().tolist(),
        **({"aliases": part.aliases} if part.aliases else {}),
    }


def plan_imputation(trained: TrainedModel, pairs: Sequence[Pair], factors: FactorStore | None = None) -> Plan:
    """Plan the imputed store of some pairs of one species."""
    axis = trained.axis
    species = pairs[0][0]
    regions = (axis.part(species) if factors is None else factors.plan.part).regions
    units = axis.units() | axis.units(species)  # where it has an assay, its own
    rows = [
        {
            "biosample": biosample,
            "assay": axis.part(species).store_name(assay),  # so that observed and imputed go together by name
            "assay_class": axis.assay_classes[assay],
            "accession": imputed_accession(trained.fingerprint, species, biosample, assay),
            "output_type": " | ".join(units[assay]),
            "strand": next((s for s in ("plus", "minus") if f"_{s}_strand" in assay), ""),
            "source": f"model {trained.folder.name} {trained.fingerprint}",
            "source_size": -1,
            "md5sum": "",
        }
        for _, biosample, assay in pairs
    ]
    experiments = pd.DataFrame(rows)[[variable.name for variable in EXPERIMENT_LABELS]]
    return Plan("imputed", species, experiments, regions, "zero", provenance(trained, factors))


def imputed_accession(model: str, species: str, biosample: str, assay: str) -> str:
    """Accession of an imputed experiment: one per model (fingerprint), species, biosample and assay."""
    return f"imputed-{model[:8]}-{digest([species, biosample, assay])[:12]}"


def impute(
    model: Any,
    store: str | Path,
    out: str | Path,
    *,
    pairs: Sequence[Pair] | None = None,
    everything: bool = False,
    factors: FactorStore | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> pd.DataFrame:
    """Write the imputed compendium of a store's species; run again, it resumes.

    Parameters
    ----------
    model
        From `open_model`; or a Keras model from `build_model` that a script of one's own has fitted.
    store
        The species' compendium, whose bins are imputed.
    out
        The imputed store.
    pairs
        What to impute; by default every (biosample of the species, assay of the union) not trained on.
    everything
        Impute the pairs that were trained on as well.
    factors
        From `open_factors`: genome factors of the store's regions, where the model was trained on others.
    progress
        Called after each tile.

    Returns
    -------
    The imputed experiments as a table.

    Raises
    ------
    AxisError
        If model, store or pairs do not fit together.
    """
    trained = as_trained(model)
    species = check_store(trained, store, factors)
    chosen = choose_pairs(trained, species, pairs=pairs, everything=everything)
    with writing(out):
        return _impute(trained, chosen, out, factors, progress)


def _impute(
    trained: TrainedModel,
    chosen: list[Pair],
    out: str | Path,
    factors: FactorStore | None,
    progress: Callable[[Progress], None] | None,
) -> pd.DataFrame:
    plan = prepare_store(out, plan_imputation(trained, chosen, factors))
    predictor = Predictor(trained, chosen, factors)
    origin = trained.fingerprint if factors is None else digest([trained.fingerprint, factors.fingerprint])
    records = read_ledger(out)
    tiles = list(plan.tiles())
    done = total = 0
    for number, tile in enumerate(tiles):
        total = plan.n_bytes
        fingerprint = _tile_fingerprint(origin, chosen, tile)
        record = records.get((tile.row_group, tile.bin_range))
        if record is None or record.fingerprint != fingerprint:
            values = predictor.predict(tile.first_bin, tile.stop_bin, slice(tile.first_row, tile.stop_row))
            write_block(out, tile, list(values))
            bases = (tile.stop_bin - tile.first_bin) * BIN_SIZE
            rows = [row_statistics(row, bases, bases) for row in values]
            write_record(out, tile, Record(fingerprint, rows))
        done += tile.n_values * 4
        if progress:
            progress(Progress(number + 1, len(tiles), done, total))
    return finalise(
        out, plan, lambda tile, record: record.fingerprint == _tile_fingerprint(origin, chosen, tile)
    )


def _tile_fingerprint(origin: str, pairs: Sequence[Pair], tile: Tile) -> str:
    return digest([origin, list(pairs[tile.first_row : tile.stop_row]), tile.first_bin, tile.stop_bin])


def open_imputed(
    model: Any,
    store: str | Path,
    *,
    pairs: Sequence[Pair] | None = None,
    everything: bool = False,
    factors: FactorStore | None = None,
) -> xr.Dataset:
    """The Dataset that `impute` would write, computed block by block only when it is read."""
    trained = as_trained(model)
    species = check_store(trained, store, factors)
    chosen = choose_pairs(trained, species, pairs=pairs, everything=everything)
    plan = plan_imputation(trained, chosen, factors)
    predictor = Predictor(trained, chosen, factors)

    def block_of(tile: Tile) -> Block:
        rows = slice(tile.first_row, tile.stop_row)
        return functools.partial(predictor.predict, tile.first_bin, tile.stop_bin, rows)

    return lazy_dataset(plan, block_of)
