"""What a model expected of its tracks, beside what was found."""

import numpy as np
import pandas as pd

from epixs.evaluation.table import AVERAGE, IMPUTED, Evaluation


def scores_of(expected, found, roles):
    rows = [
        {
            "role": role,
            "assay": f"a{n}",
            "biosample": "b",
            "method": method,
            "expected_pearson": e,
            "pearson": f,
        }
        for n, (e, f, role) in enumerate(zip(expected, found, roles, strict=True))
        for method in (IMPUTED, AVERAGE)
    ]
    return Evaluation(pd.DataFrame(rows), [], {})


def test_expected_correlations_are_those_of_imputed_tracks_that_were_not_trained_on():
    expected, found = [0.1, 0.2, 0.3, 0.4, 0.5, np.nan, 0.9], [0.2, 0.1, 0.4, 0.5, 0.6, 0.7, 0.9]
    evaluation = scores_of(expected, found, ["zero-shot"] * 2 + ["excluded"] * 4 + ["training"])
    table = evaluation.expected()
    assert table["expected"].tolist() == expected[:5]
    assert table["true"].tolist() == found[:5]
    assert table["role"].tolist() == ["zero-shot"] * 2 + ["excluded"] * 3
    spearman, tracks = evaluation.rank_of_expected()
    assert tracks == 5
    np.testing.assert_allclose(spearman, 0.9)


def test_fewer_than_five_tracks_are_not_ranked_and_no_column_is_no_table():
    few = scores_of([0.1, 0.2], [0.2, 0.1], ["excluded"] * 2)
    assert few.rank_of_expected() is None
    without = Evaluation(few.scores.drop(columns="expected_pearson"), [], {})
    assert without.expected().empty
    assert without.rank_of_expected() is None
