"""Choose the experiments that genome factors are fitted to, and estimate the cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from epixs.axis.axis import COARSE_BINS, JointAxis
from epixs.axis.join import axis_of_store
from epixs.catalog.pairs import Pair
from epixs.errors import AxisError
from epixs.factors.plan import FactorPlan
from epixs.models.avocado.zero_shot import plan_zero_shot
from epixs.models.folder import TrainedModel
from epixs.models.kinds import require_genome_factors
from epixs.sampling.memory import bytes_per_bin
from epixs.training.cost import BYTES_PER_PARAMETER, EPOCHS_OVER_JOINT, PROCESS_BYTES, planned_epochs
from epixs.training.plan import check_scales

BLOCK_POSITIONS = 400
"""Number of 5 kbp positions per block, 2 Mb: enough to keep a core busy, few enough to share out blocks."""

BLOCK_BYTES = 1 << 28
"""Maximum size of a block's signal in memory; with many experiments, blocks are smaller."""


@dataclass(frozen=True)
class FactorCost:
    """Cost of fitting genome factors.

    Parameters
    ----------
    blocks, bins, experiments, epochs
        Sizes of the run.
    bytes_out
        Size of the factor store.
    worker_bytes
        Peak memory of a worker.
    """

    blocks: int
    bins: int
    experiments: int
    epochs: int
    bytes_out: int
    worker_bytes: int


def plan_factors(
    trained: TrainedModel,
    store: str | Path,
    *,
    exclude: tuple[Pair, ...] = (),
    epochs: int | None = None,
    seed: int | None = None,
) -> tuple[FactorPlan, list[str]]:
    """Plan the genome factors of a store's regions.

    Parameters
    ----------
    trained
        The model.
    store
        A compendium of a species that the model knows; its regions may differ from those of training.
    exclude
        Experiments of the store that are never fitted, in addition to those excluded from training.
    epochs, seed
        As in `TrainingSettings`; by default four times the epochs of a joint fit, and the model's seed.

    Returns
    -------
    The plan, and notes on the experiments that take no part.

    Raises
    ------
    AxisError
        If the model does not know the species, or none of the store's experiments.
    TrainingError
        If the model is of a kind without genome factors.
    """
    require_genome_factors(trained.kind, "genome factors")
    old = trained.axis
    part = axis_of_store(store, exclude, old).parts[0]
    if part.species not in old.species:
        raise AxisError(
            f"{store} is of a species that {trained.folder} does not know",
            got=part.species,
            expected=f"one of {', '.join(old.species)}",
            next_step="add it with `epixs extend`",
        )
    known = old.part(part.species)
    if part.regions.assembly != known.regions.assembly:
        raise AxisError(
            f"assembly of {store}",
            got=part.regions.assembly,
            expected=known.regions.assembly,
            next_step="ingest the species' experiments over regions of that assembly",
        )
    known_assays = {assay for p in old.parts for assay in p.training["assay"]}
    known_biosamples = set(known.training["biosample"])
    own = trained.settings.model
    zero_shot = plan_zero_shot(old, enabled=own.zero_shot, target=own.target)
    detached = set() if part.species in zero_shot.exempt else set(zero_shot.detached)
    aside = known.experiments[known.experiments["excluded"] | known.experiments["held_out"]]
    hidden = set(zip(aside["biosample"], aside["assay"], strict=True))
    table = part.experiments
    reasons = {
        "of biosamples or assays that the model does not know": ~(
            table["biosample"].isin(known_biosamples) & table["assay"].isin(known_assays)
        ),
        "excluded": table["excluded"]
        | np.array([label in hidden for label in zip(table["biosample"], table["assay"], strict=True)]),
        "of assays that a target species lacks (zero_shot)": table["assay"].isin(detached),
    }
    used = np.ones(len(table), dtype=bool)
    notes = []
    for reason, left_out in reasons.items():
        count = int((used & left_out).sum())
        if count:
            experiments = "1 experiment takes" if count == 1 else f"{count:,} experiments take"
            notes.append(f"{experiments} no part: {reason}")
        used &= ~left_out.to_numpy()
    if not used.any():
        raise AxisError(f"no experiment of {store} can be fitted to", got="; ".join(notes))
    share = replace(part, biosamples=known.biosamples, experiments=table[used].reset_index(drop=True))
    check_scales(JointAxis((share,), old.assays))
    axis = JointAxis((share,), old.assays, old.assay_classes)
    joint = trained.settings.replace(seed=seed)
    settings = {
        name: joint.flat()[name]
        for name in (
            "hidden", "biosample_factors", "assay_factors", "genome_factors", "experiments_per_position",
            "learning_rate", "genome_multiplier", "held_out", "seed",
        )
    }  # fmt: skip
    settings |= {"genome_dropout": 0.0, "epochs": epochs or EPOCHS_OVER_JOINT * planned_epochs(axis, joint)}
    per_position = COARSE_BINS * bytes_per_bin(len(share.experiments))
    block = int(np.clip(BLOCK_BYTES // per_position, 1, BLOCK_POSITIONS))
    return FactorPlan(axis, trained.fingerprint, own.genome_factors, block, settings), notes


def factor_cost(plan: FactorPlan) -> FactorCost:
    """Estimate the cost of fitting a plan."""
    part, block = plan.part, plan.block_positions
    signal = block * COARSE_BINS * bytes_per_bin(len(part.experiments))
    tables = block * plan.floats_per_position * BYTES_PER_PARAMETER
    epochs = int(plan.settings["epochs"])
    return FactorCost(
        plan.n_blocks, part.n_positions[0], len(part.experiments), epochs, plan.n_bytes,
        PROCESS_BYTES + 2 * signal + tables,
    )  # fmt: skip
