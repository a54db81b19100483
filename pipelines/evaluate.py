"""Score the imputed stores that a TOML file names: `python pipelines/evaluate.py pipelines/laptop.toml`."""

import sys
import tomllib
from pathlib import Path

import epixs

NEEDED = ("compendium", "store", "report")


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
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        sys.exit(main(sys.argv[1]))
    except KeyError as error:
        if error.args[0] not in NEEDED:
            raise
        sys.exit(f"error: {sys.argv[1]} lacks {error}; pipelines/laptop.toml has an example")
    except (epixs.EpixsError, OSError, tomllib.TOMLDecodeError) as error:
        sys.exit(f"error: {error}")
