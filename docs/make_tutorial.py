"""Run `tutorial.md` as a notebook; write it beside this file with its outputs, and its picture.

`python docs/make_tutorial.py` needs the dependency group `docs`, and a minute or two.
"""

import shutil
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

SOURCE = Path(__file__).with_name("tutorial.md")
NOTEBOOK = SOURCE.with_suffix(".ipynb")
PICTURE = SOURCE.with_name("tutorial-track.png")


def notebook() -> nbformat.NotebookNode:
    """The notebook without outputs. What the page marks as not run is text in it."""
    made = jupytext.read(SOURCE)
    for number, cell in enumerate(made.cells):
        cell.id = f"cell-{number}"
        if cell.metadata.pop("title", "").startswith("not run"):
            cell.cell_type = "markdown"
            cell.source = f"    {cell.source.removeprefix('%%bash').strip()}"
            del cell["execution_count"], cell["outputs"]
    return made


def run(folder: Path) -> nbformat.NotebookNode:
    """Run the notebook in a folder; returns it with its outputs."""
    made = notebook()
    NotebookClient(made, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    return made


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        done = run(Path(folder))
        shutil.copy(Path(folder) / "track.png", PICTURE)
    for cell in done.cells:
        cell.metadata.pop("execution", None)  # times, which would differ in each run
        if cell.cell_type == "code":  # what TensorFlow says of this machine helps no one
            cell.outputs = [shown for shown in cell.outputs if "absl::" not in shown.get("text", "")]
    nbformat.write(done, NOTEBOOK)
