"""Simulate two species by known rules and write bigWigs, for the demo and the tests; all data are invented.

Each species has its own genome with genes, enhancers, CTCF sites and repressed domains. Hidden programs
decide the activity of an element in a biosample. Each assay reads elements and activities by one rule that
both species share. An experiment adds only its depth and its noise. The matrix of experiments is sparse, the
mouse's more so, and some assays were never performed in mouse. With `differs`, an assay has a different rule
in mouse, which methods should find.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyBigWig

from epixs.cluster.tasks import Progress
from epixs.errors import ConfigError, StoreError, closest
from epixs.genome.assembly import load_assembly
from epixs.genome.regions import BIN_SIZE
from epixs.storage.files import check_new_folder

Array = npt.NDArray[np.float64]


N_PROGRAMS = 4


ELSEWHERE = {
    "promoter": "ctcf", "enhancer": "silent", "flank": "ctcf", "body": "silent", "polycomb": "body",
    "silent": "enhancer", "ctcf": "enhancer", "exon+": "exon-", "exon-": "exon+",
}  # fmt: skip
"""Kind of element that an assay in `differs` marks in mouse, instead of the kind in the assay's rule."""


DETECTION_LIMIT = 0.05
"""Minimum value that is written. So RNA tracks are mostly uncovered, as real ones are."""


@dataclass(frozen=True)
class Assay:
    """The rule of one assay: its signal at each kind of element.

    Parameters
    ----------
    portal, target, output_type
        Names as in an ENCODE portal table.
    response
        For each kind of element: height, half-width in bins, and function of the activity (key of `READ`).
    noise
        Relative spread of the noise.
    """

    portal: str
    target: str
    output_type: str
    response: dict[str, tuple[float, float, str]]
    noise: float = 0.25


READ: dict[str, Callable[[Array], Array]] = {
    "on": lambda activity: activity,
    "strong": lambda activity: activity**2,
    "off": lambda activity: 1.0 - activity,
    "poised": lambda activity: 4.0 * activity * (1.0 - activity),
    "always": lambda activity: np.ones_like(activity),
}

P_VALUE = "signal p-value"

ASSAYS = (
    Assay(
        "Histone ChIP-seq", "H3K4me3", P_VALUE, {"promoter": (18, 22, "on"), "enhancer": (1.0, 8, "strong")}
    ),
    Assay("Histone ChIP-seq", "H3K4me1", P_VALUE, {"enhancer": (8, 26, "on"), "flank": (5, 30, "on")}),
    Assay(
        "Histone ChIP-seq",
        "H3K27ac",
        P_VALUE,
        {"promoter": (14, 18, "strong"), "enhancer": (12, 14, "strong")},
    ),
    Assay("Histone ChIP-seq", "H3K36me3", P_VALUE, {"body": (5, 0, "on")}),
    Assay(
        "Histone ChIP-seq", "H3K27me3", P_VALUE, {"polycomb": (5, 0, "off"), "promoter": (3, 40, "poised")}
    ),
    Assay("Histone ChIP-seq", "H3K9me3", P_VALUE, {"silent": (4, 0, "always"), "polycomb": (1.0, 0, "off")}),
    Assay("TF ChIP-seq", "CTCF", P_VALUE, {"ctcf": (30, 5, "always"), "promoter": (1.5, 6, "on")}),
    Assay("TF ChIP-seq", "POLR2A", P_VALUE, {"promoter": (16, 8, "on"), "body": (1.2, 0, "strong")}),
    Assay("TF ChIP-seq", "EP300", P_VALUE, {"enhancer": (14, 6, "on"), "promoter": (4, 8, "strong")}),
    Assay(
        "DNase-seq",
        "",
        "read-depth normalized signal",
        {"promoter": (4, 6, "on"), "enhancer": (3, 5, "on"), "ctcf": (2.5, 4, "always")},
    ),
    Assay(
        "polyA plus RNA-seq", "", "plus strand signal of all reads", {"exon+": (6, 0, "strong")}, noise=0.5
    ),
    Assay(
        "polyA plus RNA-seq", "", "minus strand signal of all reads", {"exon-": (6, 0, "strong")}, noise=0.5
    ),
)


@dataclass(frozen=True)
class Species:
    """One species of the world: its genome, its biosamples, and how sparsely it was measured.

    Parameters
    ----------
    organism, species, portal_assembly, assembly
        Names that the portal and epixs give them.
    regions
        Simulated stretches `(chrom, start, n_bins)`.
    n_biosamples
        Number of biosamples.
    density
        Share of (biosample, assay) pairs that were measured.
    lacks
        Targets that were never measured.
    """

    organism: str
    species: str
    portal_assembly: str
    assembly: str
    regions: tuple[tuple[str, int, int], ...]
    n_biosamples: int
    density: float
    lacks: tuple[str, ...] = ()


def _world(
    bins: tuple[int, int, int], biosamples: tuple[int, int], density: float
) -> tuple[Species, Species]:
    """Make a human on two chromosomes and a mouse on one, in coordinates of real assemblies."""
    human = (("chr20", 10_000_000, bins[0]), ("chr21", 20_000_000, bins[1]))
    mouse = (("chr19", 10_000_000, bins[2]),)
    return (
        Species("Homo sapiens", "human", "GRCh38", "hg38", human, biosamples[0], density),
        Species("Mus musculus", "mouse", "mm10", "mm10", mouse, biosamples[1], density - 0.08, ("H3K9me3",)),
    )


SIZES = {
    "demo": _world((20_000, 20_000, 30_000), (10, 6), 0.7),
    "tiny": _world((1_500, 1_510, 2_000), (4, 3), 0.7),
    "large": _world((120_000, 120_000, 60_000), (10, 6), 0.7),
}


@dataclass(frozen=True)
class Element:
    """A stretch of the genome that assays read: kind, first bin, bin after the last, height, activities."""

    kind: str
    first: int
    stop: int
    height: float
    activity: Array


def simulate(
    folder: str | Path,
    *,
    size: str = "demo",
    seed: int = 0,
    differs: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
) -> list[Path]:
    """Write a world: `tracks/*.bigWig`, a portal-style `metadata.tsv` and `SPECIES.bed` for each species.

    Parameters
    ----------
    folder
        New or empty folder.
    size
        `"demo"`, `"tiny"` or `"large"`.
    seed
        Seed; the same seed gives the same files.
    differs
        Targets, such as `"H3K27ac"`, that mark other elements in mouse than in human. It does not change any
        other track.
    progress
        Function called after each track.

    Returns
    -------
    The files written.

    Raises
    ------
    ConfigError
        If there is no such size or target, or the seed is negative.
    StoreError
        If the folder is not empty.
    """
    folder = Path(folder)
    if size not in SIZES:
        raise ConfigError("size", got=repr(size), expected=" or ".join(SIZES))
    if seed < 0:
        raise ConfigError("seed", got=seed, expected="0 or more")
    targets = [assay.target for assay in ASSAYS if assay.target]
    unknown = [name for name in differs if name not in targets]
    if unknown:
        got = f"{unknown[0]!r}{closest(unknown[0], targets)}"
        raise ConfigError("differs", got=got, expected=" or ".join(targets))
    check_new_folder(folder, StoreError)
    (folder / "tracks").mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    rows: list[dict[str, str]] = []
    for index, species in enumerate(SIZES[size]):
        generator = np.random.Generator(np.random.PCG64([seed, index]))
        genome, chosen = draw_species(species, generator)
        for number, (biosample, assay_index) in enumerate(chosen, 1):
            assay = ASSAYS[assay_index]
            if index and assay.target in differs:
                assay = elsewhere(assay)
            accession = f"SIM{index}{biosample:02d}{assay_index:02d}"
            depth = float(np.exp(generator.normal(0, 0.15)))
            tracks = [
                _signal(assay, elements, biosample, n_bins, depth, generator)
                for elements, (_, _, n_bins) in zip(genome, species.regions, strict=True)
            ]
            path = folder / "tracks" / f"{accession}.bigWig"
            _write_bigwig(path, species, tracks)
            written.append(path)
            rows.append(_metadata_row(species, assay, biosample, accession, path.stat().st_size))
            if progress is not None:
                progress(Progress(number, len(chosen)))
        bed = folder / f"{species.species}.bed"
        lines = [f"{c}\t{s}\t{s + n * BIN_SIZE}\t{c}-simulated\n" for c, s, n in species.regions]
        bed.write_text("".join(lines), encoding="utf-8")
        written.append(bed)
    metadata = folder / "metadata.tsv"
    pd.DataFrame(rows + _distractors(rows)).to_csv(metadata, sep="\t", index=False)
    return [*written, metadata]


def draw_species(
    species: Species, generator: np.random.Generator
) -> tuple[list[list[Element]], list[tuple[int, int]]]:
    """Draw a species: the elements of each stretch of its genome, and the measured (biosample, assay)."""
    programs = generator.dirichlet(np.full(N_PROGRAMS, 0.35), species.n_biosamples)
    genome = [_elements(n_bins, programs, generator) for _, _, n_bins in species.regions]
    return genome, _measured(species, generator)


def elsewhere(assay: Assay) -> Assay:
    """Return the assay with the same heights, widths and activities at other kinds of element."""
    return replace(assay, response={ELSEWHERE[kind]: rule for kind, rule in assay.response.items()})


def _elements(n_bins: int, programs: Array, generator: np.random.Generator) -> list[Element]:
    """Place genes, enhancers, CTCF sites and silent domains on a stretch of genome."""

    def activity() -> Array:
        weights = generator.normal(0, 3.2, N_PROGRAMS)
        return np.asarray(1 / (1 + np.exp(-(programs @ weights + generator.normal(-0.3, 0.8)))))

    def height() -> float:
        return float(np.exp(generator.normal(0, 0.35)))

    elements = []
    at = int(generator.integers(20, 120))
    while at < n_bins - 60:
        kind = generator.choice(["gene", "enhancer", "ctcf", "silent"], p=[0.34, 0.38, 0.18, 0.10])
        if kind == "gene":
            length = int(generator.integers(80, 500))
            stop = min(n_bins, at + length)
            act, high = activity(), height()
            strand = "+" if generator.random() < 0.5 else "-"
            start_site = at if strand == "+" else stop - 1
            elements += [Element(k, start_site, start_site + 1, high, act) for k in ("promoter", "flank")]
            elements.append(Element("body", at, stop, high, act))
            elements.append(Element("polycomb", max(0, at - 60), min(n_bins, stop + 60), height(), act))
            for exon in range(at, stop, 40):
                elements.append(Element(f"exon{strand}", exon, min(stop, exon + 12), high, act))
            at = stop
        elif kind == "silent":
            stop = min(n_bins, at + int(generator.integers(100, 400)))
            elements.append(Element("silent", at, stop, height(), activity()))
            at = stop
        else:
            elements.append(Element(str(kind), at, at + 1, height(), activity()))
        at += int(generator.integers(15, 90))
    return elements


def _measured(species: Species, generator: np.random.Generator) -> list[tuple[int, int]]:
    """Choose the measured pairs; every biosample and every performed assay has at least two."""
    allowed = [i for i, assay in enumerate(ASSAYS) if assay.target not in species.lacks or not assay.target]
    taken = generator.random((species.n_biosamples, len(ASSAYS))) < species.density
    # Both strands of RNA come from one experiment: they are measured together or not at all.
    taken[:, -1] = taken[:, -2]
    for biosample in range(species.n_biosamples):
        short = [i for i in allowed if not taken[biosample, i]]
        for i in generator.permutation(short)[: max(0, 2 - int(taken[biosample, allowed].sum()))]:
            taken[biosample, int(i)] = True
    for i in allowed:
        unmeasured = np.flatnonzero(~taken[:, i])
        for biosample in generator.permutation(unmeasured)[: max(0, 2 - int(taken[:, i].sum()))]:
            taken[int(biosample), i] = True
    taken[:, -1] = taken[:, -2] = taken[:, -1] | taken[:, -2]
    return [(b, i) for b in range(species.n_biosamples) for i in allowed if taken[b, i]]


def planted_signal(assay: Assay, elements: Sequence[Element], biosample: int, n_bins: int) -> Array:
    """Compute the values that an experiment would have along a stretch without noise, at a depth of 1."""
    mean = np.full(n_bins, 0.0 if assay.portal.endswith("RNA-seq") else 0.25)
    for element in elements:
        if element.kind not in assay.response:
            continue
        high, width, reads = assay.response[element.kind]
        level = high * element.height * float(READ[reads](element.activity)[biosample])
        if width:
            low, stop = max(0, int(element.first - 3 * width)), min(n_bins, int(element.first + 3 * width))
            offset = (np.arange(low, stop) - element.first) / width
            shape = np.exp(-0.5 * offset**2)
            if element.kind == "flank":
                shape *= np.minimum(1.0, np.abs(offset))
            mean[low:stop] += level * shape
        else:
            mean[element.first : element.stop] += level
    return mean


def _signal(
    assay: Assay,
    elements: Sequence[Element],
    biosample: int,
    n_bins: int,
    depth: float,
    generator: np.random.Generator,
) -> Array:
    """Draw one experiment's values along a stretch: the rule's mean, times depth and noise."""
    mean = planted_signal(assay, elements, biosample, n_bins)
    shape_parameter = 1 / assay.noise**2
    return np.asarray(depth * mean * generator.gamma(shape_parameter, 1 / shape_parameter, n_bins))


def _write_bigwig(path: Path, species: Species, tracks: Sequence[Array]) -> None:
    """Write bedGraph sections; equal neighbours are merged, values below the detection limit left out."""
    sizes = load_assembly(species.assembly).chrom_sizes
    file = pyBigWig.open(str(path), "w")
    file.addHeader([(chrom, sizes[chrom]) for chrom in sizes], maxZooms=0)
    order = list(sizes)
    placed = sorted(zip(species.regions, tracks, strict=True), key=lambda item: order.index(item[0][0]))
    for (chrom, start, _), track in placed:
        values = np.round(track, 3)
        edges = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
        ends = np.append(edges[1:], values.size)
        kept = values[edges] >= DETECTION_LIMIT
        kept[0] |= not kept.any()  # a bigWig must hold something
        file.addEntries(
            [chrom] * int(kept.sum()),
            (start + BIN_SIZE * edges[kept]).tolist(),
            ends=(start + BIN_SIZE * ends[kept]).tolist(),
            values=values[edges][kept].tolist(),
        )
    file.close()


def _metadata_row(
    species: Species, assay: Assay, biosample: int, accession: str, size: int
) -> dict[str, str]:
    return {
        "File accession": accession,
        "File format": "bigWig",
        "Output type": assay.output_type,
        "File assembly": species.portal_assembly,
        "Experiment accession": f"SIMEXP-{species.species}-{biosample:02d}-{assay.portal}-{assay.target}",
        "Assay": assay.portal,
        "Biosample term name": f"simulated-{species.species}-{biosample:02d}",
        "Biosample organism": species.organism,
        "Experiment target": f"{assay.target}-{species.species}" if assay.target else "",
        "Biological replicate(s)": "1, 2",
        "Size": str(size),
        "md5sum": "",
        "File download URL": f"tracks/{accession}.bigWig",
        "File Status": "released",
        "File analysis title": "simulated v1.0.0",
    }


def _distractors(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Make rows that a portal table also holds and a catalog must leave out."""
    first = rows[0]
    return [
        first | {"File accession": "SIMX1", "Output type": "fold change over control"},
        first | {"File accession": "SIMX2", "File Status": "archived"},
        first | {"File accession": "SIMX3", "File format": "bed narrowPeak"},
        first | {"File accession": "SIMX4", "Biological replicate(s)": "1"},
        first
        | {
            "File accession": "SIMX5",
            "Experiment accession": "SIMEXP-perturbed",
            "Assay": "shRNA RNA-seq",
            "Experiment target": "XRN2-human",
            "Output type": "plus strand signal of all reads",
        },
    ]
