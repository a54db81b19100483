"""Write the tables of `configuration.md` beside this file, from declared settings and docstrings."""

import json
import re
from pathlib import Path
from typing import Any

from epixs.config import CheckedSettings, TrainingSettings, in_words
from epixs.models.kinds import KINDS, kind_named

PAGE = Path(__file__).with_name("configuration.md")


def tables() -> dict[str, CheckedSettings]:
    """Settings by the heading of their section."""
    kinds: dict[str, Any] = {f'`[model] kind = "{name}"`': kind_named(name).settings() for name in KINDS}
    return kinds | {"`[training]`": TrainingSettings()}


def table(settings: CheckedSettings) -> str:
    """One row per paragraph of the docstring, which may be about several settings."""
    lines = ["| setting | default | values | meaning |", "|---|---|---|---|"]
    defaults, types = settings.to_dict(), settings.types()
    paragraphs = re.findall(r"^    (\w+(?:, \w+)*)\n((?:        .*\n?)+)", str(settings.__doc__), re.M)
    for names, text in paragraphs:
        named = names.split(", ")
        columns = (named, [json.dumps(defaults[name]) for name in named])
        cells = [", ".join(f"`{entry}`" for entry in column) for column in columns]
        values = "; ".join(dict.fromkeys(in_words(types[name]) for name in named))
        lines.append(f"| {' | '.join(cells)} | {values} | {' '.join(text.split())} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page: its own text, with the table of each section made anew."""
    text = PAGE.read_text(encoding="utf-8")
    for heading, settings in tables().items():
        section = re.compile(rf"(^## {re.escape(heading)}\n.*?\n)\| setting .*?\n(?!\|)", re.S | re.M)
        made = table(settings)
        text = section.sub(lambda found, made=made: found[1] + made, text)
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
