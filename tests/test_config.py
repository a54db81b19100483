from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest

from epixs.config import ModelSettings, Settings, TrainingSettings, between, sizes
from epixs.errors import ConfigError


@dataclass(frozen=True)
class Tiny(ModelSettings):
    kind: ClassVar[str] = "tiny"

    width: Annotated[int, between(1, 9)] = 3
    layers: Annotated[tuple[int, ...], sizes()] = (4,)
    tags: Annotated[tuple[str, ...], (lambda tags: len(tags) == len(set(tags)), "each once")] = ()


SETTINGS = Settings(Tiny(), TrainingSettings())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 0}, r"setting model.width; got 0; expected a whole number, 1 to 9"),
        ({"width": 10}, r"setting model.width; got 10; expected a whole number, 1 to 9"),
        ({"width": 1.5}, r"setting model.width; got 1.5; expected a whole number, 1 to 9"),
        ({"width": True}, r"setting model.width; got True; expected a whole number, 1 to 9"),
        ({"layers": "a"}, r"setting model.layers; got 'a'; expected a list of whole numbers"),
        ({"layers": []}, r"setting model.layers; got \[\]; expected a list of whole numbers, one or more"),
        ({"layers": [0]}, r"setting model.layers; got \[0\]; expected .* 1 to 65,536 each"),
        (
            {"tags": ["a", "a"]},
            r"setting model.tags; got \['a', 'a'\]; expected a list of texts, each once",
        ),
        ({"tags": [1]}, r"setting model.tags; got \[1\]; expected a list of texts"),
        ({"learning_rate": -1}, r"setting training.learning_rate; got -1; expected a number, above 0"),
        ({"learning_rate": float("nan")}, r"setting training.learning_rate; got nan"),
        ({"held_out": 0.0}, r"setting training.held_out; got 0.0; expected a number, above 0"),
        ({"held_out": 1}, r"setting training.held_out; got 1; expected a number, above 0 and below 1"),
        ({"seed": -1}, r"setting training.seed; got -1; expected a whole number, 0 to"),
        (
            {"seed": 2**32},
            r"setting training.seed; got 4294967296; expected a whole number, 0 to 4,294,967,295",
        ),
        ({"precision": "half"}, r"got 'half'; expected auto or float32 or bfloat16"),
        ({"wdith": 1}, r"unknown setting of a model of kind tiny; got wdith \(did you mean 'width'\?\)"),
    ],
)
def test_impossible_settings_are_refused_by_their_path(values, message):
    with pytest.raises(ConfigError, match=message):
        SETTINGS.replace(**values)


def test_a_change_finds_its_table_and_none_changes_nothing():
    changed = SETTINGS.replace(width=5, epochs=2, seed=None)
    assert (changed.model.width, changed.training.epochs, changed.training.seed) == (5, 2, 0)
    assert (SETTINGS.model.width, SETTINGS.training.epochs) == (3, 0)


def test_values_get_the_type_of_their_default():
    changed = SETTINGS.replace(layers=[1, 2], learning_rate=1)
    assert changed.model.layers == (1, 2)
    assert type(changed.training.learning_rate) is float


def test_settings_as_files_have_them():
    tables = SETTINGS.replace(layers=[1, 2]).to_dict()
    assert tables["model"] == {"kind": "tiny", "width": 3, "layers": [1, 2], "tags": []}
    assert tables["training"]["batch_size"] == 0
    assert SETTINGS.flat() == {"width": 3, "layers": [4], "tags": [], **TrainingSettings().to_dict()}
