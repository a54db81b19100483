"""Time `epixs status` of a store of many tiles, on disk and on an S3 server of this machine.

    python -m benchmarks.ledger

The store has the labels and the ledger of an ingest, and no signal, because status does not read signal. Each time
is shown beside one read of the object that holds the records.
"""

from __future__ import annotations

import logging
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.sections import write_section
from epixs.compendium.create import create_store
from epixs.compendium.plan import Plan
from epixs.compendium.status import store_status
from epixs.compendium.summary import row_statistics
from epixs.genome.regions import Regions
from epixs.report.tables import markdown_table
from epixs.storage.ledger import COMPACTED, Record, compact, write_record
from epixs.storage.store import Store
from epixs.storage.tiling import Layout

TILES = (1_000, 10_000, 100_000)
ROWS, GROUPS, ROUNDS = 16, 100, 5


@contextmanager
def s3_server() -> Iterator[str]:
    """Yield the address of a bucket on a moto server, which this process finds by the usual variables."""
    import urllib.request

    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT": f"http://{host}:{port}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
    }  # fmt: skip
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/bench", method="PUT"))
    try:
        yield "s3://bench"
    finally:
        server.stop()


def make_plan(tiles: int) -> Plan:
    """Plan a store of so many tiles: row groups, times as many ranges of bins as needed."""
    n = ROWS * GROUPS
    table = pd.DataFrame(
        {
            "biosample": [f"b{i}" for i in range(n)], "assay": "A", "assay_class": "histone",
            "accession": [f"x{i}" for i in range(n)], "output_type": "signal", "strand": "", "source": "",
            "source_size": -1, "md5sum": "",
        }
    )  # fmt: skip
    where = Regions("mm10", ("r",), ("chr1",), (0,), (25 * 4 * (tiles // GROUPS),))
    return Plan("observed", "mouse", table, where, "zero", {}, Layout(ROWS, 4, 4))


def write_ledger(store: Store, plan: Plan) -> None:
    """Write the records of all tiles, and move them into one object after every thousand, as a run does."""
    generator = np.random.default_rng(0)
    some = [row_statistics(generator.random(4, np.float32), 100, 100) for _ in range(1_000)]
    for number, tile in enumerate(plan.tiles(), 1):
        chosen = generator.integers(0, len(some), ROWS)
        rows = [some[i] | {"checksum": generator.bytes(16).hex()} for i in chosen]
        write_record(store, tile.key, Record(generator.bytes(16).hex(), rows))
        if number % 1_000 == 0:
            compact(store)


def copied(store: Store, place: str, plan: Plan) -> Store:
    """Copy the labels and records to another place, which avoids thousands of writes."""
    other = create_store(place, plan)
    for name in (COMPACTED, "ledger/record/zarr.json"):
        other.put(name, [store.get(name) or b""])
    return other


def timed(store: Store) -> dict[str, str]:
    """Measure the seconds of status, and of one read of the records' object."""
    seconds: dict[str, list[float]] = {"status, s": [], "one read, s": []}
    for _ in range(ROUNDS):
        started = time.perf_counter()
        status = store_status(store.location)
        seconds["status, s"].append(time.perf_counter() - started)
        assert status.tiles_done == status.tiles
        started = time.perf_counter()
        store.get(COMPACTED)
        seconds["one read, s"].append(time.perf_counter() - started)
    return {name: f"{statistics.median(each):.3f}" for name, each in seconds.items()}


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory(prefix="epixs-ledger-") as name, s3_server() as bucket:
        for tiles in TILES:
            plan = make_plan(tiles)
            local = create_store(Path(name) / f"{tiles}.zarr", plan)
            write_ledger(local, plan)
            remote = copied(local, f"{bucket}/{tiles}.zarr", plan)
            size = f"{len(local.get(COMPACTED) or b'') / 1e6:.1f}"
            for where, store in (("disk", local), ("S3 (moto)", remote)):
                rows.append({"tiles": f"{tiles:,}", "where": where, "MB": size, **timed(store)})
    lines = [
        "## Status of a store of many tiles",
        "",
        "Written by `python -m benchmarks.ledger`; nothing here is typed by hand.",
        f"{GROUPS * ROWS:,} experiments; medians of {ROUNDS}. Beside it, one read of the object that holds all records.",
        "",
        markdown_table(pd.DataFrame(rows)),
    ]
    write_section("performance.md", "ledger", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
