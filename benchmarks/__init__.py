"""Measurements: run by hand, never by the tests. Each prints or writes what `docs/` shows."""
