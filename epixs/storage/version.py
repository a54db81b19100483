"""The installed version, which stores and models name."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def epixs_version() -> str:
    """Version of the installed epixs."""
    try:
        return version("epixs")
    except PackageNotFoundError:
        return "unknown"
