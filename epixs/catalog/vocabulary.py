"""Names that epixs gives to the portal's assays and organisms; `catalog/` holds both tables."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

from epixs.catalog.experiments import output_type_in, vocabulary
from epixs.catalog.tsv import read_tsv
from epixs.errors import CatalogError
from epixs.genome.assembly import reference_folder

PERTURBATIONS = re.compile(r"CRISPR|RNAi|RNA interference|shRNA|siRNA", re.IGNORECASE)

ORGANISM_COLUMNS = ("organism", "species", "assemblies")


@dataclass(frozen=True)
class Organism:
    """The names that an organism of the portal and its assemblies have in catalogs.

    Parameters
    ----------
    species
        Name of the organism in catalogs.
    assemblies
        Name in catalogs and rank of each of the portal's assemblies; rank 0 is preferred.
    """

    species: str
    assemblies: dict[str, tuple[str, int]]


def read_organisms(path: str | Path | None = None) -> dict[str, Organism]:
    """Read the packaged organisms, and those of a further table with the same columns.

    Raises
    ------
    CatalogError
        If the table lacks a column or a value.
    """
    by_name: dict[str, Organism] = {}
    for table in (reference_folder() / "organisms.tsv", path):
        if table is None:
            continue
        rows = read_tsv(
            Path(table),
            ORGANISM_COLUMNS,
            what="--organisms",
            error=CatalogError,
            next_step="as catalog/organisms.tsv: the portal's organism, a species name, and assemblies in "
            "order of preference, with commas between them",
        )
        for number, row in zip(rows.index, rows[list(ORGANISM_COLUMNS)].to_numpy().tolist(), strict=True):
            organism, species, assemblies = (cell.strip() for cell in row)
            if not (organism and species and assemblies):
                raise CatalogError(
                    f"{table}, line {number + 2}",
                    got=row,
                    expected="an organism, a species and its assemblies",
                )
            ranks: dict[str, int] = {}
            by_portal = {}
            for pair in assemblies.split(","):
                portal, _, ours = (part.strip() for part in pair.partition("="))
                by_portal[portal] = (ours or portal, ranks.setdefault(ours or portal, len(ranks)))
            by_name[organism] = Organism(species, by_portal)
    return by_name


def is_perturbed(rule: dict[str, str], modifications: str) -> bool:
    """Tell whether RNA was sequenced after an edit or a knock-down that the name of its assay omits."""
    return rule["assay_class"] == "transcription" and bool(PERTURBATIONS.search(modifications))


def is_histone(target: str) -> bool:
    """Tell whether a target is a histone or one of its modifications."""
    return re.match(r"^(macro)?H(1|2A|2B|3|4)([A-Z0-9.-]|$)", target) is not None


def rule_of_name(assay: str) -> tuple[dict[str, str] | None, str]:
    """Find the vocabulary's row for one of our own assay names, and the output type that it ends with.

    If the vocabulary does not know the assay, the row is None; if not the output type, that is empty.
    """
    output_type = output_type_in(assay)
    fitting = [rule for rule in rules() if f"{assay}_".startswith(f"{rule['name']}_")]
    longest = max((len(rule["name"]) for rule in fitting), default=0)
    for rule in fitting:
        if len(rule["name"]) == longest:
            target = assay.removeprefix(rule["name"]).lstrip("_").split("_")[0]
            if rule["targeted"] != "yes" or rule["perturbed"] == "yes":
                return rule, output_type
            if (rule["assay_class"] == "histone") == is_histone(target):
                return rule, output_type
    return None, output_type


def strand_of(output_type: str) -> str:
    """Return the strand of a signal, `"plus"` or `"minus"`; empty for both."""
    return next((side for side in ("plus", "minus") if output_type.startswith(side)), "")


def assay_rule(assay: str, target: str, output_type: str) -> tuple[dict[str, str] | None, str]:
    """Find the vocabulary's row for a portal assay, and the output type to take from it.

    This is the file's own output type if the row allows it, else the first that the row allows. So a file of
    one strand keeps its strand, and only an unstranded file gets an unstranded name.
    """
    for rule in rules():
        if rule["portal_assay"] != assay:
            continue
        if rule["targeted"] == "yes":
            if (
                not target
                or target.lower() in ("control", "input library", "input control")
                or "IgG" in target
            ):
                return None, ""
            if (rule["assay_class"] == "histone") != is_histone(target):
                continue
        wanted = rule["output_types"].split("|")
        return rule, output_type if output_type in wanted else wanted[0]
    return None, ""


@functools.cache
def rules() -> tuple[dict[str, str], ...]:
    """Return the rows of the packaged vocabulary, in order."""
    return tuple({str(k): str(v) for k, v in row.items()} for row in vocabulary().to_dict("records"))
