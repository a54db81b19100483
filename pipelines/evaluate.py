"""Score the imputed stores that a TOML file names: `python pipelines/evaluate.py pipelines/laptop.toml`."""

import tomllib
from pathlib import Path

import epixs


def main(settings_path: str) -> int:
    """Score each imputed store against its compendium and write the tables to its `report` folder."""
    path = Path(settings_path)
    settings = tomllib.loads(path.read_text())
    for entry in settings["compendium"]:
        if "imputed" not in entry:
            continue
        scores = epixs.evaluate(path.parent / entry["imputed"], path.parent / entry["store"])
        for note in scores.notes:
            print("note:", note)
        print(scores.summary().to_string(index=False, float_format="%.4f"))
        for written in epixs.write_report(scores, path.parent / entry["report"]):
            print("wrote", written)
    return 0


if __name__ == "__main__":
    from step import run

    run(main, __doc__, ("compendium", "store", "report"))
