"""The model card that `train` leaves beside the weights."""

import pytest

from epixs.axis.join import joint_axis
from epixs.models.description import read_description
from epixs.models.settings import make_settings
from epixs.training.card import CARD_FILE, write_card
from epixs.training.run import train
from tests.worlds import planted, write_store

LABELS = [("liver | <b>", f"a{a}") for a in range(3)] + [("heart", f"a{a}") for a in range(3)]
SETTINGS = make_settings("avocado", hidden=(8, 8), epochs=2, batch_size=1_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("card")
    store = write_store(root / "mouse.zarr", planted(0, 2, 3), labels=LABELS)
    train(joint_axis([store], [("mouse", "heart", "a2")]), SETTINGS, root / "model")
    return root / "model"


def test_the_card_says_what_the_model_knows_how_good_it_is_and_what_it_is_not_for(folder):
    text = (folder / CARD_FILE).read_text()
    said = read_description(folder)
    assert said.fingerprint in text
    assert "| mouse | " in text
    assert "| mouse | heart | a2 |" in text  # excluded
    assert f"{said.scores['held_out_mse']:.4f}" in text
    assert "epixs fit-genome" in text  # a limit of this kind of model
    assert "batch\\_size" in text


def test_names_are_no_markup(folder):
    write_card(folder, [], "nothing")
    text = (folder / CARD_FILE).read_text()
    assert "<b>" not in text


def test_many_excluded_experiments_are_counted(tmp_path):
    labels = [(f"b{b}", f"a{a}") for b in range(20) for a in range(4)]
    store = write_store(tmp_path / "mouse.zarr", planted(0, 20, 4), labels=labels)
    excluded = [("mouse", f"b{b}", f"a{a}") for b in range(15) for a in range(4)]
    train(joint_axis([store], excluded), SETTINGS, tmp_path / "m")
    text = (tmp_path / "m" / CARD_FILE).read_text()
    assert "never seen in training (60)" in text
    assert "and 10 more" in text
