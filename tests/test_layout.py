"""The shape of the package."""

import pkgutil
import sys

import epixs


def test_no_public_name_is_also_a_folder_or_module():
    inside = {module.name for module in pkgutil.iter_modules(epixs.__path__)}
    assert len(inside) > 15
    assert not inside & set(epixs.__all__)


def test_no_module_has_the_name_of_a_library():
    modules = pkgutil.walk_packages(epixs.__path__)
    names = {module.name.rpartition(".")[2] for module in modules}
    assert not names & set(sys.stdlib_module_names)


def test_every_public_name_is_there():
    assert all(getattr(epixs, name) is not None for name in epixs.__all__)
