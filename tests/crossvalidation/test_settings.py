"""Configuration files: what they may say, and what their errors name."""

import pytest

from epixs.crossvalidation.settings import read_config
from epixs.errors import ConfigError
from tests.crossvalidation.worlds import ALONE, AVOCADO, CONTEXT, JOINT, write_config


def test_paths_are_relative_to_the_file_and_models_are_named(tmp_path):
    found = read_config(write_config(tmp_path, ALONE, JOINT, AVOCADO, CONTEXT, run="seeds = [3, 4]"))
    assert found.split.store == str(tmp_path / "mouse.zarr")
    assert [one.others for one in found.training_sets] == [(), (str(tmp_path / "human.zarr"),)]
    assert [*found.models] == ["paper", "context"]
    assert found.models["paper"].training.epochs == 2
    assert found.run.seeds == (3, 4)
    assert found.run.folder == str(tmp_path / "crossvalidation")


def test_precision_is_not_left_to_timing(tmp_path):
    given = AVOCADO + 'precision = "bfloat16"\n'
    assert read_config(write_config(tmp_path, ALONE, AVOCADO)).models["paper"].training.precision == "float32"
    assert read_config(write_config(tmp_path, ALONE, given)).models["paper"].training.precision == "bfloat16"


@pytest.mark.parametrize(
    ("tables", "options", "message"),
    [
        ([AVOCADO], {}, r"training_set; got none; expected at least one table \[\[training_set\]\]"),
        ([ALONE], {}, r"model; got none; expected at least one table \[\[model\]\]"),
        ([ALONE, ALONE, AVOCADO], {}, "training_set.name; got 'mouse only' twice"),
        ([ALONE, AVOCADO, AVOCADO], {}, "model.name; got 'paper' twice"),
        ([ALONE, AVOCADO.replace('"paper"', '"average activity"')], {}, "a name that no baseline has"),
        ([ALONE, AVOCADO.replace('"paper"', "3")], {}, "setting model.name; got 3"),
        ([ALONE, AVOCADO.replace('"paper"', r'"a\tb"')], {}, "a printable name"),
        ([ALONE, AVOCADO.replace("hidden", "hiden")], {}, r"model.hiden \(did you mean 'hidden'\?\)"),
        ([ALONE, AVOCADO + "seed = 1\n"], {}, r"model paper: training.seed; got 1; expected seeds"),
        ([ALONE, AVOCADO], {"split": "sed = 1"}, r"split.sed \(did you mean 'seed'\?\)"),
        ([ALONE, AVOCADO], {"split": 'by = "asay"'}, "setting split.by; got 'asay'; expected experiment or"),
        ([ALONE, AVOCADO], {"run": "seeds = [1, 1]"}, "setting run.seeds; got .*each once"),
        ([ALONE, AVOCADO], {"run": "seeds = [-1]"}, "setting run.seeds"),
        ([ALONE, AVOCADO], {"run": 'keep = "much"'}, "setting run.keep; got 'much'; expected nothing or models"),
        ([ALONE + "others = [1]\n", AVOCADO], {}, "training_set.others; got .1.; expected a list of texts"),
        ([ALONE, AVOCADO, "[evaluation]\nmode = 'other'\n"], {}, "setting evaluation.mode"),
        ([ALONE, AVOCADO, "[evaluation]\ngenes = 'no.tsv'\n"], {}, "evaluation.genes; got .*no.tsv; expected a f"),
        ([ALONE, AVOCADO, "[evaluations]\n"], {}, r"evaluations \(did you mean 'evaluation'\?\)"),
        ([ALONE, AVOCADO, "[["], {}, "is not TOML"),
    ],
)  # fmt: skip
def test_errors_name_the_file_and_the_setting(tables, options, message, tmp_path):
    path = write_config(tmp_path, *tables, **options)
    with pytest.raises(ConfigError, match=rf"cv\.toml.*{message}"):
        read_config(path)


def test_a_file_without_a_store_is_refused(tmp_path):
    (tmp_path / "cv.toml").write_text(ALONE + AVOCADO)
    with pytest.raises(ConfigError, match=r"setting split\.store; got ''; expected the path of a compendium"):
        read_config(tmp_path / "cv.toml")
    with pytest.raises(ConfigError, match="does not exist"):
        read_config(tmp_path / "other.toml")
