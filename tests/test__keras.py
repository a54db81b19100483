"""Whatever comes first, `import epixs` or `import keras`: our classes are registered, and TensorFlow is not forced."""

import subprocess
import sys

import pytest

REGISTERED = "keras.saving.get_registered_object('epixs>DeepTensorFactorization') is not None"


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "code", ["import epixs, keras", "import keras, epixs", "import epixs, tensorflow, keras"]
)
def test_classes_are_registered(code):
    done = run(f"{code}\nassert {REGISTERED}")
    assert done.returncode == 0, done.stderr


def test_importing_epixs_imports_neither_keras_nor_tensorflow():
    done = run("import sys, epixs\nassert not {'keras', 'tensorflow'} & set(sys.modules)")
    assert done.returncode == 0, done.stderr
