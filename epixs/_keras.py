"""Let plain Keras load our `.keras` files after `import epixs`, without importing TensorFlow ourselves.

Keras finds custom classes only if they were registered before. If Keras is already imported, register
now; otherwise wait until the user imports it.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType


def register_when_keras_is_imported() -> None:
    """Register the classes of `epixs.model` with Keras, now or when Keras is imported."""
    if "keras" in sys.modules:
        _register(sys.modules["keras"])
    else:
        sys.meta_path.insert(0, _Finder())


def _register(keras: ModuleType) -> None:
    backend = getattr(keras, "backend", None)
    if backend is not None and backend.backend() == "tensorflow":
        importlib.import_module("epixs.model")


class _Finder(importlib.abc.MetaPathFinder):
    """Steps aside for every import but the first one of `keras`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    """Runs Keras's own loader, then registers."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self.loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        _register(module)
