"""Impute the stores that a TOML file names: `python pipelines/impute.py pipelines/laptop.toml`."""

import tomllib
from pathlib import Path

import epixs


def main(settings_path: str) -> int:
    """Impute each compendium that has an `imputed` path: its `pairs`, or all pairs not trained on."""
    path = Path(settings_path)
    settings = tomllib.loads(path.read_text())
    trained = epixs.open_model(path.parent / settings["run"]["folder"])
    for entry in settings["compendium"]:
        if "imputed" not in entry:
            continue
        pairs = epixs.read_pairs(path.parent / entry["pairs"]) if "pairs" in entry else None
        table = epixs.impute(
            trained,
            path.parent / entry["store"],
            path.parent / entry["imputed"],
            pairs=pairs,
            progress=lambda p: print(f"\r{p.tiles_done}/{p.tiles} tiles", end="", flush=True),
        )
        print(f"\n{entry['imputed']}: {len(table)} imputed experiments")
    return 0


if __name__ == "__main__":
    from step import run

    run(main, __doc__, ("compendium", "store", "run", "folder"))
