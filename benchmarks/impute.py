"""Time imputation: beside the reference, with a context model, and as a page asks; writes docs/performance.md.

    pip install --no-deps avocado-epigenome==0.4.0
    python -m benchmarks.impute --data ../shared/data

Models are not trained, which takes as long. The reference's `predict` is called as it stands, but that its
inputs have the shape `(n, 1)`, for Keras 3. It and epixs take turns, each in a process of its own; both give a
track in memory. A context model has no peer: beside it stand its matrix products alone.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pandas as pd

import epixs
from benchmarks.real_tracks import NEVER_MEASURED
from benchmarks.sections import write_section
from epixs.matrices import MATRICES
from epixs.report.tables import markdown_table

SETTINGS = ((256, 400_000, 5.0), (2048, 40_000, 1.3))
"""Nodes of the two hidden layers, bins of a track, and the ratio that is wanted."""

ROUNDS = 5
HOW = {
    True: "on the processor's matrix instructions, with products as exact as 2^-15",
    False: "in float32 on vectors: this processor has no matrix instructions",
}
"""How epixs multiplies, with and without matrix instructions."""

CONTEXT_BINS, CONTEXT_ROUNDS = 3_000_000, 3

WINDOW, PIXELS = 1_000_000, 1_200
"""Bases that a page asks for, and points that it has for them."""

Run = Callable[[], object]


def missing() -> list[tuple[str, str, str]]:
    """The pairs of the human panel that nobody measured here."""
    return [("human", name, f"ChIP-seq_{mark}_signal_p-value") for name, mark in NEVER_MEASURED.items()]


def by_reference(store: Path, nodes: int, bins: int, tracks: int) -> Run:
    """Call the reference's `predict` of one track after another."""
    from benchmarks.train import Peer, reference

    peer = Peer(reference(), epixs.joint_axis([store]), nodes)
    keras_model = peer.model.model
    at_once = type("Shaped", (), {"predict": staticmethod(
        lambda columns, **options: keras_model.predict(
            {name: column.reshape(-1, 1) for name, column in columns.items()}, **options)
    )})  # fmt: skip
    peer.model.model = at_once

    def run() -> None:
        for _, biosample, assay in missing()[:tracks]:
            assert peer.model.predict(biosample, assay, 0, bins).size == bins

    return run


def factorization(axis: Any, nodes: int) -> Any:
    """An untrained factorization."""
    from epixs.models.folder import new_model

    return new_model(axis, epixs.make_settings("avocado", hidden=(nodes, nodes)))


def by_epixs(store: Path, nodes: int, bins: int, tracks: int) -> Run:
    """Compute the same tracks lazily."""
    model = factorization(epixs.joint_axis([store]), nodes)
    lazy = epixs.open_imputed(model, store, pairs=missing()[:tracks]).isel(bin=slice(bins))

    def run() -> None:
        assert lazy.signal.compute().shape == (tracks, bins)

    return run


class Apart:
    """Something that is run in a process of its own, and timed there."""

    def __init__(self, make: Callable[..., Run], *arguments: Any) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.line, theirs = spawn.Pipe()
        self.process = spawn.Process(target=_serve, args=(theirs, make, *arguments), daemon=True)
        self.process.start()
        self.line.recv()

    def seconds(self) -> float:
        self.line.send(True)
        return float(self.line.recv())

    def end(self) -> None:
        self.line.send(False)
        self.process.join()


def _serve(line: Any, make: Callable[..., Run], *arguments: Any) -> None:
    run = make(*arguments)
    run()  # compiles
    line.send(True)
    while line.recv():
        started = time.perf_counter()
        run()
        line.send(time.perf_counter() - started)


def peak(cores: int) -> float:
    """Float32 operations per second of all cores on vectors, in products that stay in the first cache."""
    from epixs.lanes import COLUMNS
    from epixs.products import aligned, laid_out, multiply, room_for

    inputs, units, times = 64, 512, 5_000

    def run(_: int) -> None:
        kernel = laid_out(np.ones((1, inputs, units), np.float32), in_matrices=False)[0]
        bias, values, out = np.zeros((1, units), np.float32), aligned(1, inputs), aligned(1, units)
        nothing = room_for(0)
        for _ in range(times):
            multiply(kernel, bias, values, out, True, nothing)

    run(0)
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(run, range(cores)))
        taken.append(time.perf_counter() - started)
    return 2 * inputs * units * COLUMNS * times * cores / min(taken)


def operations(nodes: int) -> float:
    """Float32 operations per bin that a factorization cannot do without, its coarse factors left out."""
    fine = epixs.make_settings("avocado").model.genome_factors[0]
    return 2.0 * (fine * nodes + nodes * nodes + nodes)


def side_by_side(store: Path, most: float) -> list[dict[str, object]]:
    """Bins and tracks per second of both, for one track and for five, and what `most` operations allow."""
    rows = []
    for nodes, bins, wanted in SETTINGS:
        for tracks in (1, len(NEVER_MEASURED)):
            both = [Apart(make, store, nodes, bins, tracks) for make in (by_reference, by_epixs)]
            rounds = [[one.seconds() for one in both] for _ in range(ROUNDS)]
            for one in both:
                one.end()
            ratios = [theirs / ours for theirs, ours in rounds]
            rates = [bins * tracks / statistics.median(column) for column in zip(*rounds, strict=True)]
            rows.append(
                {
                    "hidden layers": f"2 x {nodes}",
                    "tracks": tracks,
                    "reference, bins/s": f"{rates[0]:,.0f}",
                    "epixs, bins/s": f"{rates[1]:,.0f}",
                    "ratio": f"{statistics.median(ratios):.1f} x",
                    "least, most": f"{min(ratios):.1f}, {max(ratios):.1f}",
                    "wanted": f"{wanted:g} x",
                    "at most, on vectors": f"{most / operations(nodes) / rates[0]:.1f} x",
                }
            )
            print(rows[-1], flush=True)
    return rows


def context_model(axis: Any) -> Any:
    """A context model of default sizes that reads the tracks of an axis, untrained."""
    from epixs.models.context.predict import statistics_of
    from epixs.models.folder import new_model
    from epixs.sampling.species import load_species

    model = new_model(axis, epixs.make_settings("context"))
    model.statistics.assign(statistics_of(load_species(axis)))
    model.intervals.assign(np.ones(model.intervals.shape))  # so that it has a spread
    return model


def products(model: Any, tokens: tuple[int, int]) -> float:
    """Seconds per bin of a context model's matrix products alone, on one core."""
    from epixs.lanes import COLUMNS
    from epixs.products import aligned, laid_out, multiply, padded, room_for
    from epixs.sampling.fill import RADII, SUMMARIES

    token, widths = model.token, [model.heads * model.token, *model.settings["hidden"]]
    shapes = [(RADII.size, token, tokens[0]), (SUMMARIES * RADII.size, token, tokens[1])]
    shapes += [(token, token, sum(tokens)), (token, model.heads, sum(tokens))]
    shapes += [(before, after, 1) for before, after in pairwise(widths)]
    seconds = 0.0
    for inputs, units, blocks in shapes:
        kernel = laid_out(np.ones((1, inputs, units), np.float32))[0]
        bias = padded(np.zeros((1, units)))
        values, out, room, taken = (
            aligned(blocks, inputs),
            aligned(blocks, bias.size),
            room_for(inputs, blocks),
            [],
        )
        for _ in range(200):
            started = time.perf_counter()
            for _ in range(50):
                multiply(kernel, bias, values, out, True, room)
            taken.append((time.perf_counter() - started) / 50)
        seconds += model.members * min(taken) / COLUMNS
    return seconds


def context(folder: Path, cores: int) -> list[dict[str, object]]:
    """Whole imputations, written to stores, of twenty simulated tracks."""
    from tests.worlds import write_store

    labels = [(f"b{b}", f"a{a}") for b in range(5) for a in range(5) if a != b]
    values = np.arcsinh(np.random.default_rng(0).gamma(0.5, 2, (len(labels), CONTEXT_BINS)))
    signal = (np.rint(values * 2048) / 2048).astype(np.float32)
    store = write_store(folder / "s.zarr", signal, labels=labels, regions=[("chr1", 0, 25 * CONTEXT_BINS)])
    model, wanted = context_model(epixs.joint_axis([store])), [("mouse", f"b{n}", f"a{n}") for n in range(5)]
    lowest, rows = products(model, (4, 5)), []
    epixs.impute(model, store, folder / "first.zarr", pairs=wanted[:1])  # compiles
    for tracks in (1, 5):
        taken = []
        for number in range(CONTEXT_ROUNDS):
            started = time.perf_counter()
            epixs.impute(model, store, folder / f"{tracks}-{number}.zarr", pairs=wanted[:tracks])
            taken.append(time.perf_counter() - started)
        rate = CONTEXT_BINS * tracks / statistics.median(taken)
        rows.append(
            {
                "tracks": tracks,
                "bins/s, all included": f"{rate:,.0f}",
                "us per bin and core": f"{1e6 * cores / rate:.2f}",
                "products alone, us": f"{1e6 * lowest:.2f}",
            }
        )
        print(rows[-1], flush=True)
    return rows


def windows(store: Path) -> Iterator[tuple[str, int]]:
    """Stretches of `WINDOW` bases in the store's regions that do not overlap."""
    regions = epixs.open_compendium(store).epixs.regions
    for chrom, start, end in zip(regions.chrom, regions.start, regions.end, strict=True):
        for first in range(int(start), int(end) - WINDOW + 1, WINDOW):
            yield chrom, first


def live(store: Path) -> list[dict[str, object]]:
    """Seconds until a page has a window that nobody asked for before, over HTTP."""
    from epixs.exports.browser.browse import make_session
    from epixs.exports.browser.server import serving
    from epixs.exports.source import LINES

    axis, rows = epixs.joint_axis([store]), []
    models = {
        "avocado, 2 x 256": factorization(axis, 256),
        "context": context_model(axis),
    }
    for name, model in models.items():
        session = make_session(epixs.open_imputed(model, store, pairs=missing()))
        session.tracks[0].warm()  # as `browse` does
        lines = tuple(LINES) if session.tracks[0].source.has_spread else ("signal",)
        with serving(session) as url, ThreadPoolExecutor(len(lines)) as threads:
            where, token = url.split("?")

            def ask(chrom: str, start: int, line: str, where: str = where, token: str = token) -> int:
                query = {
                    "track": 0, "chrom": chrom, "start": start, "end": start + WINDOW, "line": line,
                    "bases_per_pixel": WINDOW / PIXELS, "how": "mean",
                }  # fmt: skip
                with urllib.request.urlopen(f"{where}data?{urlencode(query)}&{token}") as answer:
                    return len(json.load(answer)["value"])

            taken = []
            for chrom, start in windows(store):
                began = time.perf_counter()
                found = list(threads.map(ask, *zip(*[(chrom, start, line) for line in lines], strict=True)))
                taken.append(time.perf_counter() - began)
                assert all(found)
        rows.append(
            {
                "model": name,
                "asked for": " and ".join(lines),
                "windows": len(taken),
                "seconds, median": f"{statistics.median(taken):.2f}",
                "most": f"{max(taken):.2f}",
            }
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data / "human_hg19"
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="epixs-impute-") as name:
        folder = Path(name)
        epixs.ingest(data / "catalog.tsv", data / "regions.bed", folder / "human.zarr")
        beside = side_by_side(folder / "human.zarr", peak(cores))
        answers = live(folder / "human.zarr")
        alone = context(folder, cores)
    machine = f"{cores} cores, {platform.machine()}, Python {platform.python_version()}"
    write_section(
        "performance.md",
        "imputation",
        [
            "## Imputation",
            "",
            "Written by `python -m benchmarks.impute --data DATA`; nothing here is typed by hand.",
            f"{machine}. Models of the panel of 20 human tracks, untrained. A factorization beside the",
            f"reference's `predict`, in turn, each in a process of its own; medians of {ROUNDS} paired rounds. The reference",
            f"computes in float32, epixs {HOW[MATRICES]}.",
            "The last column is what products of small matrices alone would allow on the cores' vectors, in float32.",
            "",
            markdown_table(pd.DataFrame(beside)),
            f"A window of {WINDOW / 1e6:g} Mb that was not asked for before, as `epixs browse --model` answers it over HTTP; the first",
            "thing that is asked, which makes the model ready, is not counted.",
            "",
            markdown_table(pd.DataFrame(answers)),
            f"Whole imputations with a context model of default sizes, of {CONTEXT_BINS:,} bins beside twenty simulated tracks:",
            f"reading, network and writing; medians of {CONTEXT_ROUNDS} rounds. Beside, its products alone, on one core.",
            "",
            markdown_table(pd.DataFrame(alone)),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
