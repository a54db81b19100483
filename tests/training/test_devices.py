"""Several devices and bfloat16: the same training, but for rounding."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from epixs.axis.join import joint_axis
from epixs.models.avocado.network import build_model
from epixs.models.folder import open_model
from epixs.models.settings import make_settings
from epixs.training import devices
from epixs.training.devices import bfloat16_speedup, chosen_precision
from epixs.training.run import train
from tests.patience import PATIENCE

CONFIG = make_settings(
    "avocado",
    hidden=(16, 16), epochs=2, batch_size=1_000, held_out=0.1, patience=0, genome_dropout=0.0,
    precision="float32",
)  # fmt: skip

MIRRORED = """
import json, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from epixs.axis.join import joint_axis
from epixs.training.run import train
from tests.training.test_devices import CONFIG
done = train(joint_axis([sys.argv[1]]), CONFIG, sys.argv[2], devices=["CPU:0", "CPU:1"])
print(json.dumps(done["held_out_mse"]))
"""


def test_where_the_system_does_not_say_which_cores_are_ours(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    assert devices.cores() == os.cpu_count()


@pytest.mark.slow
def test_two_devices_train_what_one_does(world, tmp_path):
    command = [sys.executable, "-c", MIRRORED, str(world.store("mouse")), str(tmp_path / "two")]
    two = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)
    one = train(joint_axis([world.store("mouse")]), CONFIG, tmp_path / "one")
    assert json.loads(two.stdout.splitlines()[-1]) == pytest.approx(one["held_out_mse"], rel=1e-4)
    models = [open_model(tmp_path / name).model for name in ("one", "two")]
    for mine, theirs in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


@pytest.mark.slow
def test_bfloat16_layers_keep_float32_weights_and_give_float32(world, tmp_path):
    axis = joint_axis([world.store("mouse")])
    model = build_model(axis, hidden=(16, 16), precision="bfloat16")
    assert model.hidden[0].compute_dtype == "bfloat16"
    assert {weight.dtype for weight in model.weights} == {"float32"}
    done = train(axis, CONFIG.replace(precision="bfloat16"), tmp_path / "half")
    whole = train(axis, CONFIG, tmp_path / "whole")
    assert done["held_out_mse"] == pytest.approx(whole["held_out_mse"], rel=0.05)
    opened = open_model(tmp_path / "half")
    assert opened.settings.training.precision == "bfloat16"
    assert opened.model.hidden[0].compute_dtype == "float32"  # imputation


def test_precision_is_chosen_by_trying(monkeypatch):
    assert bfloat16_speedup((64, 64)) > 0
    assert bfloat16_speedup((64,)) == 1.0
    for speedup, expected in ((0.7, "float32"), (1.1, "float32"), (1.5, "bfloat16")):
        monkeypatch.setattr("epixs.training.devices.bfloat16_speedup", lambda _, s=speedup: s)
        assert chosen_precision("auto", (64, 64)) == expected
        assert chosen_precision("float32", (64, 64)) == "float32"


@pytest.mark.slow
def test_cores_are_used_side_by_side_where_tensorflow_has_not_started():
    code = (
        "import tensorflow as tf; from epixs.training.devices import use_cores, cores; use_cores(); "
        "t = tf.config.threading; print(t.get_intra_op_parallelism_threads(), t.get_inter_op_parallelism_threads() - cores())"
    )
    seen = {
        said: subprocess.run(
            [sys.executable, "-c", code], env=os.environ | extra, capture_output=True, text=True, check=True
        ).stdout.split()
        for said, extra in (("", {}), ("told", {"TF_NUM_INTRAOP_THREADS": "2"}))
    }
    assert seen[""] == ["1", "1"]
    assert seen["told"] != ["1", "1"]


def test_a_batch_of_few_entries_is_one_part(monkeypatch):
    monkeypatch.setattr(devices, "cores", lambda: 2)
    assert [devices.parts_of(n) for n in (0, 1, 4_999, 5_000, 20_000, 10**6)] == [1, 1, 1, 2, 8, 8]
