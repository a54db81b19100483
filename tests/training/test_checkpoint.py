import contextlib
import io
import json
import random
import signal
import subprocess
import sys
import zipfile
from dataclasses import asdict

import numpy as np
import pytest

from epixs.axis.join import joint_axis
from epixs.errors import TrainingError
from epixs.models.folder import open_model
from epixs.models.settings import make_settings
from epixs.report.describe import status
from epixs.storage.files import BEGUN_FILE
from epixs.training.checkpoint import CHECKPOINT_FILE, RunState, identity_of, read_state
from epixs.training.cost import estimate_cost
from epixs.training.plan import settled
from epixs.training.run import train
from tests.patience import PATIENCE

CONFIG = make_settings(
    "avocado",
    hidden=(16, 16),
    epochs=3,
    batch_size=300,
    held_out=0.1,
    patience=0,
    checkpoint_minutes=0,
    precision="float32",
)

RUN = """
import os, signal, sys, threading, time
import tensorflow as tf
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.config.threading.set_intra_op_parallelism_threads(1)
import epixs.training.run as training
import epixs.training.callbacks.step_checkpoint as callback
from epixs.axis.join import joint_axis
from tests.training.test_checkpoint import CONFIG
stores, out, after, delay = sys.argv[1:-3], sys.argv[-3], int(sys.argv[-2]), float(sys.argv[-1])
count = 0
save = callback.save_checkpoint
def die():
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGKILL)
def saved(*arguments):
    global count
    save(*arguments)
    count += 1
    if count == after:
        threading.Thread(target=die).start()
callback.save_checkpoint = saved
training.train(joint_axis(stores), CONFIG, out, resume=True)
"""


def identity(axis, settings):
    axis, settings = settled(axis, settings)
    return identity_of(axis, settings, estimate_cost(axis, settings))


def run(world, out, after=0, delay=0.0):
    command = [sys.executable, "-c", RUN, world.store("mouse"), world.store("human"), out, after, delay]
    return subprocess.run(
        list(map(str, command)), check=False, capture_output=True, timeout=PATIENCE
    ).returncode


@pytest.fixture(scope="module")
def axis(world):
    return joint_axis([world.store("mouse"), world.store("human")])


@pytest.mark.slow
def test_killed_again_and_again_a_run_ends_with_the_same_weights(world, tmp_path):
    assert run(world, tmp_path / "whole") == 0
    chance = random.Random(0)
    for _ in range(3):
        killed = run(world, tmp_path / "m", chance.randint(1, 6), 0.02 * chance.random())
        assert killed == -signal.SIGKILL
    assert run(world, tmp_path / "m") == 0
    whole, resumed = (open_model(tmp_path / name).model for name in ("whole", "m"))
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        assert np.array_equal(a, b)
    histories = [
        np.genfromtxt(tmp_path / n / "history.csv", delimiter=",", names=True) for n in ("whole", "m")
    ]
    assert np.array_equal(histories[0]["held_out_mse"], histories[1]["held_out_mse"])
    assert not list((tmp_path / "m").glob("*checkpoint*"))


def interrupted(axis, out):
    def stop(report):
        if report.epoch == 2 and report.step == report.steps_per_epoch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(axis, CONFIG, out, report=stop)


@pytest.mark.slow
def test_what_differs_is_named(world, axis, tmp_path):
    interrupted(axis, tmp_path / "m")
    state = read_state(tmp_path / "m", identity(axis, CONFIG.replace(max_minutes=5.0)))
    assert isinstance(state, RunState)
    assert state.epoch == 2
    assert [row["epoch"] for row in state.history] == [1, 2]
    with pytest.raises(
        TrainingError,
        match=r"of another run: learning_rate; got learning_rate 0.1; expected learning_rate 0.00025",
    ):
        train(axis, CONFIG.replace(learning_rate=0.1), tmp_path / "m", resume=True)
    with pytest.raises(
        TrainingError, match=r"of another run: store of human, excluded .*; got store of human None"
    ):
        train(joint_axis([world.store("mouse")]), CONFIG, tmp_path / "m", resume=True)
    row = axis.part("mouse").training.iloc[0]
    fewer = axis.exclude([("mouse", row["biosample"], row["assay"])])
    with pytest.raises(TrainingError, match=r"got excluded experiments of mouse 1; expected .*of mouse 0"):
        train(fewer, CONFIG, tmp_path / "m", resume=True)
    with pytest.raises(TrainingError, match="holds a run that was interrupted.*--resume"):
        train(axis, CONFIG, tmp_path / "m")
    done = train(axis, CONFIG, tmp_path / "m", resume=True)
    assert done["epochs"] == 3


@pytest.mark.slow
def test_resuming_what_has_ended_does_nothing(world, axis, tmp_path):
    out = tmp_path / "m"
    done = train(axis, CONFIG.replace(precision="auto"), out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    again = train(axis, CONFIG.replace(precision="auto", max_minutes=5.0), out, resume=True)
    assert again["had_ended"]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    for name in ("held_out_mse", "best_epoch", "epochs", "held_out", "keeps_last"):
        assert again[name] == done[name]
    errors = {(e.species, e.assay): e.model for e in done["errors"]}
    assert {(e.species, e.assay): e.model for e in again["errors"]} == pytest.approx(errors)
    with pytest.raises(TrainingError, match=r"of another run: learning_rate\b.*; got learning_rate 0\.1"):
        train(axis, CONFIG.replace(precision="auto", learning_rate=0.1), out, resume=True)
    with pytest.raises(TrainingError, match=r"of another run: store of human"):
        train(joint_axis([world.store("mouse")]), CONFIG.replace(precision="auto"), out, resume=True)


@pytest.mark.slow
def test_a_run_that_dies_before_its_first_checkpoint_has_not_ended(world, axis, tmp_path):
    """Its first epoch is saved as the best so far, and must not pass for the model that was asked for."""

    settings = CONFIG.replace(checkpoint_minutes=10.0)

    def die(report):
        if report.epoch == 1 and (tmp_path / "m" / "model.json").is_file():
            raise OSError("the machine went down")

    with pytest.raises(OSError, match="went down"):
        train(axis, settings, tmp_path / "m", report=die)
    assert not (tmp_path / "m" / "checkpoint.npz").exists()
    assert status(tmp_path / "m").status == "interrupted"
    with pytest.raises(TrainingError, match="interrupted"):
        train(axis, settings, tmp_path / "m")
    with pytest.raises(TrainingError, match="of another run: learning_rate"):
        train(axis, settings.replace(learning_rate=0.1), tmp_path / "m", resume=True)
    done = train(axis, settings, tmp_path / "m", resume=True)
    assert not done.get("had_ended")
    assert status(tmp_path / "m").status == "finished"
    train(axis, settings, tmp_path / "whole")
    whole, resumed = (open_model(tmp_path / name).model for name in ("whole", "m"))
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"\xff", b"[" * 100_000], ids=["empty", "list", "bytes", "deep"]
)
def test_a_damaged_mark_of_a_run_is_refused(axis, tmp_path, content):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / BEGUN_FILE).write_bytes(content)
    with pytest.raises(TrainingError, match="is damaged"):
        train(axis, CONFIG, tmp_path / "m", resume=True)


def test_resuming_what_never_began_begins_it(axis, tmp_path):
    assert train(axis, CONFIG.replace(epochs=1), tmp_path / "m", resume=True)["epochs"] == 1


def test_damaged_checkpoints_are_refused(axis, tmp_path):
    interrupted(axis, tmp_path / "m")
    path = tmp_path / "m" / CHECKPOINT_FILE
    good = path.read_bytes()
    middle = len(good) // 2
    for bad in (b"", good[:-100], good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]):
        path.write_bytes(bad)
        with pytest.raises(TrainingError, match="is damaged"):
            train(axis, CONFIG, tmp_path / "m", resume=True)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": "2"},
        {"epoch": 10**9},
        {"step": -1},
        {"best": None},
        {"history": [1, 2]},
        {"history": [{"epoch": "x"}] * 2},
        {"best_epoch": 5},
        {"surprise": 1},
    ],
)
def test_a_checkpoint_whose_state_is_not_one_is_refused(axis, tmp_path, change):
    run = RunState(2, 0, 9, [{"epoch": 1}, {"epoch": 2}], 0.5, 1, 0, 1.0)
    for changed, whole in (({}, True), (change, False)):
        text = json.dumps({"identity": identity(axis, CONFIG), "run": asdict(run) | changed})
        np.savez(tmp_path / CHECKPOINT_FILE, state=np.frombuffer(text.encode(), np.uint8))
        with contextlib.nullcontext() if whole else pytest.raises(TrainingError, match="is damaged"):
            assert read_state(tmp_path, identity(axis, CONFIG)) == run


def test_an_array_larger_than_its_file_is_never_allocated(axis, tmp_path):
    header = io.BytesIO()
    claim = {"descr": "|u1", "fortran_order": False, "shape": (1 << 50,)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(tmp_path / CHECKPOINT_FILE, "w") as archive:
        archive.writestr("state.npy", header.getvalue())
    with pytest.raises(TrainingError, match="is damaged"):
        read_state(tmp_path, identity(axis, CONFIG))


@pytest.mark.parametrize(("at", "value"), [(8, 1), (10, 99)], ids=["encrypted", "of an unknown compression"])
def test_entries_that_zipfile_cannot_open_are_refused(axis, tmp_path, at, value):
    path = tmp_path / CHECKPOINT_FILE
    np.savez(path, state=np.zeros(3, np.uint8))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + at] = value  # in the central directory
    path.write_bytes(content)
    with pytest.raises(TrainingError, match="is damaged"):
        read_state(tmp_path, identity(axis, CONFIG))
