"""Which devices a model is trained on, and in which precision its hidden layers multiply."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from epixs.cluster.client import cores

PROBED_ROWS = 4_096
PROBE_ROUNDS = 10
WORTHWHILE = 1.2
"""How many times as fast bfloat16 has to multiply to be chosen."""

PART_ENTRIES = 2_500
"""Entries of a part of a batch, at least: fewer cost more than they keep in the cache."""


def use_cores() -> None:
    """On a machine without GPU, have TensorFlow do several operations at a time, each on one core.

    By default it does one after the other, each on all cores, which then wait for each other at its end, and
    what one has worked out lies in the other's cache. Does nothing where TensorFlow has started, or was told.
    """
    threading = tf.config.threading
    told = threading.get_intra_op_parallelism_threads() or threading.get_inter_op_parallelism_threads()
    if told or any(name in os.environ for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")):
        return
    if not tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):
            threading.set_intra_op_parallelism_threads(1)
            threading.set_inter_op_parallelism_threads(cores() + 1)


def parts_of(entries: int) -> int:
    """In how many parts a batch of so many entries is worked through: four a core, one on a GPU."""
    if tf.config.list_physical_devices("GPU"):
        return 1
    return max(1, min(4 * cores(), entries // PART_ENTRIES))


def training_scope(devices: Sequence[str] | None = None) -> Any:
    """A context in which models are made: mirrored on several devices, if there are several.

    Parameters
    ----------
    devices
        Names as TensorFlow has them, `"GPU:0"`; by default all GPUs of this machine.
    """
    names = list(devices or [device.name for device in tf.config.list_logical_devices("GPU")])
    if len(names) < 2:
        return contextlib.nullcontext()
    return tf.distribute.MirroredStrategy(names).scope()


def chosen_precision(precision: str, hidden: Sequence[int]) -> str:
    """Choose `"float32"` or `"bfloat16"`: as asked for, or (`"auto"`) what is faster here, by trying."""
    if precision != "auto":
        return precision
    return "bfloat16" if bfloat16_speedup(hidden) >= WORTHWHILE else "float32"


def bfloat16_speedup(hidden: Sequence[int]) -> float:
    """How many times as fast the layers between hidden layers are in bfloat16, forwards and backwards."""
    if len(hidden) < 2:
        return 1.0
    seconds = {}
    for name in ("float32", "bfloat16"):
        rows = tf.cast(tf.random.stateless_normal((PROBED_ROWS, hidden[0]), (1, 2)), name)
        kernel = tf.cast(tf.random.stateless_normal((hidden[0], hidden[1]), (3, 4)), name)
        step = tf.function(_layer_step, autograph=False).get_concrete_function(rows, kernel)
        taken = []
        for _ in range(PROBE_ROUNDS):
            started = time.perf_counter()
            step(rows, kernel).numpy()
            taken.append(time.perf_counter() - started)
        seconds[name] = min(taken)
    return seconds["float32"] / seconds["bfloat16"]


def _layer_step(rows: Any, kernel: Any) -> Any:
    """A dense layer and its two gradients, added up to one number so that none is left out."""
    with tf.GradientTape() as tape:
        tape.watch([rows, kernel])
        found = tf.nn.relu(tf.matmul(rows, kernel))
    back = tape.gradient(found, [rows, kernel], found)
    return tf.add_n([tf.reduce_sum(values[:1]) for values in (found, *back)])
