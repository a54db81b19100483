"""Kernels are compiled again when a file changes whose kernels they call."""

import subprocess
import sys
import textwrap

import pytest

from epixs.models.avocado import forward


def test_a_kernel_depends_on_the_files_of_those_that_it_calls():
    _, stamps = forward._predict._cache._cache_file._source_stamp
    names = {name for name, _, _ in stamps}
    assert {f"epixs.{name}" for name in ("lanes", "matrices", "products", "models.avocado.forward")} <= names
    assert "epixs.cluster.client" not in names


@pytest.mark.slow
def test_a_change_in_another_file_is_seen(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    files = {
        "first": "VALUE = {}\n\n\n@compiled()\ndef first():\n    return VALUE\n",
        "second": "from package.first import first\n\n\n@compiled()\ndef second():\n    return first() + 1\n",
        "third": "from package.second import second\n\n\n@compiled()\ndef third():\n    return second() + 1\n",
    }

    def third(value):
        for name, text in files.items():
            path = package / f"{name}.py"
            whole = "from epixs.compiled import compiled\n" + text.format(value)
            if not path.exists() or path.read_text() != whole:
                path.write_text(whole)
        code = textwrap.dedent("""\
            from package.third import third
            print(third(), sum(third.stats.cache_hits.values()))
        """)
        run = [sys.executable, "-c", code]
        return subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()

    assert third(1) == ["3", "0"]
    assert third(1) == ["3", "1"]
    assert third(10) == ["12", "0"]
