"""Time the drawing of training batches: `python -m benchmarks.sampling --data ../shared/data`.

It is compared with a simple generator in NumPy: a permutation of the positions, a random track for each, one fancy
index. Medians of paired rounds on real tracks, for one and for 20 experiments per position; and for the kind `context`,
which reads all tracks around each bin, with the tracks in memory and with a quarter of that memory.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

import epixs
from epixs.report.tables import markdown_table
from epixs.sampling.species import signal_bytes

BATCH, STEPS, ROUNDS = 40_000, 25, 7


def plain_numpy(signal: np.ndarray) -> Callable[[int], object]:
    """Draw one entry per position: order, tracks, values and the three positions."""
    rng = np.random.default_rng(0)
    order = rng.permutation(signal.shape[1])

    def batch(step: int) -> object:
        first = step * BATCH % (order.size - BATCH)
        bins = order[first : first + BATCH]
        track = rng.integers(0, signal.shape[0], bins.size)
        return track, bins, bins // 10, bins // 200, signal[track, bins]

    return batch


def rate(batch: Callable[[int], object], turn: int, entries: int = BATCH) -> float:
    """Measure million entries per second; each turn draws other steps."""
    started = time.perf_counter()
    for step in range(turn * STEPS, (turn + 1) * STEPS):
        batch(step)
    return STEPS * entries / (time.perf_counter() - started) / 1e6


def context_rates(axis: epixs.JointAxis) -> dict[str, float]:
    """Measure million entries per second of the sampler of kind `context`, at its defaults."""
    found = {}
    for name, memory in (("in memory", None), ("in a quarter of that memory", signal_bytes(axis) // 4)):
        sampler = epixs.new_sampler(axis, epixs.make_settings("context"), memory_bytes=memory)
        entries = sampler.positions_per_step * sampler.experiments_per_position
        ways = {
            "ContextSampler.batch": drawn_by(sampler),
            "training_dataset": through_tf_data(sampler),
        }
        for way, batch in ways.items():
            batch(0)
            found[f"{way}, {name}"] = statistics.median(rate(batch, turn, entries) for turn in range(ROUNDS))
    return found


def drawn_by(sampler: epixs.Sampler) -> Callable[[int], object]:
    return lambda step: sampler.batch(*divmod(step, sampler.steps_per_epoch))


def through_tf_data(sampler: epixs.Sampler) -> Callable[[int], object]:
    stream = iter(epixs.training_dataset(sampler))
    return lambda _: next(stream)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data / "human_hg19"
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "human.zarr"
        epixs.ingest(data / "catalog.tsv", data / "regions.bed", store)
        axis = epixs.joint_axis([store])
        signal = epixs.open_compendium(store).signal.to_numpy()
        one = epixs.Sampler(axis, batch_size=BATCH)
        twenty = epixs.Sampler(axis, batch_size=BATCH, experiments_per_position=20)
        ways = {
            "plain numpy": plain_numpy(signal),
            "Sampler.batch": drawn_by(one),
            "Sampler.batch, 20 experiments per position": drawn_by(twenty),
            "training_dataset": through_tf_data(one),
            "training_dataset, 20 experiments per position": through_tf_data(twenty),
        }
        for way in ways.values():
            way(0)
        context = context_rates(axis)
        rounds = [{name: rate(way, turn) for name, way in ways.items()} for turn in range(ROUNDS)]
    rows = [
        {
            "": name,
            "million entries per second": f"{statistics.median(r[name] for r in rounds):.1f}",
            "over plain numpy": f"{statistics.median(r[name] / r['plain numpy'] for r in rounds):.1f} x",
        }
        for name in ways
    ]
    rows += [{"": name, "million entries per second": f"{value:.2f}"} for name, value in context.items()]
    print(f"{signal.shape[0]} tracks x {signal.shape[1]:,} bins, {BATCH:,} entries per batch\n")
    print(markdown_table(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
