"""The history of a run, as `history.csv` and as TensorBoard's event files."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from epixs.errors import TrainingError
from epixs.storage.files import write_text

HISTORY_FILE = "history.csv"

TENSORBOARD_FOLDER = "tensorboard"

COLUMNS = (
    "epoch",
    "loss",
    "held_out_mse",
    "held_out_tracks_mse",
    "learning_rate",
    "samples_per_second",
    "seconds",
)
"""First columns of `history.csv`; `held_out_tracks_mse` is empty if no whole experiment is held out.

After them come `held_out_mse/SPECIES` and `held_out_mse/SPECIES/ASSAY`, and the same of
`average_activity_mse` and `mean_mse`. These are errors by group: of whole experiments if some are held out,
else of held-out blocks.
"""

GROUPED = ("held_out_mse/", "average_activity_mse/", "mean_mse/")


def write_history(folder: Path, rows: list[dict[str, float]]) -> None:
    """Replace `history.csv` atomically."""
    lines = io.StringIO(newline="")
    grouped = dict.fromkeys(name for row in rows for name in row if name.startswith(GROUPED))
    writer = csv.DictWriter(lines, [*COLUMNS, *grouped], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / HISTORY_FILE, lines.getvalue())


def read_history(folder: Path) -> dict[str, list[float]]:
    """Read the columns of `history.csv`; empty cells are NaN.

    Raises
    ------
    TrainingError
        If there is no such file, or it holds something else.
    """
    path = folder / HISTORY_FILE
    if not path.is_file():
        raise TrainingError(
            f"{folder} has no {HISTORY_FILE}", next_step="give a folder that `epixs train` wrote"
        )
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
        names = tuple(reader.fieldnames or ())
        further = names[len(COLUMNS) :]
        if names[: len(COLUMNS)] != COLUMNS or not all(n.startswith(GROUPED) for n in further) or not rows:
            raise ValueError(f"columns {names[:12]}, {len(rows)} rows")
        return {name: [float(row[name] or "nan") for row in rows] for name in names}
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise TrainingError(f"{path} is damaged", got=f"{type(error).__name__}: {error}") from error


class EventLog:
    """Writes scalars for TensorBoard with TensorFlow; `tensorboard --logdir MODEL_DIR` shows them."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self._tf = tf
        self._metadata = tf.compat.v1.SummaryMetadata()
        self._metadata.plugin_data.plugin_name = "scalars"
        self._writer = tf.summary.create_file_writer(str(folder / TENSORBOARD_FOLDER))

    def write(self, epoch: int, row: dict[str, Any]) -> None:
        """Log one epoch."""
        with self._writer.as_default():
            for name, value in row.items():
                if name != "epoch":
                    self._tf.summary.write(
                        f"epoch/{name}", self._tf.constant(float(value)), epoch, self._metadata
                    )
        self._writer.flush()
