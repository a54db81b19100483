import numba
import pytest
from numba.core import caching

from epixs.compiled import compiled


def twice(x):
    return 2 * x


def test_a_kernel_is_a_function():
    kernel = compiled(fastmath=True)(twice)
    assert kernel(3) == twice(3) == 6


def test_nothing_has_to_be_writable(monkeypatch):
    """A container under any user's number: no home, and a package that it may only read."""
    for implementation in (caching.CacheImpl, caching.CompileResultCacheImpl):
        monkeypatch.setattr(implementation, "_locator_classes", [], raising=False)
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(twice)
    assert compiled()(twice)(3) == 6
