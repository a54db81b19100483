"""Real faults: processes killed with SIGKILL, an object store that fails at random. docs/reliability.md lists them.

After each, the same command makes a store that equals one that nothing ever happened to.
"""

import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

from epixs.catalog.experiments import read_catalog
from epixs.checks.verify import verify
from epixs.compendium.read import open_compendium
from epixs.compendium.status import store_status
from epixs.errors import ClusterError, StoreError
from epixs.genome.bed import read_regions
from epixs.ingestion.run import ingest
from epixs.storage import location
from epixs.storage.ledger import read_ledger
from epixs.storage.store import open_store
from tests.servers import DaskProcesses, flaky_proxy


@pytest.fixture(autouse=True)
def many_tiles(request, monkeypatch):
    monkeypatch.setattr("epixs.compendium.plan.CHUNK_BINS", 300 if "s3" in request.fixturenames else 20)
    monkeypatch.setattr("epixs.compendium.plan.FEWEST_SHARD_CHUNKS", 1)
    monkeypatch.setattr("epixs.compendium.plan.FEWEST_TILES", 1000)


@pytest.fixture
def inputs(world):
    catalog = read_catalog(world.catalog, "human")
    regions, _ = read_regions(world.bed("human"), catalog.assembly)
    return catalog, regions


@pytest.fixture
def cluster(tmp_path):
    """A real scheduler with two real workers."""
    processes = DaskProcesses(tmp_path, workers=2)
    yield processes
    processes.stop()


def assert_as_if_nothing_had_happened(path, world):
    with open_compendium(path) as got, open_compendium(world.store("human")) as expected:
        assert np.array_equal(got.signal.to_numpy(), expected.signal.to_numpy())
        for name in expected.coords:
            assert np.array_equal(got[name].to_numpy(), expected[name].to_numpy())
    assert verify(path) == []


def at_tile(number, action):
    """A progress callback that does something once, when so many tiles are written."""
    done = []

    def progress(state):
        if state.tiles_done >= number and not done:
            done.append(True)
            action()

    return progress


def test_a_worker_is_killed(inputs, world, cluster, tmp_path):
    from distributed import Client

    with Client(cluster.address) as client:
        client.wait_for_workers(2, timeout=60)
        victim = next(iter(client.run(os.getpid).values()))
        kill = at_tile(5, lambda: os.kill(victim, signal.SIGKILL))
        table = ingest(*inputs, tmp_path / "a.zarr", client=client, progress=kill)
        assert victim not in client.run(os.getpid).values()
    assert set(table["status"]) == {"ok"}
    assert_as_if_nothing_had_happened(tmp_path / "a.zarr", world)


def test_the_scheduler_is_killed(inputs, world, cluster, tmp_path):
    from distributed import Client

    with Client(cluster.address, timeout=5) as client:
        client.wait_for_workers(2, timeout=60)
        kill = at_tile(5, cluster.scheduler.kill)
        with pytest.raises(
            ClusterError, match=r"scheduler is gone.*Start it again; run the same command again"
        ):
            ingest(*inputs, tmp_path / "a.zarr", client=client, progress=kill)
    state = store_status(tmp_path / "a.zarr")
    assert state.status == "unfinished"
    assert state.tiles_done >= 5
    ingest(*inputs, tmp_path / "a.zarr")
    assert_as_if_nothing_had_happened(tmp_path / "a.zarr", world)


CLIENT = """
import os, random, signal, sys, threading, time
from contextlib import nullcontext
from distributed import Client
from epixs.catalog.experiments import read_catalog
from epixs.genome.bed import read_regions
from epixs.compendium import plan
from epixs.ingestion.run import ingest
plan.CHUNK_BINS, plan.FEWEST_SHARD_CHUNKS, plan.FEWEST_TILES = 20, 1, 1000
catalog, bed, store, scheduler, tiles, delay = sys.argv[1:]
table = read_catalog(catalog, "human")
def die():
    time.sleep(float(delay))
    os.kill(os.getpid(), signal.SIGKILL)
first = []
def progress(state):
    first.append(state.tiles_done)
    if len(first) == int(tiles) + 1:
        threading.Thread(target=die).start()
with (Client(scheduler) if scheduler else nullcontext()) as client:
    ingest(table, read_regions(bed, table.assembly)[0], store, client=client, progress=progress)
"""


def killed_client(world, path, scheduler, tiles, delay):
    arguments = [world.catalog, world.bed("human"), path, scheduler, tiles, delay]
    return subprocess.run([sys.executable, "-c", CLIENT, *map(str, arguments)], check=False, timeout=120)


def test_the_client_is_killed(inputs, world, cluster, tmp_path):
    done = killed_client(world, tmp_path / "a.zarr", cluster.address, 4, 0.01)
    assert done.returncode == -signal.SIGKILL
    assert store_status(tmp_path / "a.zarr").status == "unfinished"
    ingest(*inputs, tmp_path / "a.zarr")
    assert_as_if_nothing_had_happened(tmp_path / "a.zarr", world)


@pytest.mark.parametrize("seed", range(3))
def test_a_process_is_killed_at_random_moments(inputs, world, tmp_path, seed):
    """Killed again and again, then let through: what is in the store is always right, and it ends complete."""
    chance = random.Random(seed)
    path = tmp_path / "a.zarr"
    whole = open_compendium(world.store("human")).signal.to_numpy()
    for _ in range(2):
        done = killed_client(world, path, "", chance.choice([0, 1, 3, 9, 20]), chance.random() * 0.02)
        assert done.returncode == -signal.SIGKILL
        assert store_status(path).status == "unfinished"
        if store_status(path).tiles_done:
            values = open_compendium(path, unfinished=True).signal.to_numpy()
            written = ~np.isnan(values)
            assert np.array_equal(values[written], whole[written])
    ingest(*inputs, path)
    assert_as_if_nothing_had_happened(path, world)
    assert not list(path.rglob("*.partial"))


@pytest.mark.parametrize("seed", range(2))
def test_an_object_store_that_fails_at_random(inputs, world, s3, monkeypatch, seed):
    with flaky_proxy(s3, share=0.1, seed=seed) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT", proxy.url)
        location.objects.cache_clear()
        ingest(*inputs, "s3://tracks/some/human.zarr")
        assert proxy.faults > 5
        proxy.share = 0.0
        assert_as_if_nothing_had_happened("s3://tracks/some/human.zarr", world)
        assert read_ledger(open_store("s3://tracks/some/human.zarr"))


def test_an_object_store_that_goes_away_for_good(inputs, world, s3, monkeypatch):
    monkeypatch.setattr("epixs.storage.location.RETRIES", 1)
    path = "s3://tracks/human.zarr"
    with flaky_proxy(s3, share=0.0, seed=0) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT", proxy.url)
        location.objects.cache_clear()

        def fail():
            proxy.share = 1.0

        with pytest.raises(
            StoreError, match=r"s3://tracks/human\.zarr cannot be reached.*what was written is kept"
        ):
            ingest(*inputs, path, progress=at_tile(3, fail))
        proxy.share = 0.0
        assert store_status(path).status == "unfinished"
        ingest(*inputs, path)
        assert_as_if_nothing_had_happened(path, world)
