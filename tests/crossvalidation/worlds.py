"""Two small species and configurations over them; and a process to kill.

    python -m tests.crossvalidation.worlds CONFIG OUT FITS DELAY

runs a cross-validation, and kills itself DELAY seconds after so many fits.
"""

import os
import signal
import subprocess
import sys
import threading
import time

from tests.patience import PATIENCE
from tests.worlds import planted, write_store

AVOCADO = """
[[model]]
name = "paper"
kind = "avocado"
hidden = [8, 8]
[model.training]
epochs = 2
batch_size = 500
held_out = 0.1
checkpoint_minutes = 0
"""

CONTEXT = """
[[model]]
kind = "context"
members = 2
token = 8
heads = 2
hidden = [8]
[model.training]
epochs = 1
batch_size = 2000
"""

ALONE = '[[training_set]]\nname = "mouse only"\n'

JOINT = '[[training_set]]\nname = "mouse + human"\nothers = ["human.zarr"]\n'


def write_stores(folder, noise=None):
    """Mouse and human, four biosamples x four assays each; `noise` replaces an experiment of mouse."""
    labels = [(f"b{b}", f"a{a}") for b in range(4) for a in range(4)]
    for number, species in enumerate(("human", "mouse")):
        values = planted(number, 4, 4, where=number)
        if noise and species == "mouse":
            values[labels.index(noise[0])] = noise[1]
        write_store(folder / f"{species}.zarr", values, labels=labels, species=species)
    return folder


def write_config(folder, *tables, split="", run="", name="cv.toml"):
    """A configuration file of some tables."""
    text = f'[split]\nstore = "mouse.zarr"\nfolds = 2\n{split}\n{"".join(tables)}\n[run]\n{run}\n'
    (folder / name).write_text(text)
    return folder / name


def killed(config, out, fits, delay):
    """Run a cross-validation in a process that dies by SIGKILL; returns its exit code."""
    arguments = map(str, (config, out, fits, delay))
    command = [sys.executable, "-m", "tests.crossvalidation.worlds", *arguments]
    return subprocess.run(command, check=False, timeout=10 * PATIENCE).returncode


def main(config, out, fits, delay):
    from epixs.crossvalidation.run import crossvalidate

    def die():
        time.sleep(float(delay))
        os.kill(os.getpid(), signal.SIGKILL)

    def progress(state):
        if state.tiles_done == int(fits):
            threading.Thread(target=die).start()

    crossvalidate(config, out=out, progress=progress)


if __name__ == "__main__":
    main(*sys.argv[1:])
