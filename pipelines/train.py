"""Train the joint model that a TOML file names: `python pipelines/train.py pipelines/laptop.toml`."""

import tomllib
from pathlib import Path

import epixs


def main(settings_path: str) -> int:
    """Train over all compendia, leaving out the pairs of `[run] exclude`."""
    path = Path(settings_path)
    settings = tomllib.loads(path.read_text())
    stores = [path.parent / entry["store"] for entry in settings["compendium"]]
    run = settings["run"]
    excluded = epixs.read_pairs(path.parent / run["exclude"]) if "exclude" in run else []
    axis = epixs.joint_axis(stores, excluded)
    print(f"{axis.n_training} experiments, {len(axis.assays)} assays, {axis.n_positions[0]} positions")
    done = epixs.train(
        axis,
        epixs.read_settings(path),
        path.parent / run["folder"],
        report=lambda r: print(
            f"\repoch {r.epoch}/{r.epochs} loss {r.loss:.4f} held-out {r.held_out_mse:.4f}",
            end="",
            flush=True,
        ),
    )
    print(f"\nbest held-out MSE {done['held_out_mse']:.5f} in epoch {done['best_epoch']}")
    return 0


if __name__ == "__main__":
    from step import run

    run(main, __doc__, ("compendium", "store", "run", "folder"))
