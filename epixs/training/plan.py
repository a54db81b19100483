"""A training run as one value, made and checked before anything starts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epixs.axis.axis import JointAxis
from epixs.config import Settings
from epixs.errors import TrainingError
from epixs.models.kinds import Kind, kind_named
from epixs.sampling import BatchSampler
from epixs.sampling.draws import PACKED_LIMIT
from epixs.storage.files import check_new_folder
from epixs.training.checkpoint import RunState, has_begun, identity_of, read_state
from epixs.training.cost import Cost, check_memory, check_tracks, estimate_cost
from epixs.training.devices import chosen_precision


@dataclass(frozen=True)
class TrainingRun:
    """Everything that is decided before the first step of a run.

    Parameters
    ----------
    axis, settings
        Axis to train over, and settings, after `settled`.
    cost
        Estimated cost.
    folder
        Folder of the model.
    deadline
        Value of `time.monotonic()` at which to stop.
    identity
        Values, by name, that a run which resumes from a checkpoint must share with it.
    state
        State of the run to resume; None for a new run.
    """

    axis: JointAxis
    settings: Settings
    cost: Cost
    folder: Path
    deadline: float
    identity: dict[str, Any]
    state: RunState | None = None

    @property
    def kind(self) -> Kind:
        """The kind of model."""
        return kind_named(self.settings.kind)

    def sampler(self) -> BatchSampler:
        """Make the sampler of the batches; its signal is out of core if the cost says so."""
        return self.kind.sampler(
            self.axis, self.settings, batch_size=self.cost.batch_size, signal_bytes=self.cost.signal_bytes
        )


def plan_run(
    axis: JointAxis,
    settings: Settings,
    out: str | Path,
    *,
    resume: bool = False,
    force: bool = False,
    extends: str = "",
) -> TrainingRun:
    """Settle what axis and settings leave open, and check that the run may begin or resume.

    Parameters
    ----------
    axis, settings
        Axis to train over, and settings.
    out
        Folder of the model.
    resume, force
        As in `train`.
    extends
        Fingerprint of the model that the run extends, if any.

    Raises
    ------
    TrainingError
        If values are too large, memory does not suffice, the folder holds something else, or the run to
        resume is of other stores or settings.
    """
    started, out = time.monotonic(), Path(out)
    axis, settings = settled(axis, settings)
    if not extends:
        check_tracks(axis, settings)
    check_scales(axis)
    cost = estimate_cost(axis, settings)
    if not force:
        check_memory(cost, settings)
    state = _state_in(out, identity_of(axis, settings, cost, extends), resume=resume)
    precision = state.precision if state else precision_of(settings)
    settings = settings.replace(precision=precision)
    minutes = settings.training.max_minutes
    deadline = started + 60 * minutes if minutes else float("inf")
    return TrainingRun(axis, settings, cost, out, deadline, identity_of(axis, settings, cost, extends), state)


def settled(axis: JointAxis, settings: Settings) -> tuple[JointAxis, Settings]:
    """Settle the tracks that are held out whole, and what the settings of the kind of model leave open."""
    axis = axis.hold_out(settings.training.held_out_tracks, settings.training.seed)
    return axis, kind_named(settings.kind).settle(axis, settings)


def precision_of(settings: Settings) -> str:
    """Choose the precision in which hidden layers multiply on this machine."""
    return chosen_precision(settings.training.precision, kind_named(settings.kind).hidden_widths(settings))


def check_scales(axis: JointAxis) -> None:
    """Refuse a training experiment whose mean exceeds the largest value that training can hold.

    Raises
    ------
    TrainingError
        If there is such an experiment; the message names the first.
    """
    for part in axis.parts:
        beyond = part.training[part.training["signal_mean"].abs() > PACKED_LIMIT]
        for row in beyond.itertuples():
            raise TrainingError(
                f"{part.species} / {row.biosample} / {row.assay}: values of another order of magnitude",
                got=f"a mean of {row.signal_mean:.3g} arcsinh units",
                expected=f"at most {PACKED_LIMIT:.0f} (4.4 million in the track's own units)",
                next_step=f"if its values are off by a factor, `epixs remove {part.source} {row.accession}` "
                "or list it in the table of --exclude",
            )


def _state_in(out: Path, identity: dict[str, Any], *, resume: bool) -> RunState | None:
    """Read the state of the run to resume in a folder; None for a new run."""
    state = read_state(out, identity) if resume else None
    if state is None and not (resume and has_begun(out, identity)):
        check_new_folder(out, TrainingError)
    return state
