"""Pages as single HTML files: templates in which every name is escaped, and nothing is asked of a network."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("epixs.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: Any) -> str:
    """Fill a template. Texts are escaped; `markupsafe.Markup` says that something is markup of our own."""
    return _templates().get_template(template).render(**values)
