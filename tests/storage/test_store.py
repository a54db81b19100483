"""The life cycle of stores of any content, in a folder or in an object store."""

import errno

import numpy as np
import pytest
import zarr

from epixs.errors import StoreError
from epixs.storage import location
from epixs.storage.store import (
    CREATING,
    check_ledger,
    differences,
    find_or_make,
    make_store,
    open_store,
    reading,
    store_exists,
)


def fill(store):
    store.group.create_array("numbers", shape=(3,), dtype="int64", fill_value=0)[:] = [1, 2, 3]


def make(place, again=False):
    return make_store(str(place), {"kind": "numbers", "status": "unfinished"}, (1, 2), fill, again=again)


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path):
    if request.param == "folder":
        return str(tmp_path / "a.zarr")
    request.getfixturevalue("s3")
    return "s3://tracks/some/a.zarr"


def test_a_store_is_made_opened_and_marked(place):
    assert not store_exists(place)
    store = make(place)
    assert store_exists(place)
    assert (store.kind, store.is_complete, CREATING in store.attributes) == ("numbers", False, False)
    marked = store.with_attributes({"status": "complete"})
    assert marked.is_complete
    assert not store.is_complete  # attributes are those of the time of opening
    assert store.refreshed().is_complete
    again = open_store(place)
    assert again.attributes == marked.attributes
    assert open_store(again) is again
    assert again.array("numbers")[:].tolist() == [1, 2, 3]
    assert "status" not in again.with_attributes({}, without="status").attributes


def test_objects_are_put_and_found(place):
    store = make(place)
    assert not store.has("some/0")
    store.put("some/0", [b"one ", b"two"])
    assert store.has("some/0")
    assert location.object_names(place)
    assert bytes(location.obstore.get(location.objects(place), "some/0").bytes()) == b"one two"


def test_what_is_there_is_gone_on_with_and_what_was_cut_short_is_made_again(place):
    checked, made = [], []

    def again(cut_short):
        made.append(cut_short)
        return make(place, cut_short)

    find_or_make(place, checked.append, again)
    assert (checked, made) == ([], [False])
    find_or_make(place, checked.append, again)
    assert (len(checked), made) == (1, [False])
    open_store(place).with_attributes({CREATING: True})
    find_or_make(place, checked.append, again)
    assert (len(checked), made) == (2, [False, True])
    with pytest.raises(
        StoreError, match=r"ledger is missing or damaged; got \(1, 2\); expected shape \(1, 3\)"
    ):
        check_ledger(open_store(place), (1, 3))


def test_nothing_else_is_made_into_a_store(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "deep").mkdir()
    (tmp_path / "thesis" / "deep" / "thesis.docx").write_text("precious")
    with pytest.raises(StoreError, match="not empty and not a Zarr group"):
        store_exists(str(tmp_path / "thesis"))
    with pytest.raises(StoreError, match="is a file"):
        store_exists(str(tmp_path / "thesis" / "deep" / "thesis.docx"))
    assert not store_exists(str(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


def test_a_folder_is_not_made_by_looking(tmp_path):
    with pytest.raises(StoreError, match=r"nothing\.zarr does not exist"):
        open_store(tmp_path / "nothing.zarr")
    assert list(tmp_path.iterdir()) == []


def test_a_put_is_whole_or_not_at_all(tmp_path):
    """If a write fails, as on a full disk, the object does not change."""
    store = make(tmp_path / "a.zarr")
    store.put("c/0", [b"before"])

    def cut():
        yield b"half"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        store.put("c/0", cut())
    assert (tmp_path / "a.zarr" / "c" / "0").read_bytes() == b"before"
    assert [path.name for path in (tmp_path / "a.zarr" / "c").iterdir()] == ["0"]


def test_failures_of_the_disk_are_those_of_python(tmp_path):
    store = make(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "c").write_text("in the way")
    with pytest.raises(OSError, match="c/0") as caught, location.reaching(store.location):
        store.put("c/0", [b"x"])
    assert caught.value.errno in (errno.ENOTDIR, errno.EEXIST)
    assert caught.value.filename == store.location


def test_damage_is_told_from_what_is_out_of_reach(tmp_path):
    store = make(tmp_path / "a.zarr")
    with pytest.raises(StoreError, match=r"a\.zarr is damaged; got KeyError: 'nothing'"), reading(store):
        store.array("nothing")
    with pytest.raises(StoreError, match="mine"), reading(store):
        raise StoreError("mine")


def test_differences_are_named_with_both_values():
    settings = {"species": "cow", "settings": {"epochs": 3, "seed": 1}, "tables": "b"}
    stored = {"species": "cow", "settings": {"epochs": 9, "seed": 1}, "tables": "a"}
    assert differences(settings, stored, {"tables": lambda: ["a table less"]}) == [
        "settings: epochs 3, the store has 9",
        "a table less",
    ]
    assert differences(settings, None) == ["settings that it no longer holds"]
    assert differences(settings, settings) == []


def test_old_leftovers_and_new_ones_are_swept_away(tmp_path):
    make(tmp_path / "a.zarr")
    folder = tmp_path / "a.zarr" / "c"
    folder.mkdir()
    for name in ("0.77.partial", "0#1", "0"):
        (folder / name).write_bytes(b"x")
    location.sweep(str(tmp_path / "a.zarr"))
    assert [path.name for path in folder.iterdir()] == ["0"]


def test_stores_of_other_things_and_versions_are_refused(tmp_path):
    zarr.create_group(tmp_path / "b.zarr", attributes={"title": "ERA5"})
    with pytest.raises(StoreError, match="epixs did not write"):
        open_store(tmp_path / "b.zarr")
    store = make(tmp_path / "a.zarr")
    store.with_attributes({"epixs_schema": "99"})
    with pytest.raises(StoreError, match="another schema version; got 99; expected 1"):
        open_store(tmp_path / "a.zarr")
    assert np.array_equal(store.array("numbers")[:], [1, 2, 3])
