"""Fit genome factors of any regions, block by block, for a trained model whose other weights are frozen.

With labels and layers frozen, the loss at one 5 kbp position does not depend on the factors of any other.
So each block of positions is a task of its own: it reads its signal, fits its factors, writes them and enters
them in the ledger. Each block can be fitted again alone, and the cost grows with the number of bins alone.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import COARSE_BINS, MEDIUM_BINS
from epixs.catalog.pairs import Pair
from epixs.cluster.client import take_one_thread
from epixs.cluster.resume import run_pending, unwritten
from epixs.cluster.tasks import Progress
from epixs.compendium.read import stored_layout
from epixs.config import Settings
from epixs.errors import StoreError, TrainingError
from epixs.factors.plan import FactorPlan
from epixs.factors.selection import plan_factors
from epixs.factors.store import (
    block_fingerprint,
    prepare_factors,
    read_blocks,
    read_factor_plan,
    read_shared,
    scores_of,
    write_factors,
)
from epixs.models.avocado.factors import INITIAL_RANGE
from epixs.models.avocado.network import DeepTensorFactorization
from epixs.models.avocado.optimizer import RowwiseAdam
from epixs.models.backend import keras
from epixs.models.folder import TrainedModel
from epixs.models.settings import settings_from_flat
from epixs.sampling import Sampler
from epixs.storage.fingerprint import digest
from epixs.storage.ledger import Record, check_written, read_ledger
from epixs.storage.location import absolute, reaching, sweep
from epixs.storage.lock import writing
from epixs.storage.store import COMPLETE, UNFINISHED, Store, open_store
from epixs.storage.tiling import Key
from epixs.training.dataset import dataset_of, training_dataset

STEPS_PER_EPOCH = 25
"""Number of steps in which a block's bins are visited once. Nearly every step then has bins of each 5 kbp
position, as in a joint fit over the Pilot Regions."""

HELD_OUT_ENTRIES = 20_000

_FITTING = threading.Lock()
"""Lock of the process's fitter, which holds the weights of one block at a time; workers may have threads."""


@dataclass(frozen=True)
class BlockTask:
    """One block to fit, with the digest of everything that it depends on and that of its plan."""

    block: int
    fingerprint: str
    plan: str

    @property
    def key(self) -> Key:
        """The block's place in the ledger."""
        return 0, self.block

    def is_written(self, record: Record | None) -> bool:
        """Check whether a ledger record is that of this block, fitted to the same data."""
        return record is not None and record.fingerprint == self.fingerprint


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
        A `distributed.Client`, or a `concurrent.futures.ThreadPoolExecutor`. Without a client, blocks are
        fitted one after the other in this process.
    progress
        Function called after each block.

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
    location = absolute(out)
    with reaching(location), writing(location):
        made = prepare_factors(location, plan, _shared_of(trained, plan))
        content = _content(plan)
        tasks = [
            BlockTask(block, block_fingerprint(plan, block, content(block)), plan.fingerprint)
            for block in range(plan.n_blocks)
        ]
        pending = unwritten(tasks, read_blocks(made))
        if pending and made.is_complete:
            made = made.with_attributes({"status": UNFINISHED})
        run_pending(made, fit_blocks, pending, len(tasks), client=client, progress=progress)
        records = read_blocks(made)
        check_written(made, records, {task.key: task.is_written for task in tasks})
        if not made.is_complete:
            made.with_attributes({"status": COMPLETE})
        sweep(location)
    return scores_of(records)


def _content(plan: FactorPlan) -> Callable[[int], str]:
    """Return a function that digests a block's signal, from the checksums in the store's ledger."""
    store = open_store(plan.part.source)
    width = stored_layout(store).tile_bins
    spans: dict[int, list[Any]] = {}
    for (group, span), record in sorted(read_ledger(store).items()):
        spans.setdefault(span, []).append([group, [row.get("checksum") for row in record.rows]])
    digests = {span: digest(content) for span, content in spans.items()}

    def content(block: int) -> str:
        start, stop = plan.bins(block)
        return digest([digests.get(span) for span in range(start // width, -(-stop // width))])

    return content


def fit_blocks(store: Store, tasks: Sequence[BlockTask]) -> Iterator[Record]:
    """Fit blocks, write their factors, and yield the ledger record of each. Safe to repeat."""
    for task in tasks:
        with _FITTING:
            fitter = _fitter(store.location, task.plan)
            tables, scores = fitter.fit(task.block)
        scores["checksum"] = write_factors(store, fitter.plan, task.block, tables)
        yield Record(task.fingerprint, [scores])


@functools.lru_cache(maxsize=1)
def _fitter(location: str, plan: str) -> BlockFitter:
    """Return the process's fitter of a plan, cached because tracing its graph takes seconds."""
    take_one_thread()
    fitter = BlockFitter(open_store(location))
    if fitter.plan.fingerprint != plan:
        raise StoreError(f"{location} changed while it was written", next_step="run the same command again")
    return fitter


class _Cosine(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Lowers the learning rate along a cosine to 1 %, from outside, so that no graph depends on it."""

    def __init__(self, rate: float, steps: int) -> None:
        super().__init__()
        self.rate, self.steps = rate, steps

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the rate of one step."""
        fallen = 0.5 * (1.0 + math.cos(math.pi * batch / self.steps))
        self.model.optimizer.learning_rate.assign(self.rate * (0.99 * fallen + 0.01))


class BlockFitter:
    """Fits the blocks of a factor store one after the other, with one compiled model."""

    def __init__(self, store: Store) -> None:
        self.plan = read_factor_plan(store)
        self.settings = settings_from_flat(self.plan.settings, where=str(store))
        self.model = _block_model(self.plan, self.settings)
        shared = self.model.shared_weights()
        values = read_shared(store, {name: tuple(variable.shape) for name, variable in shared.items()})
        for name, variable in shared.items():
            variable.assign(values[name])
            variable.trainable = False
        training, multiplier = self.settings.training, self.settings.model.genome_multiplier
        optimizer = RowwiseAdam(training.learning_rate, row_multiplier=multiplier)
        self.model.compile(optimizer=optimizer, loss="mse", jit_compile=False)
        optimizer.build(self.model.trainable_variables)

    def fit(self, block: int) -> tuple[tuple[npt.NDArray[np.float32], ...], dict[str, Any]]:
        """Fit one block; the result does not depend on the blocks fitted before.

        Returns
        -------
        Factors by 25 bp, 250 bp and 5 kbp position; and `loss`, `held_out` (number of held-out entries) and
        `squares` (sum of their squared errors).
        """
        config, plan = self.settings.training, self.plan
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
        """Reset everything that fitting changes."""
        generator = np.random.Generator(np.random.PCG64([seed, 0x6E]))
        for table in self.model.genome.tables:
            table.assign(generator.uniform(-INITIAL_RANGE, INITIAL_RANGE, table.shape).astype(np.float32))
        for variable in self.model.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        if self.model.genome.seeds is not None:
            state = self.model.genome.seeds.state
            state.assign(keras.ops.cast(keras.ops.array([seed % (1 << 31), 0]), state.dtype))


def _block_model(plan: FactorPlan, settings: Settings) -> DeepTensorFactorization:
    """Make a model with genome factors for one block of the largest size."""
    sizes, bins = settings.model, plan.block_positions * COARSE_BINS
    model = DeepTensorFactorization(
        len(plan.part.biosamples),
        len(plan.axis.assays),
        (bins, bins // MEDIUM_BINS, plan.block_positions),
        sizes.biosample_factors,
        sizes.assay_factors,
        sizes.genome_factors,
        sizes.hidden,
        sizes.genome_dropout,
    )
    model.build()
    return model


def _shared_of(trained: TrainedModel, plan: FactorPlan) -> dict[str, npt.NDArray[np.float32]]:
    """Return a trained model's shared weights, with the biosamples of one species only."""
    weights = {name: variable.numpy() for name, variable in trained.model.shared_weights().items()}
    rows = trained.axis.biosample_index(plan.part.species, plan.part.biosamples)
    return weights | {"biosample": weights["biosample"][rows]}
