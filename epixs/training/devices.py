"""Which devices a model is trained on, and in which precision its hidden layers multiply."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

PROBED_ROWS = 4_096
PROBE_ROUNDS = 10
WORTHWHILE = 1.2
"""How many times as fast bfloat16 has to multiply to be chosen."""


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
    """`"float32"` or `"bfloat16"`: as asked for, or (`"auto"`) what is faster here, by trying."""
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
        step = tf.function(_layer_step).get_concrete_function(rows, kernel)
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
