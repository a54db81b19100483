"""Write pages of docs/ that several benchmarks share, each with its own section."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def write_section(page: str, section: str, lines: Sequence[str]) -> None:
    """Replace one section of a page, or add it at the end. Other sections stay."""
    path = DOCS / page
    text = path.read_text(encoding="utf-8")
    first, last = f"<!-- {section} -->\n", f"<!-- end of {section} -->\n"
    body = first + "\n".join(lines).strip("\n") + "\n" + last
    pattern = re.compile(re.escape(first) + ".*?" + re.escape(last), re.DOTALL)
    text = pattern.sub(lambda _: body, text) if pattern.search(text) else text.rstrip("\n") + "\n\n" + body
    path.write_text(text, encoding="utf-8")
