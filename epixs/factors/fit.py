"""Stage 2: genome factors of any regions, block by block, for a trained model whose other weights are frozen.

With labels and layers frozen, what is lost at one 5 kbp position does not depend on the factors of any
other. So a block of positions is a task of its own: it reads its signal, fits its factors, writes them and
enters them in the ledger. Each block can be made again alone, and the whole costs as much as its bins.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from epixs.axis.axis import COARSE_BINS, MEDIUM_BINS
from epixs.catalog.pairs import Pair
from epixs.cluster.tasks import Progress, run_tasks
from epixs.compendium.read import stored_layout
from epixs.config import TrainConfig, config_from
from epixs.errors import StoreError, TrainingError
from epixs.factors.plan import FactorPlan
from epixs.factors.selection import plan_factors
from epixs.factors.store import (
    block_fingerprint,
    finish_factors,
    prepare_factors,
    read_blocks,
    read_factor_plan,
    read_shared,
    reopen_factors,
    write_factors,
)
from epixs.models.avocado.factors import INITIAL_RANGE
from epixs.models.avocado.network import DeepTensorFactorization
from epixs.models.avocado.optimizer import RowwiseAdam
from epixs.models.backend import keras
from epixs.models.folder import TrainedModel
from epixs.sampling import Sampler
from epixs.storage.fingerprint import digest
from epixs.storage.ledger import Record, read_ledger, write_record
from epixs.storage.location import absolute, reaching
from epixs.storage.lock import writing
from epixs.training.dataset import dataset_of, training_dataset

STEPS_PER_EPOCH = 25
"""Steps in which a block's bins are visited once. As in a joint fit over the Pilot Regions, a 5 kbp position
is then in nearly every step."""


HELD_OUT_ENTRIES = 20_000


_FITTING = threading.Lock()
"""A process has one fitter, whose weights are those of one block at a time; a worker may have threads."""


@dataclass(frozen=True)
class BlockTask:
    """One block to fit, the digest of all that it depends on, and that of the plan it belongs to."""

    block: int
    fingerprint: str
    plan: str


def fit_genome(
    trained: TrainedModel,
    store: str | Path,
    out: str | Path,
    *,
    exclude: tuple[Pair, ...] = (),
    epochs: int | None = None,
    seed: int | None = None,
    client: Any = None,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, float]:
    """Fit the genome factors of a store's regions and write them; run again, it resumes.

    Parameters
    ----------
    trained, store, exclude, epochs, seed
        As in `plan_factors`.
    out
        The factor store to write.
    client
        A `distributed.Client`; without one, blocks are fitted one after the other in this process.
    progress
        Called after each block.

    Returns
    -------
    `held_out_mse` over all blocks, and the mean `loss`.

    Raises
    ------
    AxisError
        If model and store do not fit together.
    StoreError
        If `out` holds something else, or another run is writing it.
    """
    plan, _ = plan_factors(trained, store, exclude=exclude, epochs=epochs, seed=seed)
    out = absolute(out)
    with reaching(out), writing(out):
        prepare_factors(out, plan, _shared_of(trained, plan))
        records = read_blocks(out)
        content = _content(plan)
        every = [
            BlockTask(block, block_fingerprint(plan, block, content(block)), plan.fingerprint)
            for block in range(plan.n_blocks)
        ]
        pending = [
            task
            for task in every
            if task.block not in records or records[task.block].fingerprint != task.fingerprint
        ]
        if pending:
            reopen_factors(out)
        done, bytes_each = len(every) - len(pending), plan.n_bytes // plan.n_blocks
        if progress:
            progress(Progress(done, len(every), done * bytes_each, plan.n_bytes))
        for _ in run_tasks(fit_block, out, pending, client):
            done += 1
            if progress:
                progress(Progress(done, len(every), done * bytes_each, plan.n_bytes))
        return finish_factors(out, plan)


def _content(plan: FactorPlan) -> Callable[[int], str]:
    """Digest of the signal under a block, from the checksums in the store's ledger."""
    ledger = read_ledger(plan.part.source)
    width = stored_layout(plan.part.source).tile_bins
    spans: dict[int, list[Any]] = {}
    for (group, span), record in sorted(ledger.items()):
        spans.setdefault(span, []).append([group, [row.get("checksum") for row in record.rows]])
    digests = {span: digest(content) for span, content in spans.items()}

    def content(block: int) -> str:
        start, stop = plan.bins(block)
        return digest([digests.get(span) for span in range(start // width, -(-stop // width))])

    return content


def fit_block(path: str, task: BlockTask) -> dict[str, float]:
    """Fit a block, write its factors, then its ledger record. Safe to repeat; returns a small dict."""
    with _FITTING:
        fitter = _fitter(path, task.plan)
        tables, scores = fitter.fit(task.block)
    scores["checksum"] = write_factors(path, fitter.plan, task.block, tables)
    write_record(path, fitter.plan.tile(task.block), Record(task.fingerprint, [scores]))
    return {"block": task.block, "loss": scores["loss"]}


@functools.lru_cache(maxsize=1)
def _fitter(path: str, plan: str) -> BlockFitter:
    """A process's fitter of a plan, kept from block to block: tracing its graph takes seconds."""
    with contextlib.suppress(ImportError, ValueError):
        from distributed import get_worker

        get_worker()
        with contextlib.suppress(RuntimeError):  # TensorFlow has started before
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(1)
    fitter = BlockFitter(path)
    if fitter.plan.fingerprint != plan:
        raise StoreError(f"{path} changed while it was written", next_step="run the same command again")
    return fitter


class _Cosine(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """The learning rate falls along a cosine to 1 %; set from outside, so that no graph depends on it."""

    def __init__(self, rate: float, steps: int) -> None:
        super().__init__()
        self.rate, self.steps = rate, steps

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the rate of one step."""
        fallen = 0.5 * (1.0 + math.cos(math.pi * batch / self.steps))
        self.model.optimizer.learning_rate.assign(self.rate * (0.99 * fallen + 0.01))


class BlockFitter:
    """Fits blocks of a factor store, one after the other, with one compiled model."""

    def __init__(self, path: str) -> None:
        self.plan = read_factor_plan(path)
        self.config = config_from(self.plan.settings, where=path)
        self.model = _block_model(self.plan, self.config)
        shared = self.model.shared_weights()
        values = read_shared(path, {name: tuple(variable.shape) for name, variable in shared.items()})
        for name, variable in shared.items():
            variable.assign(values[name])
            variable.trainable = False
        optimizer = RowwiseAdam(self.config.learning_rate, row_multiplier=self.config.genome_multiplier)
        self.model.compile(optimizer=optimizer, loss="mse", jit_compile=False)
        optimizer.build(self.model.trainable_variables)

    def fit(self, block: int) -> tuple[tuple[npt.NDArray[np.float32], ...], dict[str, Any]]:
        """Fit one block; what comes out depends on nothing that was fitted before.

        Returns
        -------
        Factors by 25 bp, 250 bp and 5 kbp position; and `loss`, `held_out` (entries) and `squares` (their
        squared errors together).
        """
        config, plan = self.config, self.plan
        part = plan.part.window(*plan.span(block))
        axis = replace(plan.axis, parts=(part,))
        per_step = max(1, plan.block_positions * COARSE_BINS // STEPS_PER_EPOCH)
        seed = int(np.random.SeedSequence([config.seed, block]).generate_state(1)[0])
        self._begin(seed)
        with Sampler(
            axis,
            batch_size=per_step * config.experiments_per_position,
            experiments_per_position=config.experiments_per_position,
            held_out=config.held_out,
            seed=seed,
        ) as sampler:
            steps = config.epochs * sampler.steps_per_epoch
            history = self.model.fit(
                training_dataset(sampler),
                steps_per_epoch=steps,
                epochs=1,
                callbacks=[_Cosine(config.learning_rate, steps)],
                shuffle=False,
                verbose=0,
            )
            held_out = sampler.entries.held_out_entries(HELD_OUT_ENTRIES)
        loss = float(history.history["loss"][0])
        tables = tuple(table.numpy() for table in self.model.genome.tables)
        if not all(np.isfinite(table).all() for table in tables):
            raise TrainingError(
                f"block {block} of {plan.part.source} diverged", got=f"loss {loss}", expected="a finite loss"
            )
        count = int(held_out.value.size)
        mse = float(self.model.evaluate(dataset_of(held_out), verbose=0)) if count else 0.0
        return tables, {"loss": loss, "held_out": count, "squares": mse * count}

    def _begin(self, seed: int) -> None:
        """Put everything that fitting changes back to its beginning."""
        generator = np.random.Generator(np.random.PCG64([seed, 0x6E]))
        for table in self.model.genome.tables:
            table.assign(generator.uniform(-INITIAL_RANGE, INITIAL_RANGE, table.shape).astype(np.float32))
        for variable in self.model.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        if self.model.genome.seeds is not None:
            state = self.model.genome.seeds.state
            state.assign(keras.ops.cast(keras.ops.array([seed % (1 << 31), 0]), state.dtype))


def _block_model(plan: FactorPlan, config: TrainConfig) -> DeepTensorFactorization:
    """A model with genome factors for one block of the largest size."""
    bins = plan.block_positions * COARSE_BINS
    model = DeepTensorFactorization(
        len(plan.part.biosamples),
        len(plan.axis.assays),
        (bins, bins // MEDIUM_BINS, plan.block_positions),
        config.biosample_factors,
        config.assay_factors,
        config.genome_factors,
        config.hidden,
        config.genome_dropout,
    )
    model.build()
    return model


def _shared_of(trained: TrainedModel, plan: FactorPlan) -> dict[str, npt.NDArray[np.float32]]:
    """A trained model's shared weights, with the biosamples of one species alone."""
    found = {name: variable.numpy() for name, variable in trained.model.shared_weights().items()}
    rows = trained.axis.biosample_index(plan.part.species, plan.part.biosamples)
    return found | {"biosample": found["biosample"][rows]}
