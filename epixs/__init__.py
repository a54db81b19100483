"""Epigenomes across species: bigWig tracks to compendia to cross-species imputations.

`__init__.pyi` lists the public names in the order of the data flow. Importing epixs loads nothing but that
list: a name's module, and TensorFlow where that needs it, is imported when the name is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
