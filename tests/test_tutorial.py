"""The tutorial, run as a notebook, and the one with outputs that lies beside it."""

import nbformat
import pytest

from tests.test_public import page_maker

pytest.importorskip("jupytext")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")


def test_the_notebook_has_the_cells_of_the_page():
    made = page_maker("make_tutorial")
    kept = nbformat.read(made.NOTEBOOK, as_version=4)
    cells = [(cell.cell_type, cell.source) for cell in made.notebook().cells]
    assert [(cell.cell_type, cell.source) for cell in kept.cells] == cells, "run docs/make_tutorial.py"


@pytest.mark.slow
def test_it_runs_to_a_picture_and_leaves_nothing_running(tmp_path):
    pytest.importorskip("matplotlib")
    made = page_maker("make_tutorial")
    done = made.run(tmp_path)
    assert (tmp_path / "track.png").stat().st_size > 10_000
    assert len(list((tmp_path / "for-browsers").glob("*.imputed.*.bigWig"))) > 1
    assert not any("epixs browse" in cell.source for cell in done.cells if cell.cell_type == "code")
