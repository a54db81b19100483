import numpy as np
import pytest

from epixs.axis.join import joint_axis
from epixs.compendium.read import open_compendium
from epixs.models.settings import make_settings
from epixs.sampling import Batch, Sampler
from epixs.storage.tiling import Layout
from epixs.training import held_out
from epixs.training.held_out import average_activity, with_baselines
from epixs.training.history import read_history
from epixs.training.run import train
from tests.worlds import planted, write_store


@pytest.fixture
def axis(tmp_path):
    labels = [(f"b{b}", f"a{a}") for b in range(4) for a in range(3)]
    values = planted(1, 4, 3)
    values[5, 100:150] = np.nan
    layout = Layout(5, 40, 200)
    mouse = write_store(tmp_path / "mouse.zarr", values, labels=labels, layout=layout)
    other = write_store(tmp_path / "rat.zarr", planted(2, 2, 2), labels=[("x", "a0"), ("y", "a0"), ("x", "a1"),
                        ("y", "a2")], species="rat", layout=layout)  # fmt: skip
    return joint_axis([mouse, other]).exclude([("mouse", "b0", "a0"), ("mouse", "b3", "a2")])


def slow_average(axis, species, position, biosample, assay):
    """Average activity read off the opened store, one entry at a time."""
    part = axis.part(species)
    signal = open_compendium(part.source).signal.to_numpy()
    names = [(s.species, b) for s in axis.parts for b in s.biosamples]
    table = part.training[["assay", "biosample", "row"]].to_numpy().tolist()
    found = []
    for at, b, a in zip(position, biosample, assay, strict=True):
        rows = [row for other, own, row in table if other == axis.assays[a] and own != names[b][1]]
        values = [signal[row, at - axis.offsets(species)[0]] for row in rows]
        values = [value for value in values if not np.isnan(value)]
        found.append(np.mean(values) if values else np.nan)
    return np.array(found, dtype=np.float32)


def test_average_activity_is_that_of_the_other_training_experiments(axis):
    batch = Sampler(axis, held_out=0.2, seed=1).held_out_entries(3_000)
    entries = with_baselines(axis, batch)
    first = axis.offsets("rat")[0]
    for species, mine in (("mouse", batch.position[:, 0] < first), ("rat", batch.position[:, 0] >= first)):
        columns = batch.position[mine, 0], batch.biosample[mine, 0], batch.assay[mine, 0]
        np.testing.assert_allclose(entries.average[mine], slow_average(axis, species, *columns), atol=1e-6)
    assert np.isnan(
        entries.average[batch.assay[:, 0] == 1][batch.position[batch.assay[:, 0] == 1, 0] >= first]
    ).all()


def test_only_so_much_of_a_large_store_is_read(axis, monkeypatch):
    part = axis.part("mouse")
    bins = np.arange(0, 3_000, 7)
    labels = np.zeros(bins.size, np.int32), np.zeros(bins.size, np.int32)
    whole = average_activity(axis, part, bins, *labels)
    monkeypatch.setattr(held_out, "MOST_CHUNKS", 30)
    some = average_activity(axis, part, bins, *labels)
    known = ~np.isnan(some)
    assert 0 < known.sum() < known.size / 5
    assert np.array_equal(some[known], whole[known])
    assert not np.isnan(whole).any()


def test_an_extension_speaks_of_its_species_alone_beside_baselines_of_all_experiments(axis):
    """Half of the rat's experiments are trained on, and none of the mouse's."""
    left_out = [("rat", "x", "a0"), ("rat", "x", "a1")]
    left_out += [
        ("mouse", *pair) for pair in axis.part("mouse").experiments[["biosample", "assay"]].to_numpy()
    ]
    fitted = axis.exclude(left_out)
    batch = Sampler(fitted, held_out=0.2, seed=1).held_out_entries(3_000)
    entries = with_baselines(fitted, batch, known=axis)
    errors = entries.errors(np.full(batch.value.size, 0.5, np.float32))
    assert {error.species for error in errors} == {"rat"}
    of_a0 = batch.assay[:, 0] == 0
    columns = batch.position[of_a0, 0], batch.biosample[of_a0, 0], batch.assay[of_a0, 0]
    expected = slow_average(axis, "rat", *columns)
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(entries.average[of_a0], expected, atol=1e-6)


def test_errors_by_species_and_assay_are_over_the_same_entries(axis):
    batch = Sampler(axis, held_out=0.2, seed=1).held_out_entries(3_000)
    entries = with_baselines(axis, batch)
    predicted = np.full(batch.value.size, 0.5, np.float32)
    errors = {(e.species, e.assay): e for e in entries.errors(predicted)}
    assert {species for species, _ in errors} == {"mouse", "rat"}
    assert np.isnan(errors["rat", "a1"].average_activity)  # it has no other experiment to compare with
    alone = (batch.assay[:, 0] == 1) & (batch.position[:, 0] >= axis.offsets("rat")[0])
    assert errors["rat", "a1"].model == pytest.approx(((0.5 - batch.value[alone, 0]) ** 2).mean())
    assert errors["rat", ""].entries == errors["rat", "a0"].entries
    mine = (
        (batch.assay[:, 0] == 1)
        & (batch.position[:, 0] < axis.offsets("rat")[0])
        & ~np.isnan(entries.average)
    )
    error = errors["mouse", "a1"]
    assert error.entries == mine.sum()
    assert error.model == pytest.approx(((0.5 - batch.value[mine, 0]) ** 2).mean())
    assert error.average_activity == pytest.approx(((entries.average - batch.value[:, 0])[mine] ** 2).mean())
    means = axis.part("mouse").training
    b = [f"b{n}" for n in range(4)]
    others = [
        means[(means["assay"] == "a1") & (means["biosample"] != b[n])]["signal_mean"].mean() for n in range(4)
    ]
    expected = np.array([others[n] for n in batch.biosample[mine, 0]])
    assert error.mean == pytest.approx(((expected - batch.value[mine, 0]) ** 2).mean(), rel=1e-4)
    assert errors["mouse", ""].entries == sum(e.entries for (s, a), e in errors.items() if s == "mouse" and a)


def test_entries_without_weight_are_left_out(axis):
    batch = Sampler(axis, held_out=0.2, seed=1).held_out_entries(100)
    weight = batch.weight.copy()
    weight[::2] = 0
    entries = with_baselines(axis, Batch(batch.position, batch.biosample, batch.assay, batch.value, weight))
    assert np.array_equal(entries.truth, batch.value[1::2, 0])


@pytest.mark.parametrize("tracks", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_a_run_reports_errors_by_group_in_its_history(axis, tmp_path, tracks):
    config = make_settings(
        "avocado", hidden=(16, 16), epochs=3, batch_size=500, held_out=0.1, held_out_tracks=tracks
    )
    done = train(axis, config, tmp_path / "m")
    history = read_history(tmp_path / "m")
    best = done["best_epoch"] - 1
    for error in done["errors"]:
        group = f"{error.species}/{error.assay}" if error.assay else error.species
        np.testing.assert_equal(history[f"held_out_mse/{group}"][best], error.model)
        np.testing.assert_equal(history[f"average_activity_mse/{group}"], [error.average_activity] * 3)
        np.testing.assert_equal(history[f"mean_mse/{group}"], [error.mean] * 3)
    assert {e.species for e in done["errors"] if not e.assay} <= {"mouse", "rat"}
    assert (done["planned_epochs"], done["wanted_epochs"], done["time_ran_out"]) == (3, 3, False)
