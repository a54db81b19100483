"""Describe the differences between a store and the plan of a run that writes to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from epixs.compendium.plan import LABELS, Plan
from epixs.compendium.read import stored_plan
from epixs.errors import counted
from epixs.storage.store import Store, differences

MOST_NAMED = 3


def plan_differences(store: Store, plan: Plan, attributes: Mapping[str, Any]) -> list[str]:
    """List the differences between a store's plan and another plan, with both values or the missing rows."""
    return differences(
        plan.settings,
        attributes.get("plan_settings"),
        {
            "regions": lambda: [different_regions(plan, stored_plan(store))],
            "experiments": lambda: different_experiments(plan.experiments, stored_plan(store).experiments),
            "provenance": lambda: different_provenance(plan.provenance, attributes.get("provenance")),
        },
    )


def different_regions(mine: Plan, theirs: Plan) -> str:
    """Describe how the regions of a run differ from a store's: both numbers, and the first difference."""
    first = mine.regions.first_difference(theirs.regions)
    return f"regions {mine.settings['regions']}, the store has {theirs.settings['regions']}: {first}"


def different_experiments(mine: pd.DataFrame, theirs: pd.DataFrame) -> list[str]:
    """List how the experiments of a run differ from those of a store."""
    new, old = ({row[0]: row for row in table[list(LABELS)].to_numpy().tolist()} for table in (mine, theirs))
    relabelled = [
        f"{name} with {label} {got!r}, the store has {held!r}"
        for name in new
        if name in old
        for label, got, held in zip(LABELS, new[name], old[name], strict=True)
        if got != held
    ]
    texts = [
        _named("that the store lacks", [_row_name(new[name]) for name in new if name not in old]),
        _named("that only the store has", [_row_name(old[name]) for name in old if name not in new]),
    ]
    return [text for text in texts if text] + relabelled[:MOST_NAMED] or [
        "the same experiments in another order"
    ]


def _row_name(row: Sequence[str]) -> str:
    accession, biosample, assay = row[:3]
    return f"{accession} ({biosample} / {assay})"


def _named(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = ", ..." if len(names) > MOST_NAMED else ""
    return f"{counted(len(names), 'experiment')} {what}: {', '.join(names[:MOST_NAMED])}{more}"


def different_provenance(mine: Mapping[str, Any], theirs: Any) -> list[str]:
    """List how model, training and factors of an imputation differ from those of a store."""
    held = theirs if isinstance(theirs, dict) else {}
    texts = []
    for name in {**held, **mine}:
        got, other = mine.get(name), held.get(name)
        if got == other:
            continue
        short = all(isinstance(value, str | None) for value in (got, other))
        texts.append(
            f"{name} {got or 'none'}, the store has {other or 'none'}" if short else f"another {name}"
        )
    return texts or ["a provenance that it no longer holds"]
