"""Time imputation with a context model, all included, beside its matrix products; writes docs/performance.md.

    python -m benchmarks.impute_context

Twenty simulated tracks of five biosamples and assays; the model has its default sizes and is not trained, which
takes as long. The floor is the network's products alone, on one core, of the same blocks.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import epixs
from benchmarks.sections import write_section
from epixs.lanes import COLUMNS, UNITS, multiply
from epixs.models.context.forward import forward_of
from epixs.models.folder import new_model
from epixs.report.tables import markdown_table
from tests.worlds import write_store

BIOSAMPLES, ASSAYS, ROUNDS = 5, 5, 3
LABELS = [(f"b{b}", f"a{a}") for b in range(BIOSAMPLES) for a in range(ASSAYS) if a != b]


def world(folder: Path, bins: int) -> Path:
    """A store of twenty tracks."""
    generator = np.random.default_rng(0)
    values = np.arcsinh(generator.gamma(0.5, 2, (len(LABELS), bins)))
    signal = (np.rint(values * 2048) / 2048).astype(np.float32)
    return write_store(folder / "s.zarr", signal, labels=LABELS, regions=[("chr1", 0, 25 * bins)])


def floor(model: object, tokens: tuple[int, int]) -> float:
    """Seconds per bin of the products alone, on one core."""
    weights = forward_of(model).weights
    members = len(weights.token)
    shapes = [
        (k.shape[1] * UNITS, k.shape[2], n)
        for k, n in zip((weights.own, weights.others), tokens, strict=True)
    ]
    token = weights.token.shape[2]
    shapes += [(token, token, sum(tokens)), (UNITS, token, sum(tokens))]
    shapes += [(int(b), int(a), 1) for a, b in zip(weights.widths, weights.widths[1:], strict=False)]
    seconds = 0.0
    for units, inputs, times in shapes:
        kernel = np.ones((units // UNITS, inputs, UNITS), np.float32)
        x, out = (np.ones((n, COLUMNS), np.float32) for n in (inputs, units))
        bias, taken = np.zeros(units, np.float32), []
        multiply(kernel, bias, x, out, True)
        for _ in range(200):
            started = time.perf_counter()
            for _ in range(50):
                multiply(kernel, bias, x, out, True)
            taken.append((time.perf_counter() - started) / 50)
        seconds += times * members * min(taken) / COLUMNS
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bins", type=int, default=3_000_000)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="epixs-context-") as name:
        folder = Path(name)
        store = world(folder, options.bins)
        axis = epixs.joint_axis([store])
        model = new_model(axis, epixs.make_settings("context"))
        lowest = floor(model, (ASSAYS - 1, ASSAYS))
        missing = [("mouse", f"b{n}", f"a{n}") for n in range(BIOSAMPLES)]
        from epixs.models.context.predict import statistics_of
        from epixs.sampling.species import load_species

        model.statistics.assign(statistics_of(load_species(axis)))
        epixs.impute(model, store, folder / "first.zarr", pairs=missing[:1])  # compiles
        for tracks in (1, BIOSAMPLES):
            taken = []
            for n in range(ROUNDS):
                started = time.perf_counter()
                epixs.impute(model, store, folder / f"{tracks}-{n}.zarr", pairs=missing[:tracks])
                taken.append(time.perf_counter() - started)
            rate = options.bins * tracks / statistics.median(taken)
            rows.append(
                {
                    "tracks": tracks,
                    "bins/s per track, all included": f"{rate:,.0f}",
                    "us per bin and core": f"{1e6 * len(os.sched_getaffinity(0)) / rate:.2f}",
                    "products alone, us": f"{1e6 * lowest:.2f}",
                }
            )
    lines = [
        "## Imputing with a context model",
        "",
        "Written by `python -m benchmarks.impute_context`; nothing here is typed by hand.",
        f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}. Twenty simulated tracks over {options.bins:,} bins, a model of",
        f"default sizes; medians of {ROUNDS} rounds, reading, network and writing included. Products alone: on one core.",
        "",
        markdown_table(pd.DataFrame(rows)),
    ]  # fmt: skip
    write_section("performance.md", "context", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
