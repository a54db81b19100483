"""Epigenomes across species: bigWig tracks to compendia to cross-species imputations.

`__init__.pyi` lists the public names in the order of the data flow. A name's module, and TensorFlow where
that needs it, is imported when the name is first used; xarray's Datasets have their `.epixs` at once.
"""

import importlib
import pathlib
import sys

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

# xarray takes a second to import. A script does so anyway; `epixs --help`, `python -m epixs.cli` need not.
if pathlib.Path(sys.argv[0] if sys.argv else "").stem != "epixs" and "epixs.cli" not in sys.orig_argv:
    importlib.import_module("epixs.compendium.accessor")
