"""Run tasks on a real LocalCluster of spawned workers, and on a real scheduler by its address."""

import itertools
import os
import signal
import threading
from types import SimpleNamespace

import dask
import distributed
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epixs.catalog.experiments import read_catalog
from epixs.cluster.client import open_client
from epixs.cluster.tasks import run_tasks, task_groups
from epixs.compendium.read import open_compendium
from epixs.errors import ClusterError, ConfigError
from epixs.genome.bed import read_regions
from epixs.ingestion.lazy import open_tracks
from epixs.ingestion.run import ingest
from tests.patience import PATIENCE


def test_workers_write_the_same_store_and_serve_as_a_scheduler(world, tmp_path, monkeypatch):
    monkeypatch.setattr("epixs.compendium.plan.CHUNK_BINS", 200)  # more tiles than are in flight at once
    monkeypatch.setattr("epixs.compendium.plan.FEWEST_SHARD_CHUNKS", 1)
    catalog = read_catalog(world.catalog, "human")
    catalog.experiments.loc[catalog.experiments.index[0], "path"] = str(tmp_path / "gone.bw")
    regions, _ = read_regions(world.bed("human"), catalog.assembly)
    with open_client(workers=2) as client:
        assert client.dashboard_link.startswith("http://127.0.0.1:")
        with open_client(scheduler=client.scheduler.address) as second:
            table = ingest(catalog, regions, tmp_path / "a.zarr", client=second)
        assert table["status"].notna().all()
        part = open_tracks(catalog, regions).signal[1:3, :100].compute()
    assert (table["status"] == "ok").sum() == len(table) - 1
    expected = open_compendium(world.store("human")).signal.to_numpy()
    got = open_compendium(tmp_path / "a.zarr").signal.to_numpy()
    assert np.isnan(got[0]).all()
    assert np.array_equal(got[1:], expected[1:])
    assert part.shape == (2, 100)


def test_mistakes():
    with pytest.raises(ConfigError, match="got both"), open_client(2, "tcp://127.0.0.1:1"):
        pass


@given(st.lists(st.integers(0, 30), max_size=5), st.integers(1, 9))
def test_groups_are_neighbours_of_one_row_group(tiles_of_groups, threads):
    tasks = [
        SimpleNamespace(key=(group, span))
        for group, count in enumerate(tiles_of_groups)
        for span in range(count)
    ]
    groups = task_groups(tasks, threads, at_once=8)
    assert list(itertools.chain(*groups)) == tasks
    assert all(len({task.key[0] for task in group}) == 1 for group in groups)
    assert max((len(group) for group in groups), default=1) <= min(8, max(1, len(tasks) // (4 * threads)))
    assert len(groups) >= min(len(tasks), 4 * threads)


def _die(path, task):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_task_that_kills_its_workers():
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        open_client(workers=1) as client,
        pytest.raises(ClusterError, match=r"died again and again.*more memory.*run the same command again"),
    ):
        list(run_tasks(_die, "a.zarr", [1], client))


def test_workers_leave_interrupts_to_the_client():
    with open_client(workers=1) as client:
        (worker,) = client.run(os.getpid).values()
        os.kill(worker, signal.SIGINT)
        assert client.submit(sum, [1, 2]).result(timeout=PATIENCE) == 3
        assert list(client.run(os.getpid).values()) == [worker]


def test_an_interrupt_while_workers_start_comes_through(monkeypatch):
    start = distributed.LocalCluster
    started = []

    def interrupted(**options):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        cluster = start(**options)
        started.append(cluster)
        return cluster

    monkeypatch.setattr(distributed, "LocalCluster", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background processes may ignore it
    try:
        with pytest.raises(KeyboardInterrupt), open_client(workers=1):
            pytest.fail("the interrupt was lost")
    finally:
        signal.signal(signal.SIGINT, before)
    assert [cluster.status.name for cluster in started] == ["closed"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
