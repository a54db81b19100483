"""What is left of a training run that has ended, for whoever asks to go on with it."""

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
    """What the run in a folder has found, if it has ended; nothing if there is none, or it was interrupted.

    Parameters
    ----------
    axis, settings
        Of the model that is asked for, with nothing left open.
    out
        Folder of the model.
    extends
        Fingerprint of the model that it extends, if it does.

    Raises
    ------
    TrainingError
        If the run in the folder was of other stores or settings: naming what differs.
    """
    out = Path(out)
    if not (out / DESCRIPTION_FILE).is_file():
        return {}
    there = read_description(out)
    if there.interrupted:
        return {}
    cost = estimate_cost(axis, settings)
    mine = identity_of(axis, settings, cost, extends)
    check_identity(out, mine, identity_of(there.axis, there.settings, cost, there.extends))
    kind = kind_named(settings.kind)
    history = read_history(out) if (out / HISTORY_FILE).is_file() else {"epoch": []}
    kept = int(there.scores.get("best_epoch", -1))
    row = {}
    if kept in history["epoch"]:
        at = history["epoch"].index(kept)
        row = {name: values[at] for name, values in history.items()}
    return {
        **{name: value for name, value in there.scores.items() if name.endswith("_mse")},
        "had_ended": True,
        "held_out": kind.held_out,
        "keeps_last": kind.keeps_last,
        "best_epoch": kept,
        "epochs": len(history["epoch"]),
        "errors": errors_in(row),
    }
