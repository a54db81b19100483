import tomllib

import pytest

from epixs.errors import ConfigError
from epixs.models.settings import make_settings, read_settings, settings_from, settings_from_flat

FIRST_VERSION = {"model": "avocado", "hidden": [64, 64], "learning_rate": 1.0, "zero_shot": False, "seed": 3}


@pytest.fixture
def file(tmp_path):
    def write(text):
        (tmp_path / "s.toml").write_text(text)
        return tmp_path / "s.toml"

    return write


def test_defaults_are_the_papers_sizes():
    model = make_settings("avocado").model
    assert (model.hidden, model.biosample_factors, model.assay_factors) == ((2048, 2048), 32, 256)
    assert model.genome_factors == (25, 40, 45)
    assert make_settings("avocado").training.experiments_per_position == 1


def test_tables_of_a_file(file):
    path = file(
        "[model]\nkind = 'avocado'\nhidden = [64, 64]\n\n[training]\nlearning_rate = 1\nseed = 3\n[cluster]\nworkers = 2\n"
    )
    found = read_settings(path)
    assert (found.kind, found.model.hidden) == ("avocado", (64, 64))
    assert (found.training.learning_rate, found.training.seed) == (1.0, 3)
    assert settings_from(found.to_dict(), "here") == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\nhiden = [1]", r"s.toml: unknown setting; got model.hiden \(did you mean 'hidden'\?\)"),
        ("[training]\nhidden = [1]", "unknown setting; got training.hidden"),
        ("[model]\nhidden = [0]", r"s.toml: setting model.hidden"),
        ("[model]\nkind = 'avocado'\ngenome_factors = [1, 2]", "3 of them, 1 to 65,536 each"),
        ("[training]\nepochs = 1.5", "setting training.epochs"),
        ("[model]\nkind = 'transformer'", "kind of model; got 'transformer'; expected one of avocado"),
        ("[model]\nkind = ['avocado']", "kind of model"),
        ("model = 'avocado'", r"model; got 'avocado'; expected a table, \[model\]"),
        ("[trainings]\nepochs = 1", r"table; got \[trainings\] \(did you mean 'training'\?\)"),
        ("x = ", "is not TOML"),
    ],
)
def test_mistakes(file, text, message):
    with pytest.raises(ConfigError, match=message):
        read_settings(file(text))


def test_the_kind_of_a_file_that_does_not_say_it(file):
    path = file("[model]\nhidden = [8, 8]")
    assert read_settings(path).kind == "context"
    assert read_settings(path, default_kind="avocado").kind == "avocado"
    assert read_settings(path, "avocado").kind == "avocado"
    assert settings_from({"training": {"seed": 1}}, "model.json of an earlier version").kind == "avocado"


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        read_settings(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="is a folder"):
        read_settings(tmp_path)


@pytest.mark.parametrize("value", ["[" * 50_000, "1" * 5_000, "{"], ids=["deep", "digits", "cut"])
def test_what_is_no_toml_is_refused(file, value):
    with pytest.raises(ConfigError, match=r"s\.toml is not TOML: "):
        read_settings(file(f"[training]\nepochs = {value}"))


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e30", "1" + "0" * 400])
def test_numbers_that_nothing_can_be_computed_with_are_refused(file, value):
    with pytest.raises(
        ConfigError, match=r"s\.toml: setting training\.memory_gb; got .*; expected a number, above 0"
    ):
        read_settings(file(f"[training]\nmemory_gb = {value}"))


def test_a_file_is_not_read_whatever_its_size(file):
    with pytest.raises(ConfigError, match="is too large; expected at most 1,048,576 bytes"):
        read_settings(file("#" * (1 << 20) + "\n"))


@pytest.mark.parametrize("head", ["[train]\n", ""])
def test_files_of_the_first_version_are_answered_with_the_lines_to_write(file, head):
    old = f'{head}model = "avocado"\nhidden = [64, 64]\nlearning_rate = 1.0\nzero_shot = false\nseed = 3\n'
    with pytest.raises(ConfigError, match=r"expected these lines:") as refused:
        read_settings(file(old.replace('model = "avocado"\n', "") if not head else old))
    lines = str(refused.value).partition("expected these lines:\n")[2]
    assert lines.startswith('[model]\nkind = "avocado"\nhidden = [64, 64]\nzero_shot = false\n\n[training]\n')
    assert tomllib.loads(lines)["training"] == {"learning_rate": 1.0, "seed": 3}
    assert read_settings(file(lines)) == settings_from_flat(FIRST_VERSION, "here")


def test_the_kind_of_the_command_line_and_that_of_the_file_must_agree(file):
    assert read_settings(file("[training]\nepochs = 3"), "avocado").kind == "avocado"
    with pytest.raises(ConfigError, match=r"model.kind; got 'other'; expected 'avocado', as --model says"):
        read_settings(file("[model]\nkind = 'other'"), "avocado")


def test_one_table_of_all_settings_as_the_first_version_had_it():
    found = settings_from_flat(FIRST_VERSION, "here")
    assert (found.model.hidden, found.model.zero_shot, found.training.seed) == ((64, 64), False, 3)
    with pytest.raises(ConfigError, match="here: unknown setting of a model of kind avocado; got kind"):
        settings_from_flat({"kind": "avocado"}, "here")
