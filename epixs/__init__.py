"""Epigenomes across species: from bigWig tracks to compendia to cross-species imputations.

`__init__.pyi` lists the public names in the order of the data flow. The module of a name, and TensorFlow if
that module needs it, is imported when the name is first used. The accessor `.epixs` of xarray Datasets is
there at once.
"""

import importlib
import pathlib
import sys

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

# Importing xarray takes a second. Scripts need it anyway; `epixs --help` and `python -m epixs.cli` do not.
if pathlib.Path(sys.argv[0] if sys.argv else "").stem != "epixs" and "epixs.cli" not in sys.orig_argv:
    importlib.import_module("epixs.compendium.accessor")
