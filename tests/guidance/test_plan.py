"""`plan` from a panel and stores to a forecast, resumed, and by the command line."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from epixs.cli.app import app
from epixs.errors import ConfigError
from epixs.guidance.plan import COLUMNS, MEASURED, plan
from epixs.models.settings import make_settings
from tests.worlds import planted, write_store

LABELS = [(f"r{b}", f"a{a}") for b in range(6) for a in range(4)]
PANEL = [("cattle", f"t{b}", f"a{a}") for b in range(4) for a in range(3) if (b, a) != (3, 2)]
SETTINGS = make_settings(
    "context", token=8, heads=2, hidden=(16,), members=2, assay_factors=4, epochs=2, batch_size=1_024, learning_rate=5e-3
)  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    like = write_store(folder / "like.zarr", planted(0, 6, 4), labels=LABELS)
    other = write_store(folder / "other.zarr", planted(1, 4, 4), labels=LABELS[:16], species="human")
    return like, other


@pytest.fixture(autouse=True, scope="module")
def few_entries():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("epixs.models.context.kind.ENTRIES_PER_EPOCH", 1 << 15)
        yield


@pytest.mark.slow
def test_a_forecast_of_a_panel_and_of_an_assay_it_lacks(stores, tmp_path):
    like, other = stores
    seen, probed = [], []
    arguments = {"settings": SETTINGS, "draws": 1, "out": tmp_path / "kept"}
    found = plan(
        PANEL, like, other, **arguments, progress=lambda *counts: seen.append(counts), on_probe=probed.append
    )
    assert seen == [(1, 2), (2, 2)]
    assays = found.assays.set_index("assay")
    assert assays["unmeasured"].to_dict() == {"a0": 0, "a1": 0, "a2": 1, "a3": 4}
    assert assays["role"]["a3"] == "zero-shot"
    assert np.isfinite(assays["expected"]["a2"])
    assert found.curve["biosamples"].tolist() == [2, 4]
    assert {*zip(found.next["biosample"], found.next["assay"], strict=True)} == {
        ("t3", "a2"), *((f"t{b}", "a3") for b in range(4))
    }  # fmt: skip
    assert found.notes == [
        "rehearsed with models of kind context",
        "tracks were rehearsed once: a difference between two may be chance (--draws)",
    ]
    assert len(probed) == 1
    assert probed[0] > 0
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").glob("*.tsv")}
    assert len(kept) == 2
    assert not list((tmp_path / "kept").glob("*/"))  # models are deleted
    again = plan(PANEL, like, other, **arguments)
    assert again.tracks.equals(found.tracks)
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").glob("*.tsv")}


def test_the_time_is_estimated_by_the_first_rehearsal_that_trains(stores, monkeypatch):
    rows = [[1.0, 0, MEASURED, f"r{n}", "a2", 3, 3, 0.5, 0.1] for n in range(3)]
    tables = [pd.DataFrame(columns=COLUMNS), pd.DataFrame(rows, columns=COLUMNS)]
    timed = []

    def rehearsed(*arguments):
        timed.append(arguments[-1] is not None)
        return tables[min(len(timed) - 1, 1)]

    monkeypatch.setattr("epixs.guidance.plan._rehearsed", rehearsed)
    found = plan(PANEL, stores[0], draws=3, settings=SETTINGS, max_minutes=3, on_probe=lambda seconds: None)
    assert timed == [True, True, False]
    assert found.notes[-1].startswith(
        "rehearsed with models of kind context, trained for 0.5 minutes at most"
    )


def test_a_panel_that_the_reference_cannot_stand_for_is_refused_or_remarked(stores):
    like, _ = stores
    with pytest.raises(ConfigError, match=r"none of the panel's assays; got CAGE"):
        plan([("cattle", "liver", "CAGE")], like)
    with pytest.raises(ConfigError, match=r"got experiments of cattle, pig; expected of one species"):
        plan([("cattle", "liver", "a0"), ("pig", "liver", "a0")], like)
    with pytest.raises(ConfigError, match=r"got all 4 pairs .* left to impute.*further species .*--other"):
        plan([("cattle", f"t{b}", f"a{a}") for b in range(2) for a in range(2)], like)


@pytest.mark.slow
def test_the_command_line_shows_what_to_measure_next(stores, tmp_path):
    lines = ["species\tbiosample\tassay", *("\t".join(pair) for pair in [*PANEL, ("cattle", "t0", "odd")])]
    (tmp_path / "panel.tsv").write_text("\n".join(lines) + "\n")
    command = ["plan", tmp_path / "panel.tsv", "--like", stores[0], "--draws", "1", "--max-minutes", ".2"]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 0, result.output
    assert "of odd the reference says nothing" in result.output
    assert "next: a2 of t3, expected Pearson if it is imputed" in result.output
    result = CliRunner().invoke(app, [*map(str, command), "--json", "--out", str(tmp_path / "kept")])
    assert json.loads(result.stdout)["next"][0]["assay"] == "a2"


def test_a_panel_file_that_is_not_there_is_named(stores):
    result = CliRunner().invoke(app, ["plan", "nothing.tsv", "--like", str(stores[0])])
    assert "panel nothing.tsv does not exist" in f"{result.output}{result.exception}"
