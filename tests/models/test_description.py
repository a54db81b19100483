import pytest

from epixs.axis.join import joint_axis
from epixs.errors import AxisError, ConfigError
from epixs.models.description import read_description, signal_bounds
from tests.descriptions import rewrite


def set_at(content, path, value):
    *parents, last = path
    for key in parents:
        content = content[key]
    content[last] = value


def test_bounds_are_what_training_has_shown(world):
    axis = joint_axis([world.store("mouse")])
    table = axis.parts[0].experiments
    assay = table["assay"].iloc[0]
    rows = table[table["assay"] == assay]
    assert signal_bounds(axis)[assay] == [rows["signal_min"].min(), rows["signal_max"].max()]
    pairs = [("mouse", b, assay) for b in rows["biosample"]]
    assert assay not in signal_bounds(axis.exclude(pairs))


def test_a_description_says_what_was_trained_and_how_well(trained, copy):
    said = read_description(copy)
    assert said.axis.species == ("mouse", "human")
    assert said.settings == trained.settings
    assert said.fingerprint == trained.fingerprint
    assert said.scores["epochs"] == 3
    assert 0 < said.scores["held_out_mse"] < 10
    assert not said.interrupted
    (copy / "checkpoint.npz").touch()
    assert read_description(copy).interrupted


SPECIES = ("axis", "species", 0)
EXPERIMENT = (*SPECIES, "experiments", 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("axis",), 1),
        (("axis", "species"), []),
        (("axis", "species"), {}),
        (("axis", "assays"), ["x"]),
        (("axis", "assay_classes"), []),
        ((*SPECIES, "species"), "human"),
        ((*SPECIES, "species"), 7),
        ((*SPECIES, "regions"), []),
        ((*SPECIES, "regions"), [["a", "chr19", 0, 2**70]]),
        ((*SPECIES, "regions"), [["a", "chr19", 0, 2**60]]),
        ((*SPECIES, "regions"), [["a", "chr19", 50, 25]]),
        ((*SPECIES, "regions"), [["a", "chr19", 0.0, 25]]),
        ((*SPECIES, "biosamples"), ["b", "a"]),
        ((*SPECIES, "biosamples"), "ab"),
        ((*EXPERIMENT, "excluded"), 1),
        ((*EXPERIMENT, "row"), -1),
        ((*EXPERIMENT, "row"), "0"),
        ((*EXPERIMENT, "assay"), None),
        ((*EXPERIMENT, "signal_max"), float("nan")),
        ((*EXPERIMENT, "signal_max"), -1e9),
        (("bounds",), {}),
        (("bounds",), None),
        (("weights_sha256",), None),
        (("extends",), 1),
        (("held_out_mse",), "low"),
    ],
)
def test_impossible_descriptions_are_refused(copy, path, value):
    rewrite(copy, lambda content: set_at(content, path, value))
    with pytest.raises(AxisError, match="damaged"):
        read_description(copy)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("settings",), None, "model.json: model; got None"),
        (("settings", "model"), [], "model.json: model; got"),
        (("settings", "model", "kind"), ["avocado"], r"kind of model; got \['avocado'\]"),
        (("settings", "model", "kind"), "unheard of", "kind of model; got 'unheard of'"),
        (("settings", "model", "hidden"), None, "setting model.hidden; got None"),
        (("settings", "training", "kind"), "avocado", "unknown setting; got training.kind"),
    ],
)
def test_impossible_settings_are_refused(copy, path, value, message):
    rewrite(copy, lambda content: set_at(content, path, value))
    with pytest.raises(ConfigError, match=message):
        read_description(copy)


def test_a_description_of_the_first_version_is_read(trained, copy):
    """It had one table of all settings, called config."""

    def change(content):
        del content["settings"]
        content["config"] = {"model": "avocado", **trained.settings.flat()}

    rewrite(copy, change)
    assert read_description(copy).settings == trained.settings


@pytest.mark.parametrize(
    "value", [[True, 2.0], ["1", "2"], [2.0, 1.0], [float("nan"), 1.0], [0.0, float("inf")], [0.0], "ab"]
)
def test_impossible_bounds_are_refused(copy, value):
    def change(content):
        content["bounds"][next(iter(content["bounds"]))] = value

    rewrite(copy, change)
    with pytest.raises(AxisError, match="damaged"):
        read_description(copy)


def test_bounds_may_be_whole_numbers_as_other_writers_of_json_write_them(copy):
    def change(content):
        content["bounds"] = {assay: [0, 7] for assay in content["bounds"]}

    rewrite(copy, change)
    assert set(read_description(copy).bounds.values()) == {(0.0, 7.0)}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            (*EXPERIMENT, "row"),
            -1,
            r"model\.json is damaged: axis: species\[0\]\.experiments\[0\]\.row; got -1; expected int >= 0",
        ),
        (
            (*SPECIES, "regions", 0, 2),
            "x" * 99,
            r"species\[0\]\.regions\[0\]\[2\]; got 'x+\.\.\.x+'; expected int$",
        ),
        (
            ("axis", "assay_classes"),
            None,
            r"model\.json is damaged: axis: assay_classes; got None; expected object",
        ),
        (("held_out_mse",), "low", r"model\.json is damaged: held_out_mse; got 'low'; expected float"),
        (("extends",), 1, r"model\.json is damaged: extends; got 1; expected str"),
        (("bounds",), {"a": [1.0, "b"]}, r"is damaged: bounds\[\.\.\.\]\[1\]; got str; expected float"),
    ],
)
def test_what_is_refused_is_named_by_its_path(copy, path, value, message):
    rewrite(copy, lambda content: set_at(content, path, value))
    with pytest.raises(AxisError, match=message):
        read_description(copy)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, "1" * 5_000, '{"fingerprint": 1}'])
def test_descriptions_that_are_none(copy, text):
    (copy / "model.json").write_text(text)
    with pytest.raises(AxisError, match="damaged"):
        read_description(copy)


def test_an_edited_description_is_refused(copy):
    text = (copy / "model.json").read_text()
    (copy / "model.json").write_text(text.replace('"excluded": true', '"excluded": false', 1))
    with pytest.raises(AxisError, match="fingerprint .* is not that of the content"):
        read_description(copy)
