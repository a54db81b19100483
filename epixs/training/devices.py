"""Choose the devices for training, and the precision in which hidden layers multiply."""

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
"""Speed of bfloat16 relative to float32 from which bfloat16 is chosen."""

PART_ENTRIES = 2_500
"""Minimum number of entries per micro-batch: smaller ones cost more than they gain from the cache."""


def use_cores() -> None:
    """On a machine without GPU, let TensorFlow run several operations at a time, each on one core.

    By default it runs one after the other, each on all cores. The cores then wait for each other at the end
    of each operation, and a core's input lies in another's cache. Does nothing if TensorFlow has started, or
    if the number of threads is set already.
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
    """Return the number of micro-batches for a batch of so many entries: up to four per core; 1 on a GPU."""
    if tf.config.list_physical_devices("GPU"):
        return 1
    return max(1, min(4 * cores(), entries // PART_ENTRIES))


def training_scope(devices: Sequence[str] | None = None) -> Any:
    """Return a context in which to make models: mirrored on all devices, if there are several.

    Parameters
    ----------
    devices
        Names as in TensorFlow, `"GPU:0"`; by default all GPUs of this machine.
    """
    names = list(devices or [device.name for device in tf.config.list_logical_devices("GPU")])
    if len(names) < 2:
        return contextlib.nullcontext()
    return tf.distribute.MirroredStrategy(names).scope()


def chosen_precision(precision: str, hidden: Sequence[int]) -> str:
    """Choose `"float32"` or `"bfloat16"`: as asked for or, for `"auto"`, by timing both."""
    if precision != "auto":
        return precision
    return "bfloat16" if bfloat16_speedup(hidden) >= WORTHWHILE else "float32"


def bfloat16_speedup(hidden: Sequence[int]) -> float:
    """Measure the speed of a hidden layer in bfloat16 relative to float32, forwards and backwards."""
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
    """Compute a dense layer and its two gradients, summed to one number so that none is optimised away."""
    with tf.GradientTape() as tape:
        tape.watch([rows, kernel])
        output = tf.nn.relu(tf.matmul(rows, kernel))
    back = tape.gradient(output, [rows, kernel], output)
    return tf.add_n([tf.reduce_sum(values[:1]) for values in (output, *back)])
