import pytest

from epixs.config import TrainConfig, read_config
from epixs.errors import ConfigError


def test_defaults_are_the_papers_sizes():
    config = TrainConfig()
    assert (config.hidden, config.biosample_factors, config.assay_factors) == ((2048, 2048), 32, 256)
    assert config.genome_factors == (25, 40, 45)
    assert config.experiments_per_position == 1


def test_toml(tmp_path):
    path = tmp_path / "train.toml"
    path.write_text("[train]\nhidden = [64, 64]\nlearning_rate = 1\nseed = 3\n")
    config = read_config(path)
    assert (config.hidden, config.learning_rate, config.seed) == ((64, 64), 1.0, 3)
    assert TrainConfig(**config.to_dict()) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hiden = [1]", "unknown setting; got hiden"),
        ("hidden = [0]", "setting hidden"),
        ("hidden = 'a'", "a list of whole numbers"),
        ("epochs = 1.5", "setting epochs"),
        ("epochs = true", "setting epochs"),
        ("learning_rate = -1", "a positive number"),
        ("held_out = 0", "held_out"),
        ("model = 'transformer'", "got 'transformer'; expected one of avocado"),
        ("x = ", "is not TOML"),
    ],
)
def test_mistakes(tmp_path, text, message):
    path = tmp_path / "train.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_config(path)


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        read_config(tmp_path / "none.toml")


def test_replace_ignores_what_is_not_given():
    assert TrainConfig().replace(seed=None, epochs=3) == TrainConfig(epochs=3)
