"""Score many tracks, and write the time and memory to docs/performance.md.

    python -m benchmarks.evaluate

100 tracks x 3 million bins: imputed tracks and two baselines (average activity and biosample mean), with promoters,
genes and enhancers. Then the same tracks over fewer bins, to see how memory grows.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import zarr
from scipy import stats

from benchmarks.sections import write_section
from epixs.evaluation.baselines import Imputed, Mean
from epixs.evaluation.columns import Signal
from epixs.evaluation.scoring import ScoredPair, score_pairs
from epixs.evaluation.steps import to_steps, to_units
from epixs.evaluation.strata import Coverage, Strata
from epixs.report.tables import markdown_table

BIOSAMPLES, ASSAYS = 20, 5
CHUNK = (16, 16_384)
SHARD = (16, 16 * 16_384)
HEAD = [
    "## Evaluation",
    "",
    "Written by `python -m benchmarks.evaluate --write`; nothing here is typed by hand. 2 cores; all metrics, imputed beside",
    "two baselines (average activity, mean of the biosample), with promoters, genes and enhancers. Peak memory is that of",
    "the whole process; before scoring it holds Python, its libraries and compiled kernels. Last, the largest relative",
    "difference of six metrics of three tracks from those of NumPy and SciPy on whole tracks.",
    "Other work was running on the same cores: core seconds and memory say more than seconds.",
    "",
]
CHECKED = 3
"""Number of tracks whose scores are compared with SciPy's."""


def write_signal(path: Path, n_bins: int, seed: int) -> None:
    """Write the signal of a hundred tracks in the layout of a store: bursts over a sparse background."""
    rng = np.random.default_rng(seed)
    rows = BIOSAMPLES * ASSAYS
    array = zarr.create_array(
        str(path), shape=(rows, n_bins), chunks=CHUNK, shards=SHARD, dtype="float32", fill_value=np.nan
    )
    for start in range(0, n_bins, SHARD[1]):
        width = min(SHARD[1], n_bins - start)
        bursts = np.repeat(
            np.random.default_rng([1, start]).gamma(0.3, 1.5, (ASSAYS, width // 20 + 1)), 20, axis=1
        )
        for first in range(0, rows, CHUNK[0]):
            last = min(rows, first + CHUNK[0])
            noise = rng.gamma(0.5, 0.4, (last - first, width)).astype(np.float32)
            base = bursts[np.arange(first, last) % ASSAYS, :width]
            array[first:last, start : start + width] = to_units(to_steps(np.arcsinh(base * noise)))


def pairs() -> list[ScoredPair]:
    """Pair each track with its imputation, the average of its assay and the mean of its biosample."""
    scored = []
    for assay in range(ASSAYS):
        rows = tuple(b * ASSAYS + assay for b in range(BIOSAMPLES))
        for biosample, row in enumerate(rows):
            others = tuple(biosample * ASSAYS + a for a in range(ASSAYS) if a != assay)
            methods = {"imputed": Imputed(row), "average": Mean(rows, row), "biosample": Mean(others)}
            scored.append(ScoredPair((str(biosample), str(assay)), row, methods, Mean(rows, row)))
    return scored


def strata(n_bins: int) -> Strata:
    """Place a promoter, a gene and an enhancer every 4,000 bins."""
    starts = np.arange(0, n_bins - 2_000, 4_000)
    covers = [
        Coverage.of(starts + first, starts + last, once=True)
        for first, last in ((0, 80), (80, 900), (1_500, 1_520))
    ]
    return Strata(Coverage(), tuple(covers), {})


def measure(folder: Path, n_bins: int) -> dict[str, object]:
    """Measure seconds and memory of scoring, and the largest difference from SciPy's scores of whole tracks."""
    observed, imputed = (Signal(zarr.open_array(str(folder / name), mode="r"), CHUNK) for name in ("o", "i"))
    small = Signal(zarr.open_array(str(folder / "small"), mode="r"), CHUNK)
    score_pairs(pairs()[:2], small, small, strata(CHUNK[1]))  # compiles the kernels
    before = peak_megabytes()
    started, used = time.monotonic(), time.process_time()
    scores = score_pairs(pairs(), observed, imputed, strata(n_bins))
    seconds, used = time.monotonic() - started, time.process_time() - used
    memory = peak_megabytes()
    worst = max(
        difference(observed, imputed, pair, score)
        for pair, score in list(zip(pairs(), scores, strict=True))[:CHECKED]
    )
    return {
        "tracks": len(scores),
        "bins": n_bins,
        "methods": 3,
        "seconds": f"{seconds:.1f}",
        "core seconds": f"{used:.1f}",
        "peak MB": round(memory),
        "MB before": round(before),
        "largest difference from SciPy": f"{worst:.0e}",
    }


def peak_megabytes() -> float:
    """Return the peak memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def difference(observed: Signal, imputed: Signal, pair: ScoredPair, found: object) -> float:
    """Return the largest relative difference of six metrics from those of NumPy and SciPy on whole tracks."""
    row = pair.row
    truth, guess = (np.asarray(s.array[row], dtype=np.float64) for s in (observed, imputed))
    top = truth >= np.sort(truth)[-int(0.01 * truth.size)]
    expected = {
        "mse": np.mean((truth - guess) ** 2),
        "pearson": stats.pearsonr(truth, guess).statistic,
        "spearman": stats.spearmanr(truth, guess).statistic,
        "mse1obs": np.mean((truth - guess)[top] ** 2),
        "mse_raw": np.mean((np.sinh(truth) - np.sinh(guess)) ** 2),
        "pearson_raw": stats.pearsonr(np.sinh(truth), np.sinh(guess)).statistic,
    }
    metrics = found.metrics["imputed"]
    return max(abs(metrics[name] - value) / abs(value) for name, value in expected.items())


def run(n_bins: int, folder: Path) -> dict[str, object]:
    """Make stores, and measure in a separate process, whose memory is that of scoring alone."""
    for seed, name in enumerate(("o", "i")):
        maker = multiprocessing.get_context("spawn").Process(
            target=write_signal, args=(folder / name, n_bins, seed)
        )
        maker.start()
        maker.join()
    write_signal(folder / "small", CHUNK[1], 2)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (folder, n_bins))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bins", type=int, nargs="+", default=[300_000, 1_000_000, 3_000_000])
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    rows = []
    for n_bins in options.bins:
        folder = Path(tempfile.mkdtemp(prefix="epixs-evaluate-"))
        try:
            rows.append(run(n_bins, folder))
            print(rows[-1], file=sys.stderr, flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    table = markdown_table(pd.DataFrame(rows))
    print(table)
    if options.write:
        write_section("performance.md", "evaluate", [*HEAD, table])


if __name__ == "__main__":
    main()
