"""Make the rows of a catalog from the ENCODE portal's `metadata.tsv`: one file per (biosample, assay)."""

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
"""Names of columns in older tables of the portal, and their present names."""

MOST_NAMED = 4

REPORT_COLUMNS = ("Accession", "Biosample summary")


@dataclass(frozen=True)
class Selection:
    """The files chosen from a portal table.

    Parameters
    ----------
    table
        The catalog rows.
    dropped
        Number of files that each step dropped, in order.
    others
        Experiments that were not chosen because another one has the same labels: these labels, both
        accessions, and the table's columns about their series. Their biosamples look the same in the table.
    unnamed
        Experiments that the report lacks; the table names them instead.
    audited
        Accessions of files that were chosen although the portal's audit found an error, because there was no
        better one.
    outside_core
        Species of which the Core filter left no experiment.
    notes
        Assumptions, one sentence each.
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
        The catalog TSV to write. Experiments that were not chosen go to `*.others.tsv` beside it; they may be
        of other biosamples with the same name.

    Returns
    -------
    The experiments chosen, and those left out.

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
    """Return the path of the table of experiments that were not chosen, beside a catalog."""
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
        The portal's `metadata.tsv`, which may hold several organisms; or one or both manifests published with
        the reference model. Several files of one kind are joined.
    report
        The portal's experiment report. Its "Biosample summary" then names biosamples, and distinguishes life
        stages, for which `metadata.tsv` has no column.
    core
        Apply the Core filter (at least 5 assays per biosample and 5 biosamples per assay).
    keep_perturbed
        Whether to keep RNA-seq after CRISPR, shRNA or siRNA, marked `perturbed`. By default it is dropped
        from a portal table, and kept from a manifest.
    assembly
        Assembly to take instead of the newest one that each organism has, for instance `"hg19"`.
    species
        Take only this species. If `catalog/organisms.tsv` lacks one organism of the table, this is its name,
        on `assembly`. For a manifest, which does not name its species, this is the name (by default human).
    organisms
        Table of further organisms, with the columns of `catalog/organisms.tsv`.

    Raises
    ------
    CatalogError
        If the table lacks a column or nothing is left.
    """
    paths = _paths(metadata)
    sorts = {recognise(path) for path in paths}
    if len(sorts) > 1:
        raise CatalogError(
            "a portal table and a published manifest cannot be joined into one catalog",
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
    """Choose all files that published manifests list, except as the options say."""
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
    note = f"a manifest does not say its species and assembly: assumed {where} (--species, --assembly)"
    return Selection(table, dropped, files.iloc[:0], notes=() if species and assembly else (note,))


def _kept(files: pd.DataFrame, mask: pd.Series[bool], reason: str, dropped: dict[str, int]) -> pd.DataFrame:
    """Keep the files of a mask, and count the others in `dropped` under the reason."""
    mask = mask.astype(bool)  # an empty column has lost its type
    if not mask.all():
        dropped[reason] = int((~mask).sum())
    return files[mask]


def _table_of(files: pd.DataFrame, paths: Sequence[Path], dropped: dict[str, int]) -> pd.DataFrame:
    """Sort the files chosen; keep the column `perturbed` only if some are."""
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
    """List the first few distinct names."""
    distinct = sorted({name or "none given" for name in names})
    return ", ".join(distinct[:MOST_NAMED]) + (", ..." if len(distinct) > MOST_NAMED else "")


def _organisms_in(
    files: pd.DataFrame, known: dict[str, Organism], species: str | None, assembly: str | None
) -> dict[str, Organism]:
    """Name the organisms of a table; `species` and `assembly` name one that is not known."""
    bigwigs = files[files["File format"].str.lower() == "bigwig"]
    by_organism = {
        str(name): sorted(set(rows["File assembly"]) - {""})
        for name, rows in bigwigs.groupby("Biosample organism")
    }
    unknown = [name for name in by_organism if name and name not in known]
    organisms = {name: known[name] for name in by_organism if name in known}
    if species and species not in {organism.species for organism in organisms.values()}:
        if len(unknown) != 1:
            names = [organism.species for organism in organisms.values()]
            raise CatalogError(
                f"--species: {'the table has no' if not unknown else 'which organism is'} {species}",
                got=", ".join(unknown) or f"{species!r}{closest(species, names)}",
                expected=" or ".join(names) if not unknown else "one organism that is not known",
                next_step="" if not unknown else "name them in a table: --organisms",
            )
        assemblies = by_organism[unknown[0]]
        if assembly is None and len(assemblies) != 1:
            raise CatalogError(
                f"{unknown[0]} comes on several assemblies",
                got=", ".join(assemblies),
                next_step="name one: --assembly",
            )
        organisms[unknown[0]] = Organism(
            species, {name: (name, rank) for rank, name in enumerate(assemblies)}
        )
    if assembly:
        for name, organism in organisms.items():
            if assembly in by_organism[name]:
                ranks = {assembly: (assembly, len(organism.assemblies)), **organism.assemblies}
                organisms[name] = Organism(organism.species, ranks)
    return organisms


def _read_metadata(paths: Sequence[Path]) -> pd.DataFrame:
    """Read the rows of portal tables; relative paths in them become relative to the first table's folder."""
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
    """Read the biosample summary of each experiment accession from the portal's experiment report (a TSV).

    Raises
    ------
    CatalogError
        If the file is not such a report.
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
    """Return the best rank among the assemblies of a file's species, one value per file."""
    return files.groupby("species")["assembly_rank"].transform("min")


def _name(files: pd.DataFrame, organisms: dict[str, Organism]) -> pd.DataFrame:
    """Add the catalog's columns to portal rows; unknown organisms and assays get empty names."""
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
