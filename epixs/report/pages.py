"""Render pages as single HTML files. Templates escape every name, and pages need no network."""

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
    """Fill a template. Texts are escaped, except our own markup, which is marked by `markupsafe.Markup`."""
    return _templates().get_template(template).render(**values)
