"""What is expected of tracks, with planted effects; and what is gained by measuring, beside a slow oracle."""

import itertools

import numpy as np
import pandas as pd
import pytest

from epixs.guidance.forecast import MEASURED, ZERO_SHOT, Outlook, fit_agreement

ASSAYS = ("easy", "hard", "new")
BIOSAMPLES = ("liver", "lung", "spleen")
EFFECT = {"easy": 0.4, "hard": -0.4}


@pytest.fixture
def tracks():
    """Hidden tracks of many rehearsals."""
    rows = [
        (assay, np.tanh(0.6 + EFFECT[assay] + 0.2 * np.log(n) + 0.1 * np.log(1 + m)), n, m)
        for assay, n, m in itertools.product(EFFECT, (1, 2, 4, 8), (1, 2, 3))
    ]
    return pd.DataFrame(rows, columns=["assay", "pearson", "of_assay", "of_biosample"])


@pytest.fixture
def outlook(tracks):
    zero_shot = tracks.assign(assay="new", of_assay=0, pearson=0.3)
    return Outlook(fit_agreement(tracks), fit_agreement(zero_shot), ASSAYS)


def test_what_was_planted_is_found(tracks):
    fit = fit_agreement(tracks)
    found = fit.pearson(["easy", "hard"], np.array([4, 4]), np.array([2]))
    planted = np.tanh(0.6 + np.array([0.4, -0.4]) + 0.2 * np.log(4) + 0.1 * np.log(3))
    np.testing.assert_allclose(found, planted[None], atol=0.05)


def test_more_tracks_never_make_it_worse(tracks):
    noisy = tracks.assign(pearson=0.9 - 0.05 * tracks["of_assay"])
    assert fit_agreement(noisy).slopes[0] == 0


def test_nothing_is_expected_of_nothing(tracks):
    assert fit_agreement(tracks[:0]) is None
    assert fit_agreement(tracks.assign(pearson=np.nan)) is None
    outlook = Outlook(fit_agreement(tracks), None, ASSAYS)
    expected = outlook.expected([("liver", "easy")], BIOSAMPLES).set_index(["biosample", "assay"])
    assert np.isnan(expected["pearson"]["lung", "new"])
    assert set(outlook.next_experiments([("liver", "easy")], BIOSAMPLES)["assay"]) <= {"easy"}


def test_roles_and_levels_of_what_is_not_measured(outlook):
    panel = [("liver", "easy"), ("lung", "easy"), ("liver", "hard")]
    expected = outlook.expected(panel, BIOSAMPLES).set_index(["biosample", "assay"])
    assert len(expected) == 9 - 3
    assert expected["role"]["spleen", "easy"] == MEASURED
    assert expected["role"]["spleen", "new"] == ZERO_SHOT
    assert expected["pearson"]["spleen", "easy"] > expected["pearson"]["spleen", "hard"]
    assert expected["pearson"]["spleen", "new"] == pytest.approx(0.3, abs=0.02)


def test_the_gain_of_an_experiment_is_how_much_the_whole_matrix_gains(outlook):
    panel = [("liver", "easy"), ("lung", "easy"), ("liver", "hard"), ("spleen", "new")]
    table = outlook.next_experiments(panel, BIOSAMPLES)
    now = outlook.expected(panel, BIOSAMPLES)["pearson"].sum()
    for biosample, assay, _, gain in table.itertuples(index=False):
        then = outlook.expected([*panel, (biosample, assay)], BIOSAMPLES)["pearson"].sum()
        assert gain == pytest.approx(1 + then - now)
    assert table["gain"].is_monotonic_decreasing
    assert len(table) == 9 - 4
