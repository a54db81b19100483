"""ENCODE portal `metadata.tsv` -> the rows of a catalog: one file per (biosample, assay)."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from epixs.catalog.experiments import core_experiments, slug, vocabulary, write_catalog
from epixs.catalog.tsv import read_tsv
from epixs.errors import CatalogError
from epixs.genome.assembly import reference_folder
from epixs.storage.files import write_new

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


LABELS = ["species", "biosample", "assay"]


REPORT_COLUMNS = ("Accession", "Biosample summary")


TREATMENT = ("Biosample treatments", "Biosample treatments amount", "Biosample treatments duration")


MODIFICATION = "Biosample genetic modifications"


PLAIN_COLUMNS = ("Biosample term id", "Biosample term name", "Biosample type", "Biosample organism")
"""Columns about a biosample that do not tell one from another of the same term."""


SERIES = ("Lab", "Project", "Donor(s)", "Experiment date released")
"""Columns that experiments of one series share, the most telling first."""


PERTURBATIONS = re.compile(r"CRISPR|RNAi|RNA interference|shRNA|siRNA", re.IGNORECASE)


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
    """

    table: pd.DataFrame
    dropped: dict[str, int]
    others: pd.DataFrame
    unnamed: tuple[str, ...] = ()
    audited: tuple[str, ...] = ()
    outside_core: tuple[str, ...] = ()


def make_catalog(
    metadata: str | Path,
    out: str | Path,
    *,
    report: str | Path | None = None,
    core: bool = False,
    keep_perturbed: bool = False,
    assembly: str | None = None,
) -> Selection:
    """Turn a portal table into a catalog with one bigWig per (biosample, assay).

    Parameters
    ----------
    metadata, report, core, keep_perturbed, assembly
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
    chosen = select_experiments(
        metadata, report=report, core=core, keep_perturbed=keep_perturbed, assembly=assembly
    )
    write_catalog(chosen.table, out, paths_from=Path(metadata).parent)
    if len(chosen.others):
        write_new(others_beside(out), chosen.others.to_csv(sep="\t", index=False), CatalogError)
    return chosen


def others_beside(catalog: str | Path) -> Path:
    """The table of experiments that were not chosen, beside a catalog."""
    return Path(catalog).with_name(f"{Path(catalog).stem}.others.tsv")


def select_experiments(
    metadata: str | Path,
    *,
    report: str | Path | None = None,
    core: bool = False,
    keep_perturbed: bool = False,
    assembly: str | None = None,
) -> Selection:
    """Choose one bigWig per (biosample, assay) from a portal table.

    Parameters
    ----------
    metadata
        The portal's `metadata.tsv`; may hold several organisms.
    report
        The portal's experiment report, whose "Biosample summary" then names biosamples: it tells life stages
        apart, of which `metadata.tsv` has no column.
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
    summaries = read_report(report) if report else {}
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
    if summaries:
        named = files["Experiment accession"].map(summaries)
        files = files.assign(biosample=named.where(named.notna(), files["biosample"]))
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
    files = _by_series(files)
    others = _others(files)
    keep(~files.duplicated(LABELS), "another experiment of the same biosample and assay")
    species = set(files["species"])
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
    audited = table.loc[table["Audit ERROR"] != "", "accession"]
    unnamed = sorted(set(table["Experiment accession"]) - set(summaries)) if summaries else []
    lost = sorted(species - set(table["species"]))
    return Selection(table, dropped, others, tuple(unnamed), tuple(audited), tuple(lost))


def _read_metadata(path: Path) -> pd.DataFrame:
    table = read_tsv(
        path,
        NEEDED,
        what="metadata",
        error=CatalogError,
        next_step="download metadata.tsv from the ENCODE portal",
        renamed=OLDER_NAMES,
    )
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


def biosample_names(files: pd.DataFrame) -> pd.Series[str]:
    """Name of each file's biosample: its term, and whatever else of the table tells biosamples apart.

    That is treatments with amount and duration, genetic modifications, other columns about the biosample
    (older tables have life stage, age, sex and the like), and the type where a term comes with several.
    """
    modifications = [name for name in files.columns if name.startswith(MODIFICATION)]
    known = (*PLAIN_COLUMNS, *TREATMENT)
    further = [
        name
        for name in files.columns
        if name.startswith("Biosample ") and name not in known and not name.startswith(MODIFICATION)
    ]
    types = {}
    if "Biosample type" in files.columns:
        kinds = files.groupby("Biosample term name")["Biosample type"].nunique()
        types = {str(term): "Biosample type" for term, count in kinds.items() if count > 1}
    names = []
    for record in files.to_dict("records"):
        term = str(record["Biosample term name"])
        telling = [*filter(None, [types.get(term)]), *further]
        details = [str(record[name]) for name in telling if record[name]]
        name = f"{term} ({', '.join(details)})" if details else term
        modified = " ".join(dict.fromkeys(str(record[column]) for column in modifications if record[column]))
        name += f" genetically modified ({modified})" if modified else ""
        treated = _treatments(*(str(record.get(column, "")) for column in TREATMENT))
        names.append(f"{name} treated with {treated}" if treated else name)
    return pd.Series(names, index=files.index, dtype=object)


def _treatments(names: str, amounts: str, durations: str) -> str:
    """`"dexamethasone"`, `"100 nM"`, `"4 hour"` -> `"100 nM dexamethasone for 4 hour"`; lists by commas."""
    each = [[part.strip() for part in text.split(",")] for text in (names, amounts, durations)]
    count = len(each[0])
    if not all(len(parts) == count or parts == [""] for parts in each):  # which belong together is not said
        each, count = [[names], [amounts], [durations]], 1
    columns = [parts if len(parts) == count else [""] * count for parts in each]
    treatments = [
        " ".join(part for part in (amount, name, duration and f"for {duration}") if part)
        for name, amount, duration in zip(*columns, strict=True)
    ]
    return ", ".join(treatment for treatment in treatments if treatment)


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
        "assay",
        "assay_class",
        "output_type",
        "strand",
    ]
    named = pd.DataFrame(rows, index=files.index, columns=[*names, "perturbed"])
    return files.join(named).assign(
        biosample=biosample_names(files),
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
    if rule is None:
        return (
            species.get(record["Biosample organism"], ""),
            assembly,
            order,
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
            is_histone = re.match(r"^(macro)?H(1|2A|2B|3|4)([A-Z0-9.-]|$)", target) is not None
            if (rule["assay_class"] == "histone") != is_histone:
                continue
        wanted = rule["output_types"].split("|")
        return rule, output_type if output_type in wanted else wanted[0]
    return None, ""


@functools.cache
def _rules() -> tuple[dict[str, str], ...]:
    return tuple({str(k): str(v) for k, v in row.items()} for row in vocabulary().to_dict("records"))


def _by_series(files: pd.DataFrame) -> pd.DataFrame:
    """Order files such that of the experiments of a (biosample, assay), that of the largest series is first.

    A series is what shares laboratory, project, donors and date of release, as far as the table has them. So
    the assays of a biosample that the table cannot tell from another one are taken from one series where that
    is possible, and not mixed by chance. Files with audit errors come last.
    """
    order = files.assign(_errors=files["Audit ERROR"] != "")
    keys, columns = ["species", "biosample"], ["_errors"]
    for column in SERIES:
        keys = [*keys, column]
        covered = f"_covered {column}"
        order = order.assign(**{covered: -order.groupby(keys)["assay"].transform("nunique")})
        columns += [covered, column]
    ordered = order.sort_values(columns, kind="stable")
    return ordered.drop(columns=[name for name in columns if name not in SERIES])


def _others(files: pd.DataFrame) -> pd.DataFrame:
    """Experiments beside the first of each (species, biosample, assay), and which that is."""
    chosen = files.drop_duplicates(LABELS).set_index(LABELS)["Experiment accession"]
    rest = files[files.duplicated(LABELS)]
    labels = pd.MultiIndex.from_frame(rest[LABELS])
    columns = [*LABELS, "accession", "Experiment accession", *SERIES, "Audit ERROR"]
    return (
        rest[columns]
        .assign(**{"chosen instead": chosen.reindex(labels).to_numpy()})
        .sort_values(LABELS)
        .reset_index(drop=True)
    )


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
