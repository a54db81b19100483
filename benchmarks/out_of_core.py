"""Train in memory and out of core on the same real tracks; writes to docs/performance.md.

    python -m benchmarks.out_of_core --data ../shared/data

Two folds each hide one track of every mark; hidden layers have 256 nodes. Out of core, the training signal gets the
smallest memory that pools need for mixing, so that it is read from the store in each epoch. Then `epixs train` runs in
a separate process on a simulated store of eight times its `memory_gb`, and its peak memory is measured.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import epixs
from benchmarks.real_tracks import SETTINGS, folds
from benchmarks.sections import write_section
from epixs.compendium.create import create_store
from epixs.compendium.plan import Plan
from epixs.compendium.schema import EXPERIMENT_LABELS
from epixs.compendium.summary import row_statistics
from epixs.compendium.write import finalise, write_block
from epixs.evaluation.table import IMPUTED
from epixs.genome.assembly import Assembly
from epixs.genome.bed import make_regions
from epixs.report.tables import markdown_table
from epixs.sampling.pools import fewest_bytes
from epixs.storage.ledger import Record, write_record
from epixs.training.cost import estimate_cost

SAMPLED_STEPS = 100
MEMORY_GB = 2.0
LARGE = (4_000, 1_000_000)
"""Experiments and bins of a store of 16 GB."""


def entries_a_second(sampler: epixs.Sampler) -> float:
    """Measure million entries per second, over whole epochs and their reading."""
    sampler.batch(0, 0)
    started = time.perf_counter()
    entries = 0
    for step in range(SAMPLED_STEPS):
        entries += sampler.batch(*divmod(step, sampler.steps_per_epoch)).value.size
    return entries / (time.perf_counter() - started) / 1e6


def large_store(path: Path) -> None:
    """Write a store of `LARGE` experiments x bins, which repeats one block of random eighths."""
    regions, _ = make_regions(Assembly("one", {"chr1": 25 * LARGE[1]}), [("chr1", 0, 25 * LARGE[1], "all")])
    numbers = [str(row) for row in range(LARGE[0])]
    labels = {variable.name: numbers for variable in EXPERIMENT_LABELS}
    labels |= {"assay": [str(row % 40) for row in range(LARGE[0])], "source_size": [0] * LARGE[0]}
    plan = Plan("observed", "simulated", pd.DataFrame(labels), regions, "zero", {})
    store = create_store(path, plan)
    layout = plan.layout
    whole = np.random.default_rng(0).integers(0, 8, (layout.chunk_rows, layout.tile_bins)).astype(np.float32)
    entries: dict[tuple[int, ...], list[dict[str, object]]] = {}
    for tile in plan.tiles():
        block = whole[: tile.stop_row - tile.first_row, : tile.stop_bin - tile.first_bin] / 8
        write_block(store, tile, block)
        if block.shape not in entries:
            entries[block.shape] = [row_statistics(row, 25, 25) for row in block]
        write_record(store, tile.key, Record("", entries[block.shape]))
    finalise(store, plan, lambda tile, record: True)


def memory_of_training(work: Path) -> dict[str, object]:
    """Train two epochs on a store larger than memory, in another process, and return its peak memory."""
    store, config = work / "large.zarr", work / "large.toml"
    large_store(store)
    config.write_text(f"[training]\nmemory_gb = {MEMORY_GB}\nepochs = 2\n", encoding="utf-8")
    options = ["--config", str(config), "--hidden", "256,256", "--out", str(work / "large")]
    process = subprocess.Popen([Path(sys.executable).parent / "epixs", "train", str(store), *options])
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0
    planned = estimate_cost(
        epixs.joint_axis([store]),
        SETTINGS["avocado"].replace(memory_gb=MEMORY_GB, epochs=2),
    )
    assert not planned.in_memory
    return {
        "store, uncompressed": f"{4 * LARGE[0] * LARGE[1] / 1e9:.0f} GB ({LARGE[0]:,} x {LARGE[1]:,} bins)",
        "memory_gb": MEMORY_GB,
        "planned": f"{planned.memory_bytes / 1e9:.2f} GB",
        "held at most": f"{used.ru_maxrss * 1024 / 1e9:.2f} GB",
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data / "human_hg19"
    rows = []
    with tempfile.TemporaryDirectory(prefix="epixs-out-of-core-") as folder:
        work = Path(folder)
        store = work / "human.zarr"
        epixs.ingest(data / "catalog.tsv", data / "regions.bed", store)
        for number, pairs in enumerate(folds()[:2], 1):
            axis = epixs.joint_axis([store], pairs)
            config = SETTINGS["avocado"]
            cost = estimate_cost(axis, config)
            least = (cost.memory_bytes - cost.signal_bytes + fewest_bytes(axis, 1) + 1_000) / 1e9
            for way, memory_gb in (("in memory", config.training.memory_gb), ("out of core", least)):
                settings = config.replace(memory_gb=memory_gb)
                planned = estimate_cost(axis, settings)
                assert planned.in_memory == (way == "in memory")
                model = work / f"{way}{number}"
                done = epixs.train(axis, settings, model)
                epixs.impute(epixs.open_model(model), store, work / f"{way}{number}.zarr", pairs=pairs)
                scores = epixs.evaluate(work / f"{way}{number}.zarr", store).scores
                speed = entries_a_second(epixs.Sampler(axis, memory_bytes=planned.signal_bytes))
                rows.append(
                    {
                        "fold": number,
                        "training signal": way,
                        "its memory, MB": f"{planned.signal_bytes / 1e6:.0f}",
                        "held-out entries, MSE": f"{done['held_out_mse']:.4f}",
                        "hidden tracks, MSE": f"{scores.loc[scores['method'] == IMPUTED, 'mse'].mean():.4f}",
                        "million entries/s": f"{speed:.1f}",
                    }
                )
                print(rows[-1], flush=True)
        memory = memory_of_training(work)
    lines = [
        "## In memory and out of core",
        "",
        "Written by `python -m benchmarks.out_of_core --data DATA`; nothing here is typed by hand. Fifteen real tracks over",
        "the Pilot Regions; two folds hide five tracks each. Entries per second are those that one thread is given.",
        "",
        markdown_table(pd.DataFrame(rows)),
        "`epixs train` with 2 x 256 nodes, two epochs, on a simulated store eight times as large as its memory:",
        "",
        markdown_table(pd.DataFrame([memory])),
    ]  # fmt: skip
    write_section("performance.md", "out of core", lines)


if __name__ == "__main__":
    main()
