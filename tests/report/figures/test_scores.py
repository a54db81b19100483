import numpy as np
import pandas as pd
import pytest

from epixs.evaluation.table import AVERAGE, IMPUTED, ZERO_SHOT
from epixs.report.figures.canvas import as_svg, drawing
from epixs.report.figures.scores import BEST_BASELINE, Matrix, _with_means, draw_points, draw_skill, tracks_of


def scores(tracks, *, methods=(IMPUTED, AVERAGE), role="excluded", **more):
    """A table in which each track's MSE is given for each method."""
    rows = [
        {"role": role, "assay_class": "histone", "assay": assay, "biosample": biosample, "method": method}
        | {"mse": mse, "pearson": 1 - mse, "same_units": True}
        | more
        for (biosample, assay), errors in tracks.items()
        for method, mse in zip(methods, errors, strict=True)
        if mse is not None
    ]
    return pd.DataFrame(rows)


def test_skill_is_against_average_activity_or_else_the_hardest_free_baseline():
    table = pd.concat(
        [
            scores({("x", "A"): (1.0, 2.0), ("y", "A"): (3.0, 2.0)}),
            scores({("x", "P"): (1.0, 4.0, 1.25)}, methods=(IMPUTED, *ZERO_SHOT[:2]), role="zero-shot"),
            scores({("y", "P"): (1.0,)}, methods=(IMPUTED,), role="zero-shot"),
            scores({("z", "A"): (1.0, 2.0)}, same_units=False),
        ]
    )
    found = tracks_of(table).set_index(["biosample", "assay"])
    np.testing.assert_allclose(found["skill"], [0.5, -0.5, 0.2, np.nan, np.nan])
    assert found["against"].tolist() == [AVERAGE, AVERAGE, BEST_BASELINE, "", AVERAGE]


def test_skill_against_a_baseline_without_error_does_not_exist():
    assert tracks_of(scores({("x", "A"): (1.0, 0.0)}))["skill"].isna().all()


def test_a_matrix_has_means_of_what_is_there():
    tracks = tracks_of(scores({("x", "A"): (1, 2), ("x", "B"): (1, 4), ("y", "B"): (3, 4)}))
    matrix = Matrix.of(tracks)
    assert (list(matrix.biosamples), list(matrix.assays)) == (["x", "y"], ["A", "B"])
    np.testing.assert_allclose(matrix.skill, [[0.5, 0.75], [np.nan, 0.25]])
    whole = _with_means(matrix.skill)
    np.testing.assert_allclose(whole[:2, -1], [0.625, 0.25])
    np.testing.assert_allclose(whole[-1, :2], [0.5, 0.5])
    assert whole[-1, -1] == pytest.approx(0.5)


def test_biosamples_of_several_species_are_rows_of_their_own():
    table = pd.concat([scores({("liver", "A"): (1, 2)}, species=name) for name in ("mouse", "human")])
    assert sorted(Matrix.of(tracks_of(table)).biosamples) == ["human: liver", "mouse: liver"]


@pytest.mark.parametrize(("biosamples", "assays"), [(1, 1), (2, 1), (1, 30), (40, 30), (120, 100)])
def test_matrices_of_any_size_are_drawn_with_a_hint_per_cell(biosamples, assays):
    rng = np.random.default_rng(0)
    tracks = {
        (f"b{i}", f"a{j}"): rng.random(2)
        for i in range(biosamples)
        for j in range(assays)
        if i == j % biosamples or rng.random() < 0.3 or j == 0
    }
    with drawing() as plt:
        drawn = draw_skill(plt, tracks_of(scores(tracks)))
        text = as_svg(drawn.figure, drawn.hints)
    cells = (biosamples + 2) * (assays + 2)
    assert text.count("<title>") == (cells if cells <= 3_000 else 0)


@pytest.mark.parametrize("count", [1, 2, 100])
@pytest.mark.parametrize("more", [1, 2, 5])
def test_each_track_is_a_point_against_each_baseline(count, more):
    rng = np.random.default_rng(count)
    methods = (IMPUTED, *(f"baseline {i}" for i in range(more)))
    table = scores(
        {(f"b{i}", f"ChIP-seq_A{i % 7}"): rng.random(1 + more) for i in range(count)}, methods=methods
    )
    with drawing() as plt:
        drawn = draw_points(plt, table, ["mse", "pearson"])
        points = [
            len(part.get_offsets())
            for axis in drawn.figure.axes
            for part in axis.collections
            if part.get_gid()
        ]
        assert sum(points) == 2 * more * count
        assert sum(map(len, drawn.hints.values())) == 2 * more * count
        counted = [axis.get_title(loc="right") for axis in drawn.figure.axes]
    wide = table.pivot_table(index=["assay", "biosample"], columns="method", values="mse")
    for method in methods[1:]:
        better = int((wide[IMPUTED] < wide[method]).sum())
        assert f"imputed better on {better} of {count}" in counted


def test_errors_in_other_units_are_no_points():
    table = scores({("x", "A"): (1.0, 2.0)}, same_units=False)
    with drawing() as plt:
        figure = draw_points(plt, table, ["mse"]).figure
        assert "no track has both" in [text.get_text() for text in figure.axes[0].texts]
