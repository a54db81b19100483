"""All variables and attributes of a compendium, used to create, check and document it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import numpy as np

from epixs.catalog.experiments import MISSING
from epixs.tracks import Uncovered

REMOVED = "removed"
"""Name of the attribute with the reasons of removed experiments; their `status` begins with the same word."""

JSON_ATTRIBUTES = (REMOVED, "provenance", "plan_settings", "chrom_alias")
"""Attributes that hold JSON as text, because every format for Datasets, netCDF too, can write texts."""


@dataclass(frozen=True)
class Variable:
    """One array of the store: its name, dimensions, dtype, fill value, and meaning."""

    name: str
    dims: tuple[str, ...]
    dtype: str
    fill: Any
    doc: str

    @property
    def attributes(self) -> dict[str, str]:
        """Attributes of the array on disk."""
        return {"long_name": self.doc, **self.encoding}

    @property
    def encoding(self) -> dict[str, str]:
        """Those attributes that xarray uses as encoding.

        With `missing_value`, xarray reads Zarr's strings as Python strings. These can stand beside NaN, in
        rows that a join leaves without a label, and such rows can be written and read again. Without it, the
        strings are numpy's StringDType, which allows neither.
        """
        return {"missing_value": MISSING} if self.dtype == "string" else {}


SIGNAL = Variable(
    "signal",
    ("experiment", "bin"),
    "float32",
    np.nan,
    "arcsinh of the mean over the bin, rounded to 1/2048; NaN where missing",
)


SPREAD = Variable(
    "spread",
    SIGNAL.dims,
    SIGNAL.dtype,
    np.nan,
    "spread of the imputation's error: the observed signal is within 1.2816 of it in about 80 % of the bins; "
    "NaN where that is not known",
)
"""Variable of imputed stores whose model gives it, with the scale, chunks and shards of the signal."""


EXPECTED_PEARSON = Variable(
    "expected_pearson",
    ("experiment",),
    "float32",
    np.nan,
    "expected Pearson correlation of the imputed track with a measured one, over bins, arcsinh units; "
    "NaN where it is not known",
)
"""Of imputed stores, if the model knows it. No coordinate: else stores without it do not concatenate."""


EXPERIMENT = Variable(
    "experiment", ("experiment",), "string", "", "biosample / assay; a removed one's accession follows"
)
"""Unique names of the rows. xarray loads a variable that has the name of its dimension, and aligns by it: so
observed and imputed rows of one biosample and assay come to lie beside each other."""

EXPERIMENT_LABELS = (
    Variable("biosample", ("experiment",), "string", "", "biosample name"),
    Variable("assay", ("experiment",), "string", "", "assay name, with target, output type and strand"),
    Variable("assay_class", ("experiment",), "string", "", "histone, protein_binding, transcription, ..."),
    Variable("accession", ("experiment",), "string", "", "accession of the bigWig file"),
    Variable("output_type", ("experiment",), "string", "", "what the track's own units are"),
    Variable("strand", ("experiment",), "string", "", "plus, minus or empty"),
    Variable("source", ("experiment",), "string", "", "path or URL the row was read from"),
    Variable("source_size", ("experiment",), "int64", -1, "bytes of the source; -1 where unknown"),
    Variable("md5sum", ("experiment",), "string", "", "as the catalog gives it"),
)

STATUS = Variable("status", ("experiment",), "string", "", "'ok', or why the row could not be read")

EXPERIMENT_SUMMARIES = (
    STATUS,
    Variable("signal_mean", ("experiment",), "float64", np.nan, "mean of the row, arcsinh units"),
    Variable("signal_min", ("experiment",), "float64", np.nan, "smallest value of the row, arcsinh units"),
    Variable("signal_max", ("experiment",), "float64", np.nan, "largest value of the row, arcsinh units"),
    Variable("zero_fraction", ("experiment",), "float64", np.nan, "share of the row's bins that are 0"),
    Variable("covered_fraction", ("experiment",), "float64", np.nan, "share of bases that have a value"),
    Variable(
        "source_notes", ("experiment",), "string", "", "what was unusual in the file, and how it was read"
    ),
)

REGION_TABLE = (
    Variable("region_name", ("region",), "string", "", "name of the region"),
    Variable("region_chrom", ("region",), "string", "", "chromosome"),
    Variable("region_start", ("region",), "int64", -1, "first base, 0-based, a multiple of 25"),
    Variable("region_end", ("region",), "int64", -1, "base after the last"),
    Variable("region_first_bin", ("region",), "int64", -1, "the region's first bin along `bin`"),
    Variable(
        "region_chrom_size", ("region",), "int64", -1, "length of its chromosome in bp; -1 where unknown"
    ),
)

KIND = Variable("kind", ("experiment",), "string", "", "'observed' or 'imputed', as the store's attribute")
"""Kind of each row, so that it stays known when rows of several stores are concatenated."""

BIN_INDEX = Variable(
    "bin_index",
    ("bin",),
    "int64",
    -1,
    "number of the bin along the store; the region table says where it lies",
)
"""Number of each bin. Selecting or reversing bins keeps it; after averaging it is no longer an integer. It is
chunked, so that no reader has to load it whole."""

TABLES = (EXPERIMENT, *EXPERIMENT_LABELS, KIND, *EXPERIMENT_SUMMARIES, *REGION_TABLE)
"""Coordinates that are small and are written whole."""

COORDINATES = (*TABLES, BIN_INDEX)

ADDED = (EXPERIMENT.name, KIND.name, BIN_INDEX.name, "source_notes", "region_chrom_size")
"""Coordinates that stores of earlier versions lack; `open_compendium` adds them."""


class Attributes(TypedDict):
    """Attributes of a compendium, with those in JSON parsed."""

    kind: str  # "observed" or "imputed"
    status: str  # "unfinished" until every tile is written and checked, then "complete"
    species: str
    assembly: str
    uncovered: Uncovered  # how bases without a value were counted
    plan: str  # fingerprint of the experiments, regions and settings that the store was planned from
    plan_settings: NotRequired[dict[str, Any]]  # the settings of which `plan` is the digest
    provenance: NotRequired[Provenance]  # only of an imputed store
    removed: NotRequired[dict[str, str]]  # the reason for each accession that was removed
    chrom_alias: NotRequired[dict[str, str]]  # other names of chromosomes, if a table of them was given


class Training(TypedDict):
    """The experiments of one species on which a model was trained, and those among them held out."""

    source: str
    plan: str
    experiments: list[tuple[str, str]]
    accessions: list[str]
    held_out: list[tuple[str, str]]
    aliases: NotRequired[dict[str, str]]


class Provenance(TypedDict, total=False):
    """The origin of an imputed store; some kinds of model add entries."""

    model: str
    model_fingerprint: str
    model_kind: str
    training: dict[str, Training]
    ranges: dict[str, tuple[float, float]]  # range of each assay's signal in training, arcsinh units
    signal: dict[str, str]
    factors: str
    factors_fingerprint: str
