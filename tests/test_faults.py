"""Real faults: processes killed with SIGKILL, an object store that fails at random. docs/reliability.md lists them.

After each, the same command makes a store that equals one that nothing ever happened to.
"""

import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import zarr

from epixs.checks.verify import forget, verify
from epixs.cluster.client import open_client
from epixs.compendium.read import open_compendium
from epixs.compendium.remove import remove_experiments, restore_experiments
from epixs.errors import ClusterError, StoreError
from epixs.storage import location
from epixs.storage.ledger import COMPACTED, read_ledger
from epixs.storage.store import open_store
from tests.jobs import JOBS, ingest_human, killed, small_tiles
from tests.patience import PATIENCE
from tests.servers import DaskProcesses, flaky_proxy

pytestmark = pytest.mark.slow

VERBS = list(JOBS)


@pytest.fixture(autouse=True)
def many_tiles(request, monkeypatch):
    small_tiles(monkeypatch.setattr, bins=300 if "s3" in request.fixturenames else 20)


@pytest.fixture
def inputs(world, trained):
    """Where the verbs find what they read."""
    return world.folder


@pytest.fixture(scope="module")
def undisturbed(world, trained, tmp_path_factory):
    """Stores that nothing ever happened to, by verb and size of their tiles; made when first asked for."""
    made = {}

    def store(verb, bins):
        if (verb, bins) not in made:
            path = tmp_path_factory.mktemp("whole") / "a.zarr"
            with pytest.MonkeyPatch.context() as patch:
                small_tiles(patch.setattr, bins)
                JOBS[verb](world.folder, path)
            made[verb, bins] = path
        return made[verb, bins]

    return store


@pytest.fixture
def cluster(tmp_path):
    """A real scheduler with two real workers."""
    processes = DaskProcesses(tmp_path, workers=2)
    yield processes
    processes.stop()


@pytest.fixture
def is_as_if_nothing_had_happened(request, undisturbed):
    bins = 300 if "s3" in request.fixturenames else 20

    def check(verb, path, *, same_bits=True):
        store, expected = open_store(path), open_store(undisturbed(verb, bins))
        assert store.is_complete
        assert store.get(COMPACTED)
        assert [key for key, _ in sorted(read_ledger(store, Any).items())] == [
            key for key, _ in sorted(read_ledger(expected, Any).items())
        ]
        for name, array in expected.group.arrays():
            got, values = np.asarray(store.array(name)[...]), np.asarray(array[...])
            if same_bits or values.dtype.kind not in "f":
                assert np.array_equal(got, values, equal_nan=values.dtype.kind == "f"), name
            else:
                known = ~np.isnan(values)
                assert np.corrcoef(got[known], values[known])[0, 1] > 0.98, name
        if verb != "fit-genome":
            assert verify(path) == []

    return check


def at_tile(number, action):
    """A progress callback that does something once, when so many tiles are written."""
    done = []

    def progress(state):
        if state.tiles_done >= number and not done:
            done.append(True)
            action()

    return progress


def tiles_done(path):
    return len(read_ledger(open_store(path), Any))


@pytest.mark.parametrize("verb", VERBS)
def test_a_worker_is_killed(verb, inputs, cluster, tmp_path, is_as_if_nothing_had_happened):
    from distributed import Client

    with Client(cluster.address) as client:
        client.wait_for_workers(2, timeout=PATIENCE)
        victim = next(iter(client.run(os.getpid).values()))
        kill = at_tile(2, lambda: os.kill(victim, signal.SIGKILL))
        JOBS[verb](inputs, tmp_path / "a.zarr", client=client, progress=kill)
        assert victim not in client.run(os.getpid).values()
    is_as_if_nothing_had_happened(verb, tmp_path / "a.zarr", same_bits=verb != "fit-genome")


@pytest.mark.parametrize("verb", VERBS)
def test_the_scheduler_is_killed(verb, inputs, cluster, tmp_path, is_as_if_nothing_had_happened):
    from distributed import Client

    with Client(cluster.address, timeout=5) as client:
        client.wait_for_workers(2, timeout=PATIENCE)
        kill = at_tile(2, cluster.scheduler.kill)
        with pytest.raises(
            ClusterError, match=r"scheduler is gone.*Start it again; run the same command again"
        ):
            JOBS[verb](inputs, tmp_path / "a.zarr", client=client, progress=kill)
    assert not open_store(tmp_path / "a.zarr").is_complete
    assert tiles_done(tmp_path / "a.zarr") >= 2
    JOBS[verb](inputs, tmp_path / "a.zarr")
    is_as_if_nothing_had_happened(verb, tmp_path / "a.zarr", same_bits=verb != "fit-genome")


@pytest.mark.parametrize("verb", VERBS)
def test_the_client_is_killed(verb, inputs, cluster, tmp_path, is_as_if_nothing_had_happened):
    assert killed(verb, inputs, tmp_path / "a.zarr", cluster.address, tiles=2) == -signal.SIGKILL
    assert not open_store(tmp_path / "a.zarr").is_complete
    JOBS[verb](inputs, tmp_path / "a.zarr")
    is_as_if_nothing_had_happened(verb, tmp_path / "a.zarr", same_bits=verb != "fit-genome")


@pytest.mark.parametrize(
    ("verb", "seed"),
    [("ingest", 0), ("ingest", 1), ("ingest", 2)] + [(verb, 0) for verb in ("impute", "fit-genome")],
)
def test_a_process_is_killed_at_random_moments(
    verb, seed, inputs, undisturbed, tmp_path, is_as_if_nothing_had_happened
):
    """Killed again and again, then let through: what is in the store is always right, and it ends complete."""
    chance = random.Random(seed)
    path, whole = tmp_path / "a.zarr", zarr.open_group(undisturbed(verb, 20), mode="r")
    values = "signal" if verb != "fit-genome" else "factors_25bp"
    tiles = [0, 1, 3, 9, 20] if verb != "fit-genome" else [0, 1, 2]
    for _ in range(2):
        delay = chance.random() * 0.02
        assert killed(verb, inputs, path, tiles=chance.choice(tiles), delay=delay) == -signal.SIGKILL
        store = open_store(path)
        assert not store.is_complete
        got = np.asarray(store.array(values)[...])
        written = ~np.isnan(got)
        assert np.array_equal(got[written], whole[values][...][written])
    JOBS[verb](inputs, path)
    is_as_if_nothing_had_happened(verb, path)
    assert not [left for left in path.rglob("*") if location.LEFTOVERS.fullmatch(left.name)]


@pytest.mark.parametrize("verb", VERBS)
def test_threads_write_the_same(verb, inputs, tmp_path, is_as_if_nothing_had_happened):
    with ThreadPoolExecutor(2) as threads:
        JOBS[verb](inputs, tmp_path / "a.zarr", client=threads)
    is_as_if_nothing_had_happened(verb, tmp_path / "a.zarr")


@pytest.mark.parametrize("verb", VERBS)
def test_two_writers(verb, inputs, tmp_path, is_as_if_nothing_had_happened):
    """The second is refused, and the first goes on."""

    def again():
        with pytest.raises(StoreError, match=r"is being written by another run.*one writer at a time"):
            JOBS[verb](inputs, tmp_path / "a.zarr")

    JOBS[verb](inputs, tmp_path / "a.zarr", progress=at_tile(1, again))
    is_as_if_nothing_had_happened(verb, tmp_path / "a.zarr")


@pytest.mark.parametrize(("verb", "seed"), [("ingest", 0), ("ingest", 1), ("impute", 0), ("fit-genome", 0)])
def test_an_object_store_that_fails_at_random(
    verb, seed, inputs, undisturbed, s3, monkeypatch, is_as_if_nothing_had_happened
):
    undisturbed(verb, 300)
    with flaky_proxy(s3, share=0.1, seed=seed) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT", proxy.url)
        location.objects.cache_clear()
        JOBS[verb](inputs, "s3://tracks/some/a.zarr")
        assert proxy.faults > 5
        proxy.share = 0.0
        is_as_if_nothing_had_happened(verb, "s3://tracks/some/a.zarr")


@pytest.mark.parametrize("verb", VERBS)
def test_an_object_store_that_goes_away_for_good(
    verb, inputs, s3, monkeypatch, is_as_if_nothing_had_happened
):
    monkeypatch.setattr("epixs.storage.location.RETRIES", 1)
    path = "s3://tracks/a.zarr"
    with flaky_proxy(s3, share=0.0, seed=0) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT", proxy.url)
        location.objects.cache_clear()

        def fail():
            proxy.share = 1.0

        with pytest.raises(
            StoreError, match=r"s3://tracks/a\.zarr cannot be reached.*what was written is kept"
        ):
            JOBS[verb](inputs, path, progress=at_tile(1, fail))
        proxy.share = 0.0
        assert not open_store(path).is_complete
        JOBS[verb](inputs, path)
        is_as_if_nothing_had_happened(verb, path)


def test_an_object_store_that_does_not_answer_says_so_to_every_verb(world, s3, monkeypatch):
    """And none of them takes what it could not read for damaged."""
    monkeypatch.setattr("epixs.storage.location.RETRIES", 1)
    path = "s3://tracks/human.zarr"
    with flaky_proxy(s3, share=0.0, seed=0) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT", proxy.url)
        location.objects.cache_clear()
        ingest_human(world.folder, path)
        (name, *_) = open_compendium(path).accession.to_numpy()

        def fail():
            proxy.share = 1.0

        proxy.share = 1.0
        for act in (
            lambda: open_compendium(path),
            lambda: verify(path),
            lambda: remove_experiments(path, [name], "why"),
        ):
            with pytest.raises(StoreError, match=r"s3://tracks/human\.zarr cannot be reached"):
                act()
        proxy.share = 0.0
        with pytest.raises(StoreError, match=r"s3://tracks/human\.zarr cannot be reached"):
            verify(path, progress=at_tile(1, fail))
        proxy.share = 0.0
        assert verify(path) == []
        remove_experiments(path, [name], "why")
        assert restore_experiments(path, [name]) == [name]
        with pytest.raises(StoreError, match=r"s3://tracks/nothing\.zarr is no store"):
            open_compendium("s3://tracks/nothing.zarr")
    for foreign in ("http://127.0.0.1:1/x.zarr", "https://127.0.0.1:1/x.zarr"):
        with pytest.raises(
            StoreError, match=r"cannot hold a store; expected a folder, or s3://, gs:// or az://"
        ):
            open_compendium(foreign)


def test_workers_that_impute_write_the_same(inputs, tmp_path, is_as_if_nothing_had_happened):
    """Spawned workers open the model from its folder; a tile that is lost is imputed again."""
    with open_client(workers=1) as client:
        JOBS["impute"](inputs, tmp_path / "a.zarr", client=client)
        is_as_if_nothing_had_happened("impute", tmp_path / "a.zarr")
        (tmp_path / "a.zarr" / "signal" / "c" / "0" / "3").unlink()
        (fault,) = verify(tmp_path / "a.zarr")
        forget(tmp_path / "a.zarr", [fault])
        JOBS["impute"](inputs, tmp_path / "a.zarr", client=client)
    is_as_if_nothing_had_happened("impute", tmp_path / "a.zarr")
