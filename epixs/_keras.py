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
from typing import Any


def register_when_keras_is_imported() -> None:
    """Register the classes of our models with Keras, now or when Keras is imported."""
    if "keras" in sys.modules:
        _register(sys.modules["keras"])
    else:
        sys.meta_path.insert(0, _Finder())


def _register(keras: ModuleType) -> None:
    backend = getattr(keras, "backend", None)
    if backend is not None and backend.backend() == "tensorflow":
        for name in ("network", "optimizer"):
            importlib.import_module(f"epixs.models.avocado.{name}")


class _Finder(importlib.abc.MetaPathFinder):
    """Wraps the loader of `keras` until Keras has been imported; other imports pass by.

    It stays in place when a spec is only looked up and not imported, as TensorFlow does.
    """

    def __init__(self) -> None:
        self.looking = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "keras" or self.looking:
            return None
        self.looking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.looking = False
        if spec is not None and spec.loader is not None:
            _register_after(spec.loader, self)
        return spec


def _register_after(loader: Any, finder: _Finder) -> None:
    """Make a loader register our classes once it has run; it stays the loader it is otherwise."""
    run = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        run(module)
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
        _register(module)

    loader.exec_module = exec_module
