"""ENCODE portal `metadata.tsv` -> the rows of a catalog: one file per (biosample, assay)."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from epixs.catalog import core_experiments, slug, vocabulary
from epixs.errors import CatalogError
from epixs.genome import reference_folder
from epixs.tables import read_tsv

NEEDED = (
    "File accession",
    "File format",
    "Output type",
    "File assembly",
    "Experiment accession",
    "Assay",
    "Biosample term name",
    "Biosample organism",
    "Experiment target",
    "Biological replicate(s)",
    "File download URL",
    "File Status",
)
HELPFUL = (
    "Size",
    "md5sum",
    "File analysis title",
    "Biosample treatments",
    "Biosample genetic modifications methods",
    "Audit ERROR",
    "Audit NOT_COMPLIANT",
)

PERTURBATIONS = re.compile(r"CRISPR|RNAi|RNA interference|shRNA|siRNA", re.IGNORECASE)


@dataclass(frozen=True)
class Selection:
    """The catalog rows, and how many files each step set aside (in order)."""

    table: pd.DataFrame
    dropped: dict[str, int]


def select_experiments(
    metadata: str | Path, *, core: bool = False, keep_perturbed: bool = False, assembly: str | None = None
) -> Selection:
    """Choose one bigWig per (biosample, assay) from a portal table.

    Parameters
    ----------
    metadata
        The portal's `metadata.tsv`; may hold several organisms.
    core
        Apply the Core filter (at least 5 assays per biosample and 5 biosamples per assay).
    keep_perturbed
        Keep RNA-seq after CRISPR, shRNA or siRNA, which the paper leaves out.
    assembly
        Instead of the newest assembly each organism has, for instance `"hg19"`.

    Raises
    ------
    CatalogError
        If the table lacks a column or nothing is left.
    """
    files = _read_metadata(Path(metadata))
    dropped: dict[str, int] = {}

    def keep(mask: pd.Series[bool], reason: str) -> None:
        nonlocal files
        mask = mask.astype(bool)  # an empty column would have lost its type
        if not mask.all():
            dropped[reason] = int((~mask).sum())
        files = files[mask]

    keep(files["File format"].str.lower() == "bigwig", "not a bigWig")
    keep(files["File Status"] == "released", "not released")
    files = _name(files)
    keep(files["species"] != "", "organism not in catalog/organisms.tsv")
    keep(files["assay"] != "", "assay not in catalog/assays.tsv, or a control")
    if not keep_perturbed:
        keep(~files["perturbed"], "RNA-seq of a perturbed biosample (CRISPR, shRNA, siRNA)")
    keep(files["Output type"] == files["output_type"], "another output type than the assay needs")
    keep(files["assembly_rank"] >= 0, "assembly not in catalog/organisms.tsv")
    wanted = files["assembly"] == assembly if assembly else files["assembly_rank"] == _best_rank(files)
    keep(wanted, "another assembly than the preferred one")
    files = _ranked(files)
    keep(~files.duplicated(["Experiment accession", "assay"]), "a lesser file of the same experiment")
    keep(
        ~files.duplicated(["species", "biosample", "assay"]),
        "another experiment of the same biosample and assay",
    )
    if core:
        kept = core_experiments(files).index
        keep(files.index.to_series().isin(kept), "outside the Core")
    if files.empty:
        raise CatalogError(
            f"{metadata}: no experiment is left",
            got="; ".join(f"{count} files: {reason}" for reason, count in dropped.items()),
            expected="released bigWigs of a known organism, assay and output type",
        )
    table = files.sort_values(["species", "biosample", "assay"]).reset_index(drop=True)
    return Selection(table, dropped)


def _read_metadata(path: Path) -> pd.DataFrame:
    table = read_tsv(
        path,
        NEEDED,
        what="metadata",
        error=CatalogError,
        next_step="download metadata.tsv from the ENCODE portal",
    )
    for column in HELPFUL:
        if column not in table.columns:
            table[column] = ""
    return table


def _best_rank(files: pd.DataFrame) -> pd.Series[int]:
    """Most preferred assembly that each species has here, one value a file."""
    return files.groupby("species")["assembly_rank"].transform("min")


def _name(files: pd.DataFrame) -> pd.DataFrame:
    """Add the catalog's columns to portal rows; what is unknown gets an empty name."""
    organisms = pd.read_csv(reference_folder() / "organisms.tsv", sep="\t", dtype=str, keep_default_na=False)
    species = dict(zip(organisms["organism"], organisms["species"], strict=True))
    rank: dict[tuple[str, str], tuple[str, int]] = {}
    for record in organisms.itertuples():
        order: dict[str, int] = {}
        for pair in str(record.assemblies).split(","):
            portal, _, ours = pair.partition("=")
            rank[str(record.organism), portal] = (
                ours or portal,
                order.setdefault(ours or portal, len(order)),
            )
    rows = [
        _name_row({str(k): str(v) for k, v in record.items()}, species, rank)
        for record in files.to_dict("records")
    ]
    names = [
        "species",
        "assembly",
        "assembly_rank",
        "biosample",
        "assay",
        "assay_class",
        "output_type",
        "strand",
    ]
    named = pd.DataFrame(rows, index=files.index, columns=[*names, "perturbed"])
    return files.join(named).assign(
        accession=files["File accession"],
        path=files["File download URL"].map(
            lambda url: f"https://www.encodeproject.org{url}" if url.startswith("/") else url
        ),
        size=files["Size"],
    )


def _name_row(
    record: dict[str, str], species: dict[str, str], rank: dict[tuple[str, str], tuple[str, int]]
) -> tuple[object, ...]:
    assembly, order = rank.get((record["Biosample organism"], record["File assembly"]), ("", -1))
    target = re.sub(r"-[a-z]+$", "", record["Experiment target"])
    rule, output_type = _assay_rule(record["Assay"], target, record["Output type"])
    biosample = record["Biosample term name"]
    if record["Biosample treatments"]:
        biosample = f"{biosample} treated with {record['Biosample treatments']}"
    if rule is None:
        return (
            species.get(record["Biosample organism"], ""),
            assembly,
            order,
            biosample,
            "",
            "",
            "",
            "",
            False,
        )
    strand = next((side for side in ("plus", "minus") if output_type.startswith(side)), "")
    parts = [rule["name"], target if rule["targeted"] == "yes" else "", output_type]
    return (
        species.get(record["Biosample organism"], ""),
        assembly,
        order,
        biosample,
        "_".join(slug(part) for part in parts if part),
        rule["assay_class"],
        output_type,
        strand,
        rule["perturbed"] == "yes" or _is_perturbed(rule, record["Biosample genetic modifications methods"]),
    )


def _is_perturbed(rule: dict[str, str], modifications: str) -> bool:
    """Whether RNA was sequenced after an edit or a knock-down that its assay name does not tell."""
    return rule["assay_class"] == "transcription" and bool(PERTURBATIONS.search(modifications))


def _assay_rule(assay: str, target: str, output_type: str) -> tuple[dict[str, str] | None, str]:
    """Find the vocabulary's row for a portal assay, and the output type to take from it.

    Strand-split signals are preferred where the file is one strand of it; an assay with both gives the
    unstranded name only to unstranded files.
    """
    for rule in _rules():
        if rule["portal_assay"] != assay:
            continue
        if rule["targeted"] == "yes":
            if (
                not target
                or target.lower() in ("control", "input library", "input control")
                or "IgG" in target
            ):
                return None, ""
            is_histone = re.match(r"^H(1|2A|2B|3|4)[A-Z0-9]", target) is not None
            if (rule["assay_class"] == "histone") != is_histone:
                continue
        wanted = rule["output_types"].split("|")
        return rule, output_type if output_type in wanted else wanted[0]
    return None, ""


@functools.cache
def _rules() -> tuple[dict[str, str], ...]:
    return tuple({str(k): str(v) for k, v in row.items()} for row in vocabulary().to_dict("records"))


def _ranked(files: pd.DataFrame) -> pd.DataFrame:
    """Best file first: fewest audit errors, most replicates pooled, newest analysis."""
    return (
        files.assign(
            _errors=(files["Audit ERROR"] != "").astype(int),
            _replicates=files["Biological replicate(s)"].map(lambda text: -len(re.findall(r"\d+", text))),
            _analysis=files["File analysis title"].map(_analysis_order),
        )
        .sort_values(
            ["_errors", "_replicates", "_analysis", "accession"], ascending=[True, True, False, False]
        )
        .drop(columns=["_errors", "_replicates", "_analysis"])
    )


def _analysis_order(title: str) -> tuple[int, ...]:
    """`"ENCODE4 v1.5.1 GRCh38"` -> `(4, 1, 5, 1)`, so that newer analyses sort higher."""
    stage = re.search(r"ENCODE(\d+)", title)
    version = re.search(r"v(\d+(?:\.\d+)*)", title)
    numbers = [int(part) for part in version.group(1).split(".")] if version else []
    return (int(stage.group(1)) if stage else 0, *numbers)
