"""Run the steps beside this file: they take one argument, and print one line if they cannot go on."""

import sys
import tomllib
from collections.abc import Callable, Collection

import epixs


def run(main: Callable[[str], int], doc: str | None, needed: Collection[str]) -> None:
    """Call `main` with the given settings file; a name of `needed` that the file lacks is reported."""
    if len(sys.argv) != 2:
        sys.exit(doc)
    try:
        sys.exit(main(sys.argv[1]))
    except KeyError as error:
        if error.args[0] not in needed:
            raise
        sys.exit(f"error: {sys.argv[1]} lacks {error}; pipelines/laptop.toml has an example")
    except (epixs.EpixsError, OSError, tomllib.TOMLDecodeError) as error:
        sys.exit(f"error: {error}")
