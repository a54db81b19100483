"""The verbs that write a store tile by tile, over the tiny world and in many small tiles; and a process to kill.

    python -m tests.jobs VERB WORLD OUT SCHEDULER TILES DELAY

runs one, without a cluster if SCHEDULER is empty, and kills itself DELAY seconds after so many tiles.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from epixs.catalog.experiments import read_catalog
from epixs.catalog.pairs import read_pairs
from epixs.compendium import plan
from epixs.genome.bed import read_regions
from epixs.ingestion.run import ingest
from epixs.storage import ledger
from tests.patience import PATIENCE


def ingest_human(world, out, **options):
    catalog = read_catalog(world / "catalog.tsv", "human")
    return ingest(catalog, read_regions(world / "human.bed", catalog.assembly)[0], out, **options)


def impute_mouse(world, out, **options):
    from epixs.imputation.write import impute
    from epixs.models.folder import open_model

    pairs = read_pairs(world / "exclude.tsv")
    return impute(open_model(world / "model"), world / "mouse.zarr", out, pairs=pairs, **options)


def fit_mouse(world, out, **options):
    from epixs.factors.fit import fit_genome
    from epixs.models.folder import open_model

    return fit_genome(open_model(world / "model"), world / "mouse.zarr", out, epochs=1, **options)


JOBS = {"ingest": ingest_human, "impute": impute_mouse, "fit-genome": fit_mouse}


def small_tiles(patch=setattr, bins=20, positions=2):
    """Have stores of many small tiles and blocks, whose records are moved together again and again.

    `patch` is as `monkeypatch.setattr`.
    """
    from epixs.factors import selection

    patch(plan, "CHUNK_BINS", bins)
    patch(plan, "FEWEST_SHARD_CHUNKS", 1)
    patch(plan, "FEWEST_TILES", 1000)
    patch(selection, "BLOCK_POSITIONS", positions)
    patch(ledger, "FEW", 2)
    patch(ledger, "RUN_OF_TILES", 5)


def killed(verb, world, out, scheduler="", tiles=4, delay=0.01):
    """Run a verb in a process that dies by SIGKILL; returns its exit code."""
    arguments = map(str, (verb, world, out, scheduler, tiles, delay))
    return subprocess.run(
        [sys.executable, "-m", "tests.jobs", *arguments], check=False, timeout=PATIENCE
    ).returncode


def main(verb, world, out, scheduler, tiles, delay):
    from distributed import Client

    def die():
        time.sleep(float(delay))
        os.kill(os.getpid(), signal.SIGKILL)

    calls = []

    def progress(state):
        calls.append(state)
        if len(calls) == int(tiles) + 1:
            threading.Thread(target=die).start()

    small_tiles()
    with Client(scheduler) if scheduler else contextlib.nullcontext() as client:
        JOBS[verb](Path(world), out, client=client, progress=progress)


if __name__ == "__main__":
    main(*sys.argv[1:])
