"""Time training beside the reference, avocado-epigenome 0.4.0 under Keras 3; writes to docs/performance.md.

    pip install --no-deps avocado-epigenome==0.4.0
    python -m benchmarks.train --data ../shared/data

Model, generator and optimiser of the reference are the package's own. Only calls that Keras 3 has removed are
put back, at run time: `input_length` of an embedding, `fit_generator`, and inputs of shape `(n,)`. Both train
on the same tracks, in turn in each round, in separate processes, because they set up TensorFlow's threads
differently. Ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pandas as pd

import epixs
from benchmarks.real_tracks import folds
from benchmarks.sections import write_section
from epixs.axis.axis import JointAxis
from epixs.models.folder import new_model
from epixs.models.kinds import kind_named
from epixs.report.tables import markdown_table
from epixs.training.cost import planned_epochs
from epixs.training.devices import parts_of, use_cores
from epixs.training.plan import precision_of

BATCH, ROUNDS = 40_000, 5
SETTINGS = ((256, 1, 3.0), (256, 20, 6.0), (2048, 1, 1.3))
"""Nodes of the two hidden layers, experiments per position, and the wanted ratio."""

SECONDS = 8.0
"""Approximate seconds of each side in each round."""

SCORED_BINS = 100_000
PEER_SECONDS = 300.0
PATIENCE = 2
"""Number of passes without a better score after which the reference stops. It is scored after each pass."""


def reference() -> Any:
    """Return the class `Avocado`, with the calls that Keras 3 removed put back."""

    class Embedding(keras.layers.Embedding):  # type: ignore[misc, unused-ignore]
        def __init__(self, *args: Any, input_length: int | None = None, **options: Any) -> None:
            super().__init__(*args, **options)

    def fit_generator(self: Any, batches: Any, steps: int, epochs: int, **options: Any) -> Any:
        for removed in ("workers", "validation_data", "validation_steps", "pickle_safe"):
            options.pop(removed, None)

        def columns() -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
            for inputs, values in batches:
                shaped = {name: column.reshape(-1, 1) for name, column in inputs.items()}
                yield shaped, values.reshape(-1, 1).astype(np.float32)

        return self.fit(columns(), steps_per_epoch=steps, epochs=epochs, shuffle=False, **options)

    keras.layers.Embedding = Embedding
    keras.Model.fit_generator = fit_generator
    from avocado import Avocado

    return Avocado


class Peer:
    """The reference on the training tracks of a store."""

    def __init__(self, avocado: Any, axis: JointAxis, nodes: int) -> None:
        part = axis.parts[0]
        signal = epixs.open_compendium(part.source).signal
        self.tracks = {
            (row.biosample, row.assay): signal[row.row].to_numpy() for row in part.training.itertuples()
        }
        self.biosamples, self.assays = (sorted({key[i] for key in self.tracks}) for i in (0, 1))
        self.bins = part.n_positions[0]
        self.model = avocado(
            self.biosamples, self.assays, n_genomic_positions=self.bins, n_nodes=nodes, batch_size=BATCH
        )
        self.train(1)  # compiles

    def train(self, steps: int) -> None:
        self.model.fit(self.tracks, n_epochs=1, epoch_size=steps, verbose=0, sampling="permuted")

    def predict(self, biosample: str, assay: str, bins: np.ndarray) -> np.ndarray:
        columns = [
            np.full(bins.size, self.biosamples.index(biosample)),
            np.full(bins.size, self.assays.index(assay)),
            bins,
            bins // 10,
            bins // 200,
        ]
        names = [tensor.name for tensor in self.model.model.inputs]
        inputs = {name: column.reshape(-1, 1) for name, column in zip(names, columns, strict=True)}
        return self.model.model.predict(inputs, batch_size=20_000, verbose=0)[:, 0]


class Ours:
    """epixs on the same tracks."""

    def __init__(self, store: Path, nodes: int, width: int) -> None:
        use_cores()
        axis = epixs.joint_axis([store])
        self.config = epixs.make_settings("avocado", hidden=(nodes, nodes), experiments_per_position=width)
        self.sampler = epixs.Sampler(axis, batch_size=BATCH, experiments_per_position=width)
        self.precision = precision_of(self.config)
        self.model = new_model(axis, self.config, precision=self.precision)
        self.model.in_parts(parts_of(BATCH))
        kind_named("avocado").compile(self.model, self.config, 1_000)
        self.batches = epixs.training_dataset(self.sampler)
        self.train(1)

    def train(self, steps: int) -> None:
        self.model.fit(self.batches, steps_per_epoch=steps, epochs=1, shuffle=False, verbose=0)


class Apart:
    """`Ours` in a separate process, which waits while the reference trains."""

    def __init__(self, *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.line, far_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(far_end, *arguments), daemon=True)
        self.process.start()
        self.precision = self.line.recv()

    def train(self, steps: int) -> None:
        self.line.send(steps)
        self.line.recv()

    def end(self) -> None:
        self.line.send(0)
        self.process.join()


def _serve(line: Any, *arguments: Any) -> None:
    ours = Ours(*arguments)
    line.send(ours.precision)
    while steps := line.recv():
        ours.train(steps)
        line.send(steps)


def rate(train: Callable[[int], None], steps: int) -> float:
    """Measure samples per second over some steps."""
    started = time.perf_counter()
    train(steps)
    return steps * BATCH / (time.perf_counter() - started)


def steps_for(train: Callable[[int], None]) -> int:
    """Return the number of steps that take about `SECONDS`."""
    return max(2, round(SECONDS * rate(train, 2) / BATCH))


def side_by_side(avocado: Any, store: Path) -> list[dict[str, object]]:
    rows, axis = [], epixs.joint_axis([store])
    peers: dict[int, Peer] = {}
    for nodes, width, wanted in SETTINGS:
        peer = peers.setdefault(nodes, Peer(avocado, axis, nodes))
        ours = Apart(store, nodes, width)
        steps = steps_for(peer.train), steps_for(ours.train)
        rounds = [(rate(peer.train, steps[0]), rate(ours.train, steps[1])) for _ in range(ROUNDS)]
        ours.end()
        ratios = [epixs_rate / peer_rate for peer_rate, epixs_rate in rounds]
        rows.append(
            {
                "hidden layers": f"2 x {nodes}",
                "experiments per position": width,
                "epixs multiplies in": ours.precision,
                "reference, samples/s": f"{statistics.median(r[0] for r in rounds):,.0f}",
                "epixs, samples/s": f"{statistics.median(r[1] for r in rounds):,.0f}",
                "ratio": f"{statistics.median(ratios):.1f} x",
                "least, most": f"{min(ratios):.1f}, {max(ratios):.1f}",
                "wanted": f"{wanted:g} x",
            }
        )
        print(rows[-1], flush=True)
    return rows


def time_to_best(
    avocado: Any, store: Path, pairs: list[tuple[str, str, str]], name: str
) -> dict[str, object]:
    """Measure seconds of training until the reference's best MSE on hidden tracks, without scoring."""
    axis = epixs.joint_axis([store], pairs)
    table = epixs.joint_axis([store]).parts[0].experiments.set_index(["biosample", "assay"])
    bins = np.sort(np.random.default_rng(1).choice(axis.n_positions[0], SCORED_BINS, replace=False))
    signal = epixs.open_compendium(store).signal
    truth = {pair[1:]: signal[int(table.loc[pair[1:], "row"])].to_numpy()[bins] for pair in pairs}

    def score(predict: Callable[[str, str], np.ndarray]) -> float:
        return float(np.mean([((predict(*label) - values) ** 2).mean() for label, values in truth.items()]))

    peer = Peer(avocado, axis, 256)
    steps, spent, seen = -(-peer.bins // BATCH), 0.0, []
    while spent < PEER_SECONDS and len(seen) - int(np.argmin([s[1] for s in seen] or [0])) <= PATIENCE:
        started = time.perf_counter()
        peer.train(steps)
        spent += time.perf_counter() - started
        seen.append((spent, score(lambda b, a: peer.predict(b, a, bins))))
    best_at, best = min(seen, key=lambda entry: entry[1])

    class Watch(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
        """Scores a few times in each epoch, off the clock."""

        def __init__(self, every: int) -> None:
            super().__init__()
            self.every, self.seen, self.off = every, [], 0.0

        def on_train_begin(self, logs: Any = None) -> None:
            self.started = time.perf_counter()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if (batch + 1) % self.every:
                return
            now = time.perf_counter()
            spent = now - self.started - self.off
            self.seen.append((spent, score(predict)))
            self.off += time.perf_counter() - now

    config = epixs.make_settings("avocado", hidden=(256, 256))
    sampler = epixs.Sampler(axis, batch_size=BATCH, held_out=config.training.held_out)
    model = new_model(axis, config, precision=precision_of(config))
    total = planned_epochs(axis, config) * sampler.steps_per_epoch
    model.in_parts(parts_of(BATCH))
    kind_named("avocado").compile(model, config, total)
    position = axis.parts[0].positions(bins)

    def predict(biosample: str, assay: str) -> np.ndarray:
        labels = axis.biosample_index("human", [biosample])[None], axis.assay_index([assay])[None]
        pieces = [
            model({"position": position[low : low + 20_000], "biosample": labels[0], "assay": labels[1]})
            for low in range(0, SCORED_BINS, 20_000)
        ]
        return np.concatenate(pieces)[:, 0, 0]

    watch = Watch(max(1, sampler.steps_per_epoch // 2))
    model.fit(
        epixs.training_dataset(sampler),
        steps_per_epoch=total,
        epochs=1,
        callbacks=[watch],
        shuffle=False,
        verbose=0,
    )
    reached = next((spent for spent, mse in watch.seen if mse <= best), float("nan"))
    row = {
        "hidden tracks": name,
        "reference's best MSE": f"{best:.4f}",
        "after, s": f"{best_at:.0f}",
        "epixs reaches it after, s": f"{reached:.1f}",
        "share of the time": f"{reached / best_at:.2f}",
        "epixs' best MSE": f"{min(mse for _, mse in watch.seen):.4f}",
    }
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=5, help="hidden-track splits to time, at most 5")
    options = parser.parse_args()
    data = options.data / "human_hg19"
    avocado = reference()
    with tempfile.TemporaryDirectory(prefix="epixs-train-") as folder:
        store = Path(folder) / "human.zarr"
        epixs.ingest(data / "catalog.tsv", data / "regions.bed", store)
        speed = side_by_side(avocado, store)
        splits = [
            *((f"fold {n}", pairs) for n, pairs in enumerate(folds(), 1)),
            ("3 of fold 1", folds()[0][:3]),
        ]
        times = [time_to_best(avocado, store, pairs, name) for name, pairs in splits[: options.splits]]
    write_training(speed, times)


def write_training(speed: list[dict[str, object]], times: list[dict[str, object]]) -> None:
    shares = [float(str(row["share of the time"])) for row in times]
    lines = [
        "## Training",
        "",
        "Written by `python -m benchmarks.train --data DATA`; nothing here is typed by hand.",
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}. Beside avocado-epigenome 0.4.0",
        "under Keras 3 (only calls that Keras 3 has removed are put back), on the same 20 real tracks over the Pilot",
        f"Regions, {BATCH:,} samples per batch, in turn, each in a process of its own; medians of {ROUNDS} paired rounds.",
        "",
        markdown_table(pd.DataFrame(speed)),
        "Seconds of training until the best MSE that the reference reaches on tracks hidden from both, 2 x 256 nodes;",
        "scoring is off the clock. The reference is scored after each pass over the positions, epixs twice in each.",
        "",
        markdown_table(pd.DataFrame(times)),
        f"Median share of the time {np.median(np.nan_to_num(shares, nan=np.inf)):.2f}; never reached counts as most.",
        "",
    ]  # fmt: skip
    write_section("performance.md", "training", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
