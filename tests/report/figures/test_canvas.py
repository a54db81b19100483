import xml.etree.ElementTree as ElementTree

import pytest

from epixs.errors import ConfigError
from epixs.report.figures.canvas import SVG, as_svg, check_picture, drawing, save, short_names

pytest.importorskip("matplotlib")

HOSTILE = '</svg><script>alert(1)</script>$\\frac{$ \x07\n& "x'


def picture(plt, label="x"):
    figure, axis = plt.subplots()
    axis.scatter([1, 2, 3], [3, 1, 2], gid="points")
    axis.pcolormesh([[1, 2], [3, 4]], edgecolors="white", gid="cells")
    axis.set_title(label)
    return figure


def test_hints_lie_on_points_and_cells_in_their_order():
    with drawing() as plt:
        text = as_svg(picture(plt), {"points": ["a", "b", "<c>"], "cells": ["p", "q", "r", "s"]})
    root = ElementTree.fromstring(text)
    groups = {group.get("id"): group for group in root.iter(f"{SVG}g")}
    assert [title.text for title in groups["points"].iter(f"{SVG}title")] == ["a", "b", "<c>"]
    assert [title.text for title in groups["cells"].iter(f"{SVG}title")] == ["p", "q", "r", "s"]
    at = [float(use.get("x")) for use in groups["points"].iter(f"{SVG}use")]
    assert at == sorted(at)


def test_names_are_text_and_no_formulas():
    from epixs.report.figures.canvas import shown

    with drawing() as plt:
        text = as_svg(picture(plt, shown(HOSTILE, 80)))
    assert "<script" not in text
    assert text.count("</svg>") == 1
    words = ["".join(element.itertext()) for element in ElementTree.fromstring(text).iter(f"{SVG}text")]
    assert any("$\\frac{$" in word for word in words)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_a_picture_is_written_in_one_step_and_the_same_again(tmp_path, ending):
    paths = [tmp_path / f"{name}.{ending}" for name in "ab"]
    for path in paths:
        with drawing() as plt:
            save(picture(plt), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}


def test_drawing_leaves_no_figure_open_and_no_style_behind():
    import matplotlib
    import matplotlib.pyplot as plt

    size, mine = matplotlib.rcParams["font.size"], plt.figure()
    before = plt.get_fignums()
    with drawing() as ours:
        ours.figure()
        assert matplotlib.rcParams["font.size"] == 8
    assert matplotlib.rcParams["font.size"] == size
    assert plt.get_fignums() == before
    plt.close(mine)


def test_a_picture_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected a name that ends with one of .png"):
        check_picture(tmp_path / "a.doc")
    with pytest.raises(ConfigError, match="no folder"):
        check_picture(tmp_path / "none" / "a.png")


def test_assays_are_short_where_they_stay_different():
    names = ["ChIP-seq_CTCF_signal_p-value", "RNA-seq_plus_strand_signal_of_unique_reads", "mine"]
    assert list(short_names(names).values()) == ["CTCF", "RNA-seq plus", "mine"]
    twice = ["ChIP-seq_CTCF_signal_p-value", "ChIP-seq_CTCF_fold_change_over_control"]
    assert len(set(short_names(twice).values())) == 2
