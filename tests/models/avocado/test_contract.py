"""The model against a reference written plainly: one concatenation, one matrix, dense gradients, dense Adam."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from epixs.models.avocado.network import DeepTensorFactorization
from epixs.models.avocado.optimizer import RowwiseAdam

N_BIOSAMPLES, N_ASSAYS, N_POSITIONS = 4, 5, (60, 6, 3)
RATE, MULTIPLIER, STEPS = 1e-3, 4.0, 10


class Reference:
    """Avocado's computation on float64: every entry's five factors in a row, then dense layers; backwards too."""

    def __init__(self, model):
        self.weights = {
            "biosample": model.biosample.table, "assay": model.assay.table,
            **{f"genome{i}": table for i, table in enumerate(model.genome.tables)},
            "bias": model.bias, "out": model.readout.kernel, "out_bias": model.readout.bias,
            **{f"kernel{i}": layer.kernel for i, layer in enumerate(model.hidden)},
            **{f"bias{i}": layer.bias for i, layer in enumerate(model.hidden)},
        }  # fmt: skip
        self.weights = {name: np.asarray(value, dtype=np.float64) for name, value in self.weights.items()}
        parts = (model.biosample, model.assay, model.genome)
        self.weights["first"] = np.concatenate([np.asarray(part.kernel) for part in parts]).astype(np.float64)
        self.depth = len(model.hidden)
        self.m = {name: np.zeros_like(value) for name, value in self.weights.items()}
        self.v = {name: np.zeros_like(value) for name, value in self.weights.items()}
        self.step = 0

    def loss_and_gradients(self, position, biosample, assay, value):
        w = self.weights
        names = ["biosample", "assay", "genome0", "genome1", "genome2"]
        labels = [biosample, assay, *position.T]
        rows = np.concatenate([w[name][label] for name, label in zip(names, labels, strict=True)], axis=1)
        before = [rows @ w["first"] + w["bias"]]
        after = [np.maximum(before[0], 0)]
        for i in range(self.depth):
            before.append(after[-1] @ w[f"kernel{i}"] + w[f"bias{i}"])
            after.append(np.maximum(before[-1], 0))
        error = (after[-1] @ w["out"] + w["out_bias"])[:, 0] - value
        gradients = {}
        back = (2 * error / error.size)[:, None]
        gradients["out"], gradients["out_bias"] = after[-1].T @ back, back.sum(axis=0)
        back = back @ w["out"].T
        for i in reversed(range(self.depth)):
            back = back * (before[i + 1] > 0)
            gradients[f"kernel{i}"], gradients[f"bias{i}"] = after[i].T @ back, back.sum(axis=0)
            back = back @ w[f"kernel{i}"].T
        back = back * (before[0] > 0)
        gradients["first"], gradients["bias"] = rows.T @ back, back.sum(axis=0)
        back = back @ w["first"].T
        at = 0
        for name, label in zip(names, labels, strict=True):
            width = w[name].shape[1]
            gradients[name] = np.zeros_like(w[name])
            np.add.at(gradients[name], label, back[:, at : at + width])
            at += width
        return float((error**2).mean()), gradients

    def adam(self, gradients):
        self.step += 1
        correction = np.sqrt(1 - 0.999**self.step) / (1 - 0.9**self.step)
        for name, gradient in gradients.items():
            self.m[name] = 0.9 * self.m[name] + 0.1 * gradient
            self.v[name] = 0.999 * self.v[name] + 0.001 * gradient**2
            rate = RATE * (MULTIPLIER if name.startswith("genome") else 1.0)
            self.weights[name] -= rate * correction * self.m[name] / (np.sqrt(self.v[name]) + 1e-7)


def small_model(hidden):
    keras.utils.set_random_seed(3)
    model = DeepTensorFactorization(N_BIOSAMPLES, N_ASSAYS, N_POSITIONS, 3, 4, (2, 3, 5), hidden)
    model.build()
    for weight in model.weights:  # larger factors, so that all units take part
        weight.assign(2 * weight)
    return model


def batches(count, n_positions, width):
    """Positions 0..39 come in every batch, some twice; 40..49 only in the first; the others never."""
    rng = np.random.default_rng(8)
    for step in range(count):
        fine = np.concatenate([np.arange(40), rng.integers(0, 50 if step == 0 else 40, n_positions - 40)])
        position = np.stack([fine, fine // 10, fine // 20], axis=1).astype(np.int32)
        shape = (n_positions, width)
        # every label in every batch: dense Adam moves what is not there as well
        biosample = rng.permutation(np.arange(n_positions * width) % N_BIOSAMPLES).reshape(shape)
        assay = rng.permutation(np.arange(n_positions * width) % N_ASSAYS).reshape(shape)
        yield position, biosample.astype(np.int32), assay.astype(np.int32), rng.normal(size=shape)


def parts_of(model, name):
    """The model's weight of a reference's name."""
    if name.startswith("genome"):
        return np.asarray(model.genome.tables[int(name[-1])])
    if name in ("biosample", "assay"):
        return np.asarray(getattr(model, name).table)
    if name == "first":
        return np.concatenate([np.asarray(p.kernel) for p in (model.biosample, model.assay, model.genome)])
    if name in ("bias",):
        return np.asarray(model.bias)
    if name.startswith("out"):
        return np.asarray(model.readout.bias if name.endswith("bias") else model.readout.kernel)
    layer = model.hidden[int(name[-1])]
    return np.asarray(layer.kernel if name.startswith("kernel") else layer.bias)


@pytest.mark.parametrize("hidden", [(7,), (8, 6), (8, 7, 6)])
@pytest.mark.parametrize("width", [1, 3])
def test_loss_and_gradients_are_those_of_the_reference(hidden, width):
    model = small_model(hidden)
    reference = Reference(model)
    position, biosample, assay, value = next(batches(1, 64, width))
    inputs = {"position": position, "biosample": biosample, "assay": assay}
    with tf.GradientTape() as tape:
        predicted = model(inputs, training=True)[..., 0]
        loss = tf.reduce_mean((predicted - value.astype(np.float32)) ** 2)
    found = tape.gradient(loss, [v.value for v in model.trainable_variables])
    got = {
        v.path: tf.convert_to_tensor(g).numpy() for v, g in zip(model.trainable_variables, found, strict=True)
    }
    expected_loss, expected = reference.loss_and_gradients(
        np.repeat(position, width, axis=0), biosample.ravel(), assay.ravel(), value.ravel()
    )
    assert float(loss) == pytest.approx(expected_loss, abs=1e-5)
    firsts = [part.kernel.path for part in (model.biosample, model.assay, model.genome)]
    tables = [model.biosample.table, model.assay.table, *model.genome.tables]
    for name, gradient in expected.items():
        if name == "first":
            mine = np.concatenate([got[path] for path in firsts])
        elif name in ("biosample", "assay") or name.startswith("genome"):
            mine = got[tables[["biosample", "assay", "genome0", "genome1", "genome2"].index(name)].path]
        else:
            mine = next(got[v.path] for v in model.trainable_variables if v is _variable(model, name))
        np.testing.assert_allclose(mine, gradient, rtol=1e-5, atol=1e-5, err_msg=name)


def _variable(model, name):
    if name == "bias":
        return model.bias
    if name.startswith("out"):
        return model.readout.bias if name.endswith("bias") else model.readout.kernel
    layer = model.hidden[int(name[-1])]
    return layer.kernel if name.startswith("kernel") else layer.bias


@pytest.mark.parametrize("hidden", [(7,), (8, 6)])
@pytest.mark.parametrize("width", [1, 3])
def test_ten_steps_of_fit_give_the_reference_weights(hidden, width):
    """For rows that are in every batch; what is not in a batch, dense Adam moves and ours leaves alone."""
    model = small_model(hidden)
    start = [table.numpy() for table in model.genome.tables]
    reference = Reference(model)
    every = list(batches(STEPS, 64, width))
    for position, biosample, assay, value in every:
        _, gradients = reference.loss_and_gradients(
            np.repeat(position, width, axis=0), biosample.ravel(), assay.ravel(), value.ravel()
        )
        reference.adam(gradients)
    model.compile(optimizer=RowwiseAdam(RATE, row_multiplier=MULTIPLIER), loss="mse")
    stream = (
        ({"position": p, "biosample": b, "assay": a}, v[..., None].astype(np.float32)) for p, b, a, v in every
    )
    model.fit(stream, steps_per_epoch=STEPS, epochs=1, shuffle=False, verbose=0)
    touched = {"genome0": slice(0, 40), "genome1": slice(0, 4), "genome2": slice(0, 2)}
    for name, expected in reference.weights.items():
        rows = touched.get(name, slice(None))
        np.testing.assert_allclose(
            parts_of(model, name)[rows], expected[rows], rtol=1e-5, atol=1e-5, err_msg=name
        )
    assert np.array_equal(model.genome.tables[0].numpy()[50:], start[0][50:])  # in no batch: not moved at all


@pytest.mark.slow
@pytest.mark.parametrize(("positions", "parts"), [(64, 2), (63, 5), (3, 5)])
def test_parts_of_a_batch_make_no_difference(positions, parts):
    """Predictions and gradients; with labels for each position, and with one row of labels for all of them."""
    model = small_model((8, 6))
    position, biosample, assay, _ = (values[:positions] for values in next(batches(1, 64, 3)))
    for rows in (positions, 1):
        inputs = {"position": position, "biosample": biosample[:rows], "assay": assay[:rows]}
        found = []
        for count in (1, parts):
            model.in_parts(count)
            with tf.GradientTape() as tape:
                predicted = tf.function(model)(inputs, training=True)
                loss = tf.reduce_sum(predicted**2)
            gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
            found.append([predicted.numpy(), *(tf.convert_to_tensor(g).numpy() for g in gradients)])
        for whole, in_parts in zip(*found, strict=True):
            np.testing.assert_allclose(in_parts, whole, rtol=1e-5, atol=1e-5)
