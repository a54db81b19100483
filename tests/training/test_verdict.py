import math

import pytest

from epixs.training.held_out import history_columns
from epixs.training.history import COLUMNS, write_history
from epixs.training.verdict import (
    ALONE,
    BETTER,
    UNKNOWN,
    USELESS,
    WORSE,
    GroupError,
    epochs_of,
    errors_in,
    verdicts_of,
    verdicts_on,
)

NAN = math.nan


@pytest.mark.parametrize(
    ("model", "average", "mean", "judgement", "bad"),
    [
        (0.1, 0.2, 0.3, BETTER, False),
        (0.2, 0.2, 0.3, WORSE, True),
        (0.3, 0.2, 0.3, USELESS, True),
        (0.1, 0.4, 0.1, USELESS, True),  # a constant is better than both
        (NAN, NAN, NAN, UNKNOWN, False),
    ],
)
def test_judgements(model, average, mean, judgement, bad):
    errors = [
        GroupError("fly", "", 9, model, average, mean),
        GroupError("fly", "K4", 9, model, average, mean),
    ]
    (verdict,) = verdicts_on(errors)
    assert (verdict.judgement, verdict.is_bad) == (judgement, bad)
    assert verdict.short.startswith(f"fly: {judgement}")


def test_assays_with_one_experiment_are_counted_apart():
    errors = [
        GroupError("fly", "", 30, 0.1, 0.2, 0.3),
        GroupError("fly", "better", 10, 0.1, 0.2, 0.3),
        GroupError("fly", "worse", 10, 0.3, 0.2, 0.3),
        GroupError("fly", "alone", 10, 0.1, NAN, NAN),
        GroupError("worm", "", 10, 0.1, NAN, NAN),
        GroupError("worm", "alone", 10, 0.1, NAN, NAN),
    ]
    fly, worm = verdicts_on(errors)
    assert (fly.assays_better, fly.assays_compared, fly.assays_alone) == (1, 2, 1)
    assert fly.short == (
        "fly: better than average activity (MSE 0.1000, average activity 0.2000, the mean 0.3000; "
        "better on 1 of 2 assays scored)"
    )
    assert (worm.judgement, worm.short) == (ALONE, f"worm: {ALONE} (MSE 0.1000)")


def test_a_history_gives_the_errors_back(tmp_path):
    errors = [
        GroupError("fly", "", 30, 0.1, 0.2, 0.3),
        GroupError("fly", "K4/a", 30, 0.1, 0.2, NAN),
    ]
    row = dict.fromkeys(COLUMNS, 0.0) | history_columns(errors)
    again = errors_in(row)
    assert [(e.species, e.assay, e.model, e.average_activity) for e in again] == [
        ("fly", "", 0.1, 0.2),
        ("fly", "K4/a", 0.1, 0.2),
    ]
    write_history(tmp_path, [row | {"epoch": 1, "held_out_mse/fly": 9.0}, row | {"epoch": 2}])
    assert verdicts_of(tmp_path, 2) == verdicts_on(again[:1] + again[1:])
    assert verdicts_of(tmp_path, 1)[0].judgement == USELESS
    assert verdicts_of(tmp_path, 3) == []
    assert verdicts_of(tmp_path / "nowhere", 1) == []
    assert (epochs_of(tmp_path), epochs_of(tmp_path / "nowhere")) == (2, 0)
