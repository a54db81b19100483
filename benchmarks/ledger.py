"""Time `epixs status` of a store of many tiles, on disk and on an S3 server of this machine.

    python -m benchmarks.ledger

The store has labels and a ledger as an ingest leaves it, and no signal: nothing of it is looked at. Beside it,
one read of the object that holds the records.
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
    """Address of a bucket on a moto server, which this process finds by the usual environment."""
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
    """Rows in groups, and as many ranges of bins as it takes."""
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
    """Records of all tiles, moved into one object as a run does: after every thousand."""
    generator = np.random.default_rng(0)
    some = [row_statistics(generator.random(4, np.float32), 100, 100) for _ in range(1_000)]
    for number, tile in enumerate(plan.tiles(), 1):
        chosen = generator.integers(0, len(some), ROWS)
        rows = [some[i] | {"checksum": generator.bytes(16).hex()} for i in chosen]
        write_record(store, tile.key, Record(generator.bytes(16).hex(), rows))
        if number % 1_000 == 0:
            compact(store)


def copied(store: Store, place: str, plan: Plan) -> Store:
    """The same labels and records elsewhere: thousands of writes would be timed otherwise."""
    other = create_store(place, plan)
    for name in (COMPACTED, "ledger/record/zarr.json"):
        other.put(name, [store.get(name) or b""])
    return other


def timed(store: Store) -> dict[str, str]:
    """Seconds of status, and of one read of the records' object."""
    seconds: dict[str, list[float]] = {"status, s": [], "one read, s": []}
    for _ in range(ROUNDS):
        started = time.perf_counter()
        found = store_status(store.location)
        seconds["status, s"].append(time.perf_counter() - started)
        assert found.tiles_done == found.tiles
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
