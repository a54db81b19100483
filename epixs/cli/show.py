"""`epixs info` and `status`: content and progress of a store, a model or a run."""

from __future__ import annotations

from typing import Any

import typer

from epixs.cli.options import AnyPath, AsJson, Quiet
from epixs.cli.terminal import (
    EXIT_ROWS_FAILED,
    check_present,
    fail_rows,
    print_json,
    remark,
    say,
    show_table,
)
from epixs.errors import counted

MOST_NOTED = 12

ROWS = {"store": "species", "fold": "fits"}
"""Names of a table's rows, by a column that only such tables have."""

AGAIN = "run the command that writes it again: it resumes where it stopped"


def status(path: AnyPath, json: AsJson = False, quiet: Quiet = False) -> None:
    """Show the progress of a store, model or run; exit code 1 if some experiments could not be read."""
    check_present("store", path)
    from epixs.report.describe import status as run

    state = run(path)
    if state.holds == "model":
        say(f"{path}: {_training(state)}")
        for verdict in state.verdicts:
            say(verdict.short)
    elif state.holds == "cross-validation":
        say(f"{path}: {state.status}, {state.done} of {counted(state.total, 'fit')} done")
    elif state.holds == "genome factors":
        say(f"{path}: {state.status}, {state.done} of {counted(state.total, 'block')} fitted")
    else:
        say(
            f"{path}: {state.status}, {state.done} of {state.total} tiles written, "
            f"{len(state.failed)} of {state.experiments} experiments could not be read"
        )
    for name, reason in state.removed:
        say(f"  {name} is removed: {reason}")
    for name, note in state.noted[:MOST_NOTED]:
        say(f"  {name}: {note}")
    if len(state.noted) > MOST_NOTED:
        say(f"  and {len(state.noted) - MOST_NOTED:,} more: `source_notes` of the store has them all")
    if state.holds != "model" and not state.is_done:
        say(AGAIN)
    fail_rows(state.failed)
    if json:
        print_json(_of_status(state))
    if state.failed:
        raise typer.Exit(EXIT_ROWS_FAILED)


def info(path: AnyPath, json: AsJson = False, quiet: Quiet = False) -> None:
    """Show the content of a store (species, bins, units, experiments), or the training data of a model."""
    check_present("store", path)
    from epixs.report.describe import info as run

    content = run(path)
    facts = [
        [name.replace("zero_shot", "zero-shot").replace("_", " "), _fact(value)]
        for name, value in content.facts.items()
    ]
    show_table(path, ["what", "value"], [row for row in facts if row[1]])
    rows = next((rows for column, rows in ROWS.items() if column in content.table), "experiments")
    if len(content.table):
        show_table(rows, [*content.table], content.table.to_numpy().tolist())
    for text in content.notes:
        remark(text)
    if json:
        print_json({"path": path, **content.facts, f"{rows}_table": content.table, "notes": content.notes})


def _training(state: Any) -> str:
    """Describe the progress of a training run in words."""
    go_on = "the same command with --resume goes on"
    if state.status == "fitted by a script":
        return "by a script of one's own; `epixs impute` and `evaluate` show how good it is"
    if not state.total:
        return f"interrupted before the first epoch was over; {go_on}"
    kept = f"{state.status}, epoch {state.best_epoch} of {state.total} is kept"
    return kept if state.is_done else f"{kept} so far; {go_on}"


def _of_status(state: Any) -> dict[str, Any]:
    failures = {
        name: [{"accession": accession, "reason": reason} for accession, reason in getattr(state, name)]
        for name in ("failed", "removed")
    }
    notes = [{"accession": accession, "note": note} for accession, note in state.noted]
    return {**vars(state), **failures, "noted": notes}


def _fact(value: Any) -> str:
    """Write a property in words; empty for one that does not exist."""
    if value is None or value == [] or value == {}:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_fact(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
