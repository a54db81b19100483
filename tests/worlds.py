"""Stores for tests, written straight from arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from epixs.compendium.create import prepare_store
from epixs.compendium.plan import Plan
from epixs.compendium.summary import row_statistics
from epixs.compendium.write import finalise, write_block
from epixs.genome.regions import Regions
from epixs.sampling.kriging import BAND_RADII
from epixs.sampling.panel import Panel
from epixs.storage.ledger import Record, write_record
from epixs.storage.lock import writing
from epixs.storage.tiling import Layout

BINS = 3_000


def a_panel(biosample, assay, mean, spread, likeness, band_likeness=None, band_spread=None) -> Panel:
    """A panel whose bands are alike, unless they are given."""
    bands = len(BAND_RADII)
    band_likeness = np.tile(likeness, (bands, 1, 1)) if band_likeness is None else band_likeness
    band_spread = np.full((bands, len(assay)), bands**-0.5) if band_spread is None else band_spread
    numbers = [np.array(labels, np.int32) for labels in (biosample, assay)]
    return Panel(
        *numbers, *(np.array(v, np.float32) for v in (mean, spread, likeness, band_likeness, band_spread))
    )


def planted(seed: int, biosamples: int, assays: int, where: int = 1) -> np.ndarray:
    """Signal of few causes: bins have programs, biosamples switch them, assays show them."""
    rng = np.random.default_rng([seed, where])
    shared = np.random.default_rng(99)
    shows = shared.gamma(1.0, 1.0, (8, 3))[:assays]
    programs = np.repeat(rng.gamma(0.5, 1.5, (BINS // 20, 3)), 20, axis=0)
    switches = np.random.default_rng(seed).uniform(0.2, 1.8, (biosamples, 3))
    values = np.einsum("ap,bp,np->ban", shows, switches, programs).reshape(-1, BINS)
    return np.arcsinh(values + rng.normal(0, 0.05, values.shape) ** 2)


def write_store(
    path: Path,
    values: np.ndarray,
    *,
    labels: list[tuple[str, str]],
    regions: list[tuple[str, int, int]] | None = None,
    species: str = "mouse",
    layout: Layout | None = None,
    accessions: list[str] | None = None,
    assay_class: str = "histone",
    unit: str = "signal",
    assembly: str = "mm10",
) -> Path:
    """A finished store of some values, shape `(experiment, bin)`, and `(biosample, assay)` labels."""
    places = regions or [("chr1", 0, 25 * values.shape[1])]
    table = pd.DataFrame(
        [
            {
                "biosample": biosample, "assay": assay, "assay_class": assay_class,
                "accession": accessions[number] if accessions else f"{biosample}-{assay}", "output_type": unit, "strand": "", "source": "",
                "source_size": -1, "md5sum": "",
            }
            for number, (biosample, assay) in enumerate(labels)
        ]
    )  # fmt: skip
    names, chroms, starts, ends = zip(
        *[(f"r{i}", chrom, start, end) for i, (chrom, start, end) in enumerate(places)], strict=True
    )
    where = Regions(assembly, names, chroms, starts, ends)
    plan = Plan("observed", species, table, where, "nan", {}, layout)
    with writing(path):
        store, plan = prepare_store(path, plan)
        for tile in plan.tiles():
            block = values[tile.first_row : tile.stop_row, tile.first_bin : tile.stop_bin].astype(np.float32)
            write_block(store, tile, block)
            rows = [row_statistics(row, 25 * row.size, 25 * row.size) for row in block]
            write_record(store, tile.key, Record("", rows))
        finalise(store, plan, lambda tile, record: True)
    return path
