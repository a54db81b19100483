import numpy as np
import pytest
from typer.testing import CliRunner

from epixs.axis.join import joint_axis
from epixs.cli.app import app
from epixs.errors import TrainingError
from epixs.models.avocado.size import count_parameters
from epixs.models.folder import new_model
from epixs.models.kinds import kind_named
from epixs.models.settings import choose_kind, make_settings
from epixs.training.cost import check_memory, check_tracks, estimate_cost, planned_epochs
from tests.worlds import planted, write_store

CONFIG = make_settings("avocado", hidden=(16, 8), batch_size=500)


@pytest.fixture(scope="module")
def axis(world):
    return joint_axis([world.store("mouse"), world.store("human")])


def batch_of(axis, settings):
    return kind_named(settings.kind).schedule(axis, settings).batch_size


@pytest.mark.parametrize("hidden", [(16,), (16, 8), (8, 8, 8)])
def test_parameters_are_those_of_the_model(axis, hidden):
    config = CONFIG.replace(hidden=hidden)
    model = new_model(axis, config)
    assert count_parameters(axis, config.model) == sum(int(np.prod(w.shape)) for w in model.weights)


def test_steps_and_positions(axis):
    cost = estimate_cost(axis, CONFIG)
    assert cost.positions == sum(part.regions.n_bins for part in axis.parts)
    assert cost.steps_per_epoch == -(-cost.positions // 500)
    assert cost.experiments == axis.n_experiments
    ten = estimate_cost(axis, CONFIG.replace(experiments_per_position=10))
    assert ten.steps_per_epoch == -(-cost.positions // 50)


def test_epochs_are_planned_from_the_experiments_at_a_position(axis):
    entries = sum(part.regions.n_bins * len(part.experiments) for part in axis.parts)
    positions = sum(part.regions.n_bins for part in axis.parts)
    assert planned_epochs(axis, CONFIG) == max(8, round(entries / positions / 2))
    assert planned_epochs(axis, CONFIG.replace(epochs=3)) == 3
    assert planned_epochs(axis, CONFIG.replace(experiments_per_position=50)) == 8


def test_batches_are_planned_from_the_positions(axis, monkeypatch):
    planned = CONFIG.replace(batch_size=0)
    positions = estimate_cost(axis, planned).positions
    assert estimate_cost(axis, planned).batch_size == batch_of(axis, planned) == 1_000
    monkeypatch.setattr("epixs.models.kinds.BATCH_RANGE", (1, 40_000))
    assert batch_of(axis, planned) == positions // 28
    batch_size = estimate_cost(axis, planned).batch_size
    sampler = kind_named("avocado").sampler(axis, planned, batch_size=batch_size)
    assert sampler.positions_per_step == positions // 28
    monkeypatch.setattr("epixs.models.kinds.BATCH_RANGE", (1, 50))
    assert batch_of(axis, planned) == 50
    assert batch_of(axis, CONFIG) == 500


def test_memory_beyond_the_budget_is_refused(axis):
    cost = estimate_cost(axis, CONFIG)
    check_memory(cost, CONFIG.replace(memory_gb=cost.memory_bytes / 1e9 + 0.001))
    with pytest.raises(
        TrainingError, match=r"more memory than allowed; got .* GB; expected at most memory_gb"
    ):
        check_memory(cost, CONFIG.replace(memory_gb=cost.memory_bytes / 1e9 - 0.001))


def test_tracks_that_leave_nothing_to_learn_from_are_told_before_anything_is_loaded(tmp_path):
    """Eight tracks of two assays: none leaves two of its biosample."""
    labels = [(b, a) for b in "ABCD" for a in ("x", "y")]
    store = write_store(tmp_path / "s.zarr", planted(0, 4, 2), labels=labels)
    axis = joint_axis([store])
    assert choose_kind(axis)[0] == "avocado"
    with pytest.raises(TrainingError, match="that have 3 training tracks each; none of 8 is one"):
        check_tracks(axis, make_settings("context"))
    done = CliRunner().invoke(
        app, ["train", str(store), "--out", str(tmp_path / "m"), "--model", "context", "--dry-run"]
    )
    assert done.exit_code == 2
    assert "cannot be trained on these compendia" in done.stderr
    assert not (tmp_path / "m").exists()
