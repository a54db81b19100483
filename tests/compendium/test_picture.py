import xml.etree.ElementTree as ET

import numpy as np

import epixs
from epixs.compendium.picture import MOST_COLUMNS, MOST_ROWS, pairs_svg
from tests.worlds import write_store

HOSTILE = "<script>alert('x')</script>&\""


def squares(svg, state):
    (path,) = [p for p in ET.fromstring(svg).findall(".//{*}path") if p.find("{*}title").text == state]
    return path.get("d").count("M")


def test_a_square_per_pair_by_state():
    pairs = {("a", "x"): "measured", ("b", "y"): "measured", ("b", "x"): "imputed"}
    svg = pairs_svg(["a", "b"], ["x", "y"], pairs)
    assert squares(svg, "measured") == 2
    assert squares(svg, "imputed") == 1
    texts = [text.text for text in ET.fromstring(svg).findall(".//{*}text")]
    assert texts == ["a", "b", "x", "y", "measured: 2", "imputed: 1"]


def test_names_are_escaped_and_large_pictures_are_cut():
    svg = pairs_svg([HOSTILE], [HOSTILE], {(HOSTILE, HOSTILE): "measured"})
    assert "<script" not in svg
    ET.fromstring(svg)
    rows, columns = ([f"{name}{i}" for i in range(5_000)] for name in "ra")
    svg = pairs_svg(rows, columns, {(row, columns[0]): "measured" for row in rows})
    assert squares(svg, "measured") == MOST_ROWS
    assert f"drawn are the first {MOST_ROWS} x {MOST_COLUMNS}" in svg
    assert "measured: 5,000" in svg


def test_notebooks_show_compendium_axis_and_model(world, trained, held_out):
    observed = epixs.open_compendium(world.store("mouse"))
    lazy = epixs.open_imputed(trained, world.store("mouse"), pairs=held_out)
    table = observed.epixs.experiments
    assert f"measured: {len(table)}" in observed.epixs._repr_html_()
    assert f"imputed: {len(held_out)}" in lazy.epixs._repr_html_()
    part = trained.axis.part("mouse")
    possible = len(part.biosamples) * len({a for p in trained.axis.parts for a in p.training["assay"]})
    svg = dict(trained.axis.pictures)["mouse"]
    assert squares(svg, "measured") == len(part.training)
    assert squares(svg, "set aside") == len(held_out)
    assert squares(svg, "imputable") == possible - len(part.experiments)
    assert trained.axis._repr_html_() != trained._repr_html_()
    assert f"{trained.model.count_params():,}" in trained._repr_html_()


def test_hostile_labels_are_inert_in_notebooks(tmp_path):
    store = write_store(tmp_path / "s.zarr", np.ones((1, 8)), labels=[(HOSTILE, HOSTILE)], species="<b>")
    html = epixs.open_compendium(store).epixs._repr_html_()
    assert "<script" not in html
    assert "<b>" not in html
    assert "<script" not in epixs.joint_axis(store)._repr_html_()
