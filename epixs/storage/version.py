"""The installed version of epixs, which stores and models record."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def epixs_version() -> str:
    """Return the version of the installed epixs."""
    try:
        return version("epixs")
    except PackageNotFoundError:
        return "unknown"
