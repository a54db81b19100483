"""Run `python -m epixs.cli`."""

from epixs.cli import main

main()
