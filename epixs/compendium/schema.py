"""Every variable and attribute of a compendium, by name: used to create, to check and to document it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import numpy as np

from epixs.catalog.experiments import MISSING
from epixs.tracks import Uncovered

REMOVED = "removed"
"""Attribute with the reasons of removed experiments, and how their `status` begins."""

JSON_ATTRIBUTES = (REMOVED, "provenance", "plan_settings", "chrom_alias")
"""Attributes that hold JSON as text: flat ones can be written wherever a Dataset is, netCDF among it."""


@dataclass(frozen=True)
class Variable:
    """One array of the store: its name, dimensions, dtype, value where nothing is known, and meaning."""

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
        """Those among them that xarray takes for itself.

        With `missing_value`, xarray reads Zarr's strings as Python's, which stand beside NaN in rows that a
        join leaves without a label, and writes and reads such rows again. Without it they are numpy's
        StringDType, which does neither.
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
"""Of imputed stores, if the model knows it: on the scale, in the chunks and in the shards of the signal."""


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
"""Names of the rows, each once. xarray loads what has the name of its dimension and aligns by it: so observed
and imputed rows of one biosample and assay come to lie beside each other."""

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

EXPERIMENT_SUMMARIES = (
    Variable("status", ("experiment",), "string", "", "'ok', or why the row could not be read"),
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
"""Kind of each row, so that it stays known where rows of several stores are put together."""

BIN_INDEX = Variable(
    "bin_index", ("bin",), "int64", -1, "index of the bin, of which the region table says where"
)
"""A bin's own number: what is selected or reversed keeps it; averaged, it is no integer any more.
Chunked, so that no reader has to load it as a whole."""

TABLES = (EXPERIMENT, *EXPERIMENT_LABELS, KIND, *EXPERIMENT_SUMMARIES, *REGION_TABLE)
"""Coordinates that are small and written whole."""

COORDINATES = (*TABLES, BIN_INDEX)

ADDED = (EXPERIMENT.name, KIND.name, BIN_INDEX.name, "source_notes", "region_chrom_size")
"""Coordinates that stores of earlier versions lack; `open_compendium` adds them."""


class Attributes(TypedDict):
    """Attributes of a compendium, those that hold JSON read."""

    kind: str  # "observed" or "imputed"
    status: str  # "unfinished" until every tile is written and checked, then "complete"
    species: str
    assembly: str
    uncovered: Uncovered  # how bases without a value were counted
    plan: str  # fingerprint of the experiments, regions and settings that the store was planned from
    plan_settings: NotRequired[dict[str, Any]]  # what `plan` was made of
    provenance: NotRequired[Provenance]  # of an imputed store
    removed: NotRequired[dict[str, str]]  # the reason of each accession that was removed
    chrom_alias: NotRequired[dict[str, str]]  # other names of chromosomes, where a table of them was given


class Training(TypedDict):
    """What a model was trained on in one species, of which some experiments were held out."""

    source: str
    plan: str
    experiments: list[tuple[str, str]]
    accessions: list[str]
    held_out: list[tuple[str, str]]
    aliases: NotRequired[dict[str, str]]


class Provenance(TypedDict, total=False):
    """What an imputed store says of where it came from; kinds of model add to it."""

    model: str
    model_fingerprint: str
    model_kind: str
    training: dict[str, Training]
    ranges: dict[str, tuple[float, float]]  # of each assay in training, arcsinh units
    signal: dict[str, str]
    factors: str
    factors_fingerprint: str
