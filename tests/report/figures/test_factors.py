import numpy as np
import pytest

from epixs.report.figures.canvas import drawing
from epixs.report.figures.factors import FactorMap, assay_map, biosample_map, draw_factors, principal


def test_principal_components_keep_distances_of_points_in_a_plane():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(9, 2)) * [5, 1]
    points, explained = principal(plane @ np.linalg.qr(rng.normal(size=(6, 6)))[0][:2] + 3)
    apart = [np.linalg.norm(table[:, None] - table[None], axis=-1) for table in (plane, points)]
    np.testing.assert_allclose(*apart)
    assert sum(explained) == pytest.approx(1)
    assert explained[0] > explained[1]


@pytest.mark.parametrize("table", [np.zeros((4, 3)), np.ones((3, 1)), np.arange(8.0).reshape(2, 4)])
def test_factors_that_do_not_vary_or_are_few_have_points(table):
    points, explained = principal(table)
    assert points.shape == (len(table), 2)
    assert np.isfinite(points).all()
    assert np.isfinite(explained).all()


def test_maps_of_a_model_have_what_was_trained_on(trained):
    factors = trained.kind.label_factors(trained.model)
    assert len(factors["assay"]) == len(trained.axis.assays)
    assert len(factors["biosample"]) == trained.axis.n_biosamples
    found = biosample_map(trained.axis, factors["biosample"])
    assert set(found.groups) == {"mouse", "human"}
    classes = assay_map(trained.axis, factors["assay"])
    assert set(classes.groups) == set(classes.colours) == set(trained.axis.assay_classes.values())
    with drawing() as plt:
        drawn = draw_factors(plt, [classes, found])
        assert sum(map(len, drawn.hints.values())) == len(classes.names) + len(found.names)


def test_names_are_written_while_they_are_few():
    for count in (3, 45, 46):
        points = np.random.default_rng(0).normal(size=(count, 2))
        names = [f"n{i}" for i in range(count)]
        found = FactorMap("t", points, (0.5, 0.2), names, ["g"] * count, {"g": "#000000"})
        with drawing() as plt:
            axis = draw_factors(plt, [found]).figure.axes[0]
            assert len(axis.texts) == (count if count <= 45 else 0)
