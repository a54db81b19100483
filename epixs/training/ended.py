"""Read the results of a training run that has ended, when it is asked to resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from epixs.axis.axis import JointAxis
from epixs.config import Settings
from epixs.models.description import DESCRIPTION_FILE, read_description
from epixs.models.kinds import kind_named
from epixs.training.checkpoint import check_identity, identity_of
from epixs.training.cost import estimate_cost
from epixs.training.history import HISTORY_FILE, read_history
from epixs.training.verdict import errors_in


def ended_run(axis: JointAxis, settings: Settings, out: str | Path, *, extends: str = "") -> dict[str, Any]:
    """Return the results of the run in a folder; empty if there is none, or it was interrupted.

    Parameters
    ----------
    axis, settings
        Axis and settings of the model asked for, after `settled`.
    out
        Folder of the model.
    extends
        Fingerprint of the model that it extends, if any.

    Raises
    ------
    TrainingError
        If the run in the folder was of other stores or settings; the message names the differences.
    """
    out = Path(out)
    if not (out / DESCRIPTION_FILE).is_file():
        return {}
    saved = read_description(out)
    if saved.interrupted:
        return {}
    cost = estimate_cost(axis, settings)
    identity = identity_of(axis, settings, cost, extends)
    check_identity(out, identity, identity_of(saved.axis, saved.settings, cost, saved.extends))
    kind = kind_named(settings.kind)
    history = read_history(out) if (out / HISTORY_FILE).is_file() else {"epoch": []}
    kept = int(saved.scores.get("best_epoch", -1))
    row = {}
    if kept in history["epoch"]:
        at = history["epoch"].index(kept)
        row = {name: values[at] for name, values in history.items()}
    return {
        **{name: value for name, value in saved.scores.items() if name.endswith("_mse")},
        "had_ended": True,
        "held_out": kind.held_out,
        "keeps_last": kind.keeps_last,
        "best_epoch": kept,
        "epochs": len(history["epoch"]),
        "errors": errors_in(row),
    }
