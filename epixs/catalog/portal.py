"""ENCODE portal `metadata.tsv` -> the rows of a catalog: one file per (biosample, assay)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from epixs.catalog.biosamples import biosample_names
from epixs.catalog.experiments import core_experiments, slug, write_catalog
from epixs.catalog.manifest import PORTAL, read_manifests
from epixs.catalog.preference import LABELS, beside_the_first, best_file_first, largest_series_first
from epixs.catalog.recognise import recognise
from epixs.catalog.tsv import read_tsv
from epixs.catalog.vocabulary import Organism, assay_rule, is_perturbed, read_organisms, strand_of
from epixs.errors import CatalogError, closest
from epixs.storage.files import write_new
from epixs.storage.location import is_url

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
    "Lab",
    "Project",
    "Donor(s)",
    "Experiment date released",
    "Biosample genetic modifications methods",
    "Audit ERROR",
    "Audit NOT_COMPLIANT",
)

OLDER_NAMES = {"Assembly": "File assembly"}
"""Columns as older tables of the portal have them."""

MOST_NAMED = 4

REPORT_COLUMNS = ("Accession", "Biosample summary")


@dataclass(frozen=True)
class Selection:
    """What was chosen from a portal table.

    Parameters
    ----------
    table
        The catalog rows.
    dropped
        How many files each step set aside, in order.
    others
        Experiments of a (biosample, assay) of which another was chosen: its labels, both accessions, and what
        the table says of their series. The table does not tell their biosamples apart.
    unnamed
        Experiments that the report does not have, named by the table instead.
    audited
        Accessions of files that were chosen although the portal's audit found an error, for lack of a better
        one.
    outside_core
        Species of which the Core filter left no experiment.
    notes
        What was assumed, in sentences.
    """

    table: pd.DataFrame
    dropped: dict[str, int]
    others: pd.DataFrame
    unnamed: tuple[str, ...] = ()
    audited: tuple[str, ...] = ()
    outside_core: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def make_catalog(
    metadata: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    report: str | Path | None = None,
    core: bool = False,
    keep_perturbed: bool | None = None,
    assembly: str | None = None,
    species: str | None = None,
    organisms: str | Path | None = None,
) -> Selection:
    """Turn a portal table, or published manifests, into a catalog with one bigWig per (biosample, assay).

    Parameters
    ----------
    metadata, report, core, keep_perturbed, assembly, species, organisms
        As in `select_experiments`.
    out
        The catalog TSV to write. Experiments that were not chosen, and may be of other biosamples under the
        same name, go to `*.others.tsv` beside it.

    Returns
    -------
    What was chosen and what was left out.

    Raises
    ------
    CatalogError
        If the table lacks a column, nothing is left, or `out` holds something else.

    Examples
    --------
    >>> import epixs
    >>> files = epixs.simulate("world", size="tiny")
    >>> chosen = epixs.make_catalog("world/metadata.tsv", "catalog.tsv")
    >>> chosen.table["species"].value_counts().to_dict()
    {'human': 37, 'mouse': 27}
    >>> chosen.dropped["not released"]
    1
    """
    paths = _paths(metadata)
    chosen = select_experiments(
        paths,
        report=report,
        core=core,
        keep_perturbed=keep_perturbed,
        assembly=assembly,
        species=species,
        organisms=organisms,
    )
    write_catalog(chosen.table, out, paths_from=paths[0].parent)
    if len(chosen.others):
        write_new(others_beside(out), chosen.others.to_csv(sep="\t", index=False), CatalogError)
    return chosen


def _paths(metadata: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(path) for path in ([metadata] if isinstance(metadata, str | Path) else metadata)]


def others_beside(catalog: str | Path) -> Path:
    """The table of experiments that were not chosen, beside a catalog."""
    return Path(catalog).with_name(f"{Path(catalog).stem}.others.tsv")


def select_experiments(
    metadata: str | Path | Sequence[str | Path],
    *,
    report: str | Path | None = None,
    core: bool = False,
    keep_perturbed: bool | None = None,
    assembly: str | None = None,
    species: str | None = None,
    organisms: str | Path | None = None,
) -> Selection:
    """Choose one bigWig per (biosample, assay) from a portal table.

    Parameters
    ----------
    metadata
        The portal's `metadata.tsv`; may hold several organisms. Or the manifests that were published with the
        reference model, one or both. Several of one sort are put together.
    report
        The portal's experiment report, whose "Biosample summary" then names biosamples: it tells life stages
        apart, of which `metadata.tsv` has no column.
    core
        Apply the Core filter (at least 5 assays per biosample and 5 biosamples per assay).
    keep_perturbed
        Whether to keep RNA-seq after CRISPR, shRNA or siRNA, marked `perturbed`. By default it is left out of
        a portal table, and kept of a manifest.
    assembly
        Instead of the newest assembly each organism has, for instance `"hg19"`.
    species
        Take this species alone; or the name for an organism of the table that `catalog/organisms.tsv` does
        not have, on `assembly`. Of a manifest, which does not say it, its species (human).
    organisms
        A table of further organisms, with the columns of `catalog/organisms.tsv`.

    Raises
    ------
    CatalogError
        If the table lacks a column or nothing is left.
    """
    paths = _paths(metadata)
    sorts = {recognise(path) for path in paths}
    if len(sorts) > 1:
        raise CatalogError(
            "a portal table and a published manifest do not go into one catalog",
            got=", ".join(map(str, paths)),
        )
    if sorts == {"manifest"}:
        if report or organisms:
            raise CatalogError(f"{paths[0]} is a manifest: --report and --organisms are for a portal table")
        return _from_manifests(paths, species, assembly, core, keep_perturbed is not False)
    files = _read_metadata(paths)
    known = _organisms_in(files, read_organisms(organisms), species, assembly)
    summaries = read_report(report) if report else {}
    dropped: dict[str, int] = {}

    def keep(mask: pd.Series[bool], reason: str) -> None:
        nonlocal files
        files = _kept(files, mask, reason, dropped)

    keep(files["File format"].str.lower() == "bigwig", "not a bigWig")
    keep(files["File Status"] == "released", "not released")
    files = _name(files, known)
    if summaries:
        named = files["Experiment accession"].map(summaries)
        files = files.assign(biosample=named.where(named.notna(), files["biosample"]))
    strangers = _few(files.loc[files["species"] == "", "Biosample organism"])
    named_by = "--species and --assembly name one, --organisms several"
    keep(files["species"] != "", f"organism not in catalog/organisms.tsv ({strangers}): {named_by}")
    if species:
        keep(files["species"] == species, f"another species than {species}")
    keep(files["assay"] != "", "assay not in catalog/assays.tsv, or a control")
    if not keep_perturbed:
        keep(~files["perturbed"].astype(bool), "RNA-seq of a perturbed biosample (CRISPR, shRNA, siRNA)")
    keep(files["Output type"] == files["output_type"], "another output type than the assay needs")
    strangers = _few(files.loc[files["assembly_rank"] < 0, "File assembly"])
    keep(
        files["assembly_rank"] >= 0,
        f"assembly not in catalog/organisms.tsv ({strangers}): --assembly takes one",
    )
    wanted = files["assembly"] == assembly if assembly else files["assembly_rank"] == _best_rank(files)
    keep(wanted, "another assembly than the preferred one")
    files = best_file_first(files)
    keep(~files.duplicated(["Experiment accession", "assay"]), "a lesser file of the same experiment")
    files = largest_series_first(files)
    others = beside_the_first(files)
    keep(~files.duplicated(LABELS), "another experiment of the same biosample and assay")
    all_species = set(files["species"])
    if core:
        kept = core_experiments(files).index
        keep(files.index.to_series().isin(kept), "outside the Core")
    table = _table_of(files, paths, dropped)
    audited = table.loc[table["Audit ERROR"] != "", "accession"]
    unnamed = sorted(set(table["Experiment accession"]) - set(summaries)) if summaries else []
    lost = sorted(all_species - set(table["species"]))
    return Selection(table, dropped, others, tuple(unnamed), tuple(audited), tuple(lost))


def _from_manifests(
    paths: Sequence[Path], species: str | None, assembly: str | None, core: bool, keep_perturbed: bool
) -> Selection:
    """What published manifests list: all of it, unless told otherwise."""
    files = read_manifests(paths, species, assembly)
    dropped: dict[str, int] = {}
    files = _kept(files, ~files.duplicated("accession"), "listed before", dropped)
    files = _kept(files, ~files.duplicated(LABELS), "another file of the same biosample and assay", dropped)
    if not keep_perturbed:
        files = _kept(
            files, ~files["perturbed"], "RNA-seq of a perturbed biosample (CRISPR, shRNA, siRNA)", dropped
        )
    if core:
        kept = files.index.to_series().isin(core_experiments(files).index)
        files = _kept(files, kept, "outside the Core", dropped)
    table = _table_of(files, paths, dropped)
    where = f"{table['species'].iloc[0]} on {table['assembly'].iloc[0]}"
    note = f"a manifest does not say its species and assembly: taken for {where} (--species, --assembly)"
    return Selection(table, dropped, files.iloc[:0], notes=() if species and assembly else (note,))


def _kept(files: pd.DataFrame, mask: pd.Series[bool], reason: str, dropped: dict[str, int]) -> pd.DataFrame:
    """Files of a mask; how many others there are is counted under the reason."""
    mask = mask.astype(bool)  # an empty column would have lost its type
    if not mask.all():
        dropped[reason] = int((~mask).sum())
    return files[mask]


def _table_of(files: pd.DataFrame, paths: Sequence[Path], dropped: dict[str, int]) -> pd.DataFrame:
    """What was chosen, in order; `perturbed` is a column of it where some are."""
    if files.empty:
        raise CatalogError(
            f"{' and '.join(map(str, paths))}: no experiment is left",
            got="; ".join(f"{count} files: {reason}" for reason, count in dropped.items())
            or "an empty table",
            expected="released bigWigs of a known organism, assay and output type",
        )
    table = files.sort_values(["species", "biosample", "assay"]).reset_index(drop=True)
    perturbed = table.pop("perturbed").astype(bool)
    return table.assign(perturbed=perturbed.map({True: "yes", False: ""})) if perturbed.any() else table


def _few(names: pd.Series[str]) -> str:
    """The first few distinct names."""
    distinct = sorted({name or "none given" for name in names})
    return ", ".join(distinct[:MOST_NAMED]) + (", ..." if len(distinct) > MOST_NAMED else "")


def _organisms_in(
    files: pd.DataFrame, known: dict[str, Organism], species: str | None, assembly: str | None
) -> dict[str, Organism]:
    """What the organisms of a table are called, with what the caller says of an unknown one."""
    bigwigs = files[files["File format"].str.lower() == "bigwig"]
    by_organism = {
        str(name): sorted(set(rows["File assembly"]) - {""})
        for name, rows in bigwigs.groupby("Biosample organism")
    }
    unknown = [name for name in by_organism if name and name not in known]
    found = {name: known[name] for name in by_organism if name in known}
    if species and species not in {organism.species for organism in found.values()}:
        if len(unknown) != 1:
            names = [organism.species for organism in found.values()]
            raise CatalogError(
                f"--species: {'the table has no' if not unknown else 'which organism is'} {species}",
                got=", ".join(unknown) or f"{species!r}{closest(species, names)}",
                expected=" or ".join(names) if not unknown else "one organism that is not known",
                next_step="" if not unknown else "name them in a table: --organisms",
            )
        there = by_organism[unknown[0]]
        if assembly is None and len(there) != 1:
            raise CatalogError(
                f"{unknown[0]} comes on several assemblies",
                got=", ".join(there),
                next_step="name one: --assembly",
            )
        found[unknown[0]] = Organism(species, {name: (name, rank) for rank, name in enumerate(there)})
    if assembly:
        for name, organism in found.items():
            if assembly in by_organism[name]:
                ranks = {assembly: (assembly, len(organism.assemblies)), **organism.assemblies}
                found[name] = Organism(organism.species, ranks)
    return found


def _read_metadata(paths: Sequence[Path]) -> pd.DataFrame:
    """Rows of portal tables; paths in them that are relative become so to the first table's folder."""
    tables = []
    for path in paths:
        table = read_tsv(
            path,
            NEEDED,
            what="metadata",
            error=CatalogError,
            next_step="download metadata.tsv from the ENCODE portal",
            renamed=OLDER_NAMES,
        )
        if path.parent != paths[0].parent:
            table["File download URL"] = [
                url
                if is_url(url) or url.startswith("/")
                else os.path.relpath(path.parent / url, paths[0].parent)
                for url in table["File download URL"]
            ]
        tables.append(table)
    table = pd.concat(tables, ignore_index=True).fillna("").drop_duplicates("File accession")
    for column in HELPFUL:
        if column not in table.columns:
            table[column] = ""
    return table


def read_report(path: str | Path) -> dict[str, str]:
    """Biosample summary of each experiment accession, from the portal's experiment report (a TSV).

    Raises
    ------
    CatalogError
        If the file is none.
    """
    table = read_tsv(
        Path(path),
        REPORT_COLUMNS,
        what="--report",
        error=CatalogError,
        next_step="download the experiment report as TSV from the ENCODE portal, with these columns",
        preamble=True,
    )
    summaries = table["Biosample summary"].str.strip()
    return {
        accession: summary
        for accession, summary in zip(table["Accession"].str.strip(), summaries, strict=True)
        if accession and summary
    }


def _best_rank(files: pd.DataFrame) -> pd.Series[int]:
    """Most preferred assembly that each species has here, one value a file."""
    return files.groupby("species")["assembly_rank"].transform("min")


def _name(files: pd.DataFrame, organisms: dict[str, Organism]) -> pd.DataFrame:
    """Add the catalog's columns to portal rows; what is unknown gets an empty name."""
    rows = [
        _name_row({str(k): str(v) for k, v in record.items()}, organisms)
        for record in files.to_dict("records")
    ]
    names = ["species", "assembly", "assembly_rank", "assay", "assay_class", "output_type", "strand"]
    named = pd.DataFrame(rows, index=files.index, columns=[*names, "perturbed"])
    return files.join(named).assign(
        biosample=biosample_names(files),
        accession=files["File accession"],
        path=files["File download URL"].map(lambda url: f"{PORTAL}{url}" if url.startswith("/") else url),
        size=files["Size"],
    )


def _name_row(record: dict[str, str], organisms: dict[str, Organism]) -> tuple[object, ...]:
    organism = organisms.get(record["Biosample organism"], Organism("", {}))
    assembly, order = organism.assemblies.get(record["File assembly"], ("", -1))
    target = re.sub(r"-[a-z]+$", "", record["Experiment target"])
    rule, output_type = assay_rule(record["Assay"], target, record["Output type"])
    if rule is None:
        return organism.species, assembly, order, "", "", "", "", False
    parts = [rule["name"], target if rule["targeted"] == "yes" else "", output_type]
    return (
        organism.species,
        assembly,
        order,
        "_".join(slug(part) for part in parts if part),
        rule["assay_class"],
        output_type,
        strand_of(output_type),
        rule["perturbed"] == "yes" or is_perturbed(rule, record["Biosample genetic modifications methods"]),
    )
