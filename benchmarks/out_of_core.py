"""Train in memory and out of core on the same real tracks; writes to docs/performance.md.

    python -m benchmarks.out_of_core --data ../shared/data

Two folds that each hide one track of every mark, hidden layers of 256 nodes. Out of core, the training signal gets
the least memory that pools can mix in, so that it is read from the store in each epoch.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import pandas as pd

import epixs
from benchmarks.real_tracks import HIDDEN, folds
from benchmarks.sections import write_section
from epixs.cost import estimate_cost
from epixs.evaluation import IMPUTED
from epixs.report import markdown_table
from epixs.sampling.pools import fewest_bytes

SAMPLED_STEPS = 100


def entries_a_second(sampler: epixs.Sampler) -> float:
    """Million entries a second, over whole epochs and their reading."""
    sampler.batch(0, 0)
    started = time.perf_counter()
    entries = 0
    for step in range(SAMPLED_STEPS):
        entries += sampler.batch(*divmod(step, sampler.steps_per_epoch)).value.size
    return entries / (time.perf_counter() - started) / 1e6


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
            config = epixs.TrainConfig(hidden=HIDDEN)
            cost = estimate_cost(axis, config)
            least = (cost.memory_bytes - cost.signal_bytes + fewest_bytes(axis, 1) + 1_000) / 1e9
            for way, memory_gb in (("in memory", config.memory_gb), ("out of core", least)):
                mine = config.replace(memory_gb=memory_gb)
                planned = estimate_cost(axis, mine)
                assert planned.in_memory == (way == "in memory")
                model = work / f"{way}{number}"
                done = epixs.train(axis, mine, model)
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
    lines = [
        "## In memory and out of core",
        "",
        "Written by `python -m benchmarks.out_of_core --data DATA`; nothing here is typed by hand. Fifteen real tracks over",
        "the Pilot Regions; two folds hide five tracks each. Entries a second are those that one thread is given.",
        "",
        markdown_table(pd.DataFrame(rows)),
    ]  # fmt: skip
    write_section("performance.md", "out of core", lines)


if __name__ == "__main__":
    main()
