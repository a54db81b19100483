import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import obstore
import pytest

from epixs.errors import StoreError
from epixs.storage import lock
from epixs.storage.location import objects
from epixs.storage.lock import STALE_AFTER, is_alone, setting_up, writing


def lock_path(store):
    return store.with_name(f"{store.name}.lock")


def hold(path, **holder):
    path.write_text(json.dumps(holder))


def test_one_writer_at_a_time(tmp_path):
    store = tmp_path / "a.zarr"
    with writing(store):
        with (
            pytest.raises(StoreError, match=rf"another run; got process {os.getpid()} on .* since 20"),
            writing(store),
        ):
            pytest.fail("two writers")
        with pytest.raises(StoreError, match="another run"), writing(store, (1, 3)):
            pytest.fail("a part beside the whole")
        with writing(tmp_path / "b.zarr"):
            pass
    with writing(store):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_lock_is_named_and_left_alone(tmp_path, make):
    store = tmp_path / "a.zarr"
    make(lock_path(store))
    os.utime(lock_path(store), (0, 0))
    with pytest.raises(StoreError, match=r"another run.*delete .*a.zarr.lock"), writing(store):
        pytest.fail("taken over")
    assert lock_path(store).exists()


def test_a_part_is_seen_by_a_whole_run_that_starts_at_the_same_moment(tmp_path, monkeypatch):
    """The part starts after the whole run takes its lock and before it looks for others."""
    store = tmp_path / "a.zarr"
    original, entered = lock._parts_held, []

    def meanwhile(path):
        with pytest.raises(StoreError, match="another run"), writing(store, (1, 2)):
            entered.append("part")
        return original(path)

    monkeypatch.setattr(lock, "_parts_held", meanwhile)
    with writing(store):
        pass
    assert not entered
    assert list(tmp_path.iterdir()) == []


def test_parts_share_a_store(tmp_path):
    store = tmp_path / "a[1]*.zarr"
    with writing(store, (1, 3)), writing(store, (2, 3)):
        with pytest.raises(StoreError, match="another run"), writing(store, (2, 3)):
            pytest.fail("one part twice")
        with pytest.raises(StoreError, match="another run"), writing(store):
            pytest.fail("the whole beside parts")
    assert list(tmp_path.iterdir()) == []


def test_a_part_knows_whether_it_is_the_last_at_work(tmp_path):
    store = tmp_path / "a.zarr"
    with writing(store, (1, 3)):
        assert is_alone(store, (1, 3))
        with writing(store, (3, 3)):
            assert not is_alone(store, (1, 3))
            assert not is_alone(store, (3, 3))
        assert is_alone(store, (1, 3))
        code = "import os,sys; from epixs.storage.lock import writing; writing(sys.argv[1], (2, 3)).__enter__(); os._exit(9)"
        subprocess.run([sys.executable, "-c", code, str(store)], check=False)
        assert is_alone(store, (1, 3)), "a part that died is not at work"


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    store = tmp_path / "a.zarr"
    code = "import os,sys; from epixs.storage.lock import writing; held = writing(sys.argv[1]); held.__enter__(); os._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(store)], check=False)
    assert lock_path(store).exists()
    with writing(store):
        assert json.loads(lock_path(store).read_text())["process"] == os.getpid()


def test_a_number_that_another_process_got_is_not_the_holder(tmp_path):
    store = tmp_path / "a.zarr"
    place = {"host": socket.gethostname(), "namespace": lock._namespace()}
    hold(lock_path(store), **place, process=os.getpid(), process_started="1")
    with writing(store):
        pass


@pytest.mark.parametrize("answer", [PermissionError, None])
def test_a_process_that_cannot_be_looked_at_is_not_taken_for_dead(tmp_path, monkeypatch, answer):
    """It may belong to another user and be hidden in /proc, or run in another container on the same folder."""
    store = tmp_path / "a.zarr"

    def kill(process, number):
        if answer:
            raise answer

    monkeypatch.setattr(os, "kill", kill)
    hidden = {"process": 2**22 + 1, "process_started": "1"}
    for namespace in (lock._namespace(), "another"):
        hold(lock_path(store), host=socket.gethostname(), namespace=namespace, **hidden)
        with pytest.raises(StoreError, match="another run"), writing(store):
            pytest.fail("two writers")


def test_two_that_find_the_same_dead_lock_do_not_both_get_in(tmp_path, monkeypatch):
    store = tmp_path / "a.zarr"
    dead = {"host": socket.gethostname(), "namespace": lock._namespace(), "process": 2**22 + 1}
    hold(lock_path(store), **dead)
    original = lock._FileLock.take_over
    inside = contextlib.ExitStack()

    def after_another(self, text):
        monkeypatch.setattr(lock._FileLock, "take_over", original)
        inside.enter_context(writing(store))  # the faster one also finds the dead lock, and takes it over
        return original(self, text)

    monkeypatch.setattr(lock._FileLock, "take_over", after_another)
    with inside:
        with pytest.raises(StoreError, match="another run"), writing(store):
            pytest.fail("two writers")
        assert lock_path(store).exists()
    assert list(tmp_path.iterdir()) == []


def test_a_holder_that_slept_too_long_leaves_the_lock_of_the_next_one_alone(tmp_path):
    store = tmp_path / "a.zarr"
    with writing(store):
        lock_path(store).unlink()  # as a run that takes it over does
        hold(lock_path(store), host="elsewhere")
        old = lock_path(store).stat().st_mtime - 60
        os.utime(lock_path(store), (old, old))
        lock._FileLock(str(lock_path(store))).touch("another text")
        assert lock_path(store).stat().st_mtime == old
    assert json.loads(lock_path(store).read_text()) == {"host": "elsewhere"}


def test_parts_of_another_number_are_kept_apart(tmp_path):
    store = tmp_path / "a.zarr"
    with writing(store, (1, 2)):
        with pytest.raises(StoreError, match="another run"), writing(store, (1, 3)):
            pytest.fail("shares that lie across one another")
        with writing(store, (2, 2)):
            pass


def test_a_lock_that_could_not_be_removed_is_taken_over(tmp_path, monkeypatch):
    store = tmp_path / "a.zarr"
    with monkeypatch.context() as patch, writing(store):
        patch.setattr(Path, "rename", lambda *_, **__: (_ for _ in ()).throw(OSError("read-only")))
        patch.setattr("epixs.storage.lock.TOUCHED_EVERY", 1e6)
        with contextlib.suppress(StoreError), writing(tmp_path / "b.zarr"):
            pass
    assert lock_path(tmp_path / "b.zarr").exists()
    with writing(tmp_path / "b.zarr"):
        pass
    assert not lock_path(tmp_path / "b.zarr").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": "elsewhere", "process": 1}', '{"host": 3}'])
def test_the_lock_of_another_host_lives_while_it_is_touched(tmp_path, text):
    store = tmp_path / "a.zarr"
    lock_path(store).write_text(text)
    with pytest.raises(StoreError, match="if it no longer exists, delete"), writing(store):
        pytest.fail("two writers")
    old = lock_path(store).stat().st_mtime - STALE_AFTER - 5
    os.utime(lock_path(store), (old, old))
    with writing(store):
        pass
    assert list(tmp_path.iterdir()) == []


def test_setting_up_waits_for_the_others(tmp_path):
    inside, order = threading.Event(), []

    def first():
        with setting_up(tmp_path / "a.zarr"):
            inside.set()
            go.wait()
            order.append("first")

    go = threading.Event()
    thread = threading.Thread(target=first)
    thread.start()
    inside.wait()
    threading.Timer(0.2, go.set).start()
    with setting_up(tmp_path / "a.zarr"):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_stores_elsewhere_have_a_lock_as_well(s3, monkeypatch):
    store = "s3://tracks/here/a.zarr"
    with writing(store), setting_up(store):
        with (
            pytest.raises(
                StoreError, match=rf"got process {os.getpid()}.*delete s3://tracks/here/a.zarr.lock"
            ),
            writing(store),
        ):
            pytest.fail("two writers")
        with pytest.raises(StoreError, match="another run"), writing(store, (1, 3)):
            pytest.fail("a part beside the whole")
    parts = writing(store, (1, 3)), writing(store, (2, 3))
    with parts[0], parts[1], pytest.raises(StoreError, match="another run"), writing(store):
        pytest.fail("the whole beside parts")
    bucket = objects("s3://tracks/here")
    assert not obstore.list(bucket).collect()
    obstore.put(bucket, "a.zarr.lock", b'{"host": "elsewhere", "process": 1}')
    with pytest.raises(StoreError, match="got process 1 on elsewhere"), writing(store):
        pytest.fail("two writers")
    monkeypatch.setattr("epixs.storage.lock.STALE_AFTER", -5.0)
    with writing(store):
        assert obstore.get(bucket, "a.zarr.lock").bytes() != b'{"host": "elsewhere", "process": 1}'
    assert not obstore.list(bucket).collect()


def test_one_store_has_one_lock_however_it_is_spelt(tmp_path):
    store, link = tmp_path / "a.zarr", tmp_path / "link.zarr"
    store.mkdir()
    link.symlink_to(store)
    with writing(store):
        for other in (f"{store}/", link):
            with pytest.raises(StoreError, match="is being written by another run"), writing(other):
                pass
