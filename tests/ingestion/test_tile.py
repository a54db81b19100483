import itertools
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from epixs.compendium.create import create_store
from epixs.ingestion.plan import plan_ingest
from epixs.ingestion.tile import ingest_tiles, runs_of, tile_task
from epixs.storage.tiling import Tile
from epixs.tracks import Track


def test_a_run_of_tiles_opens_each_file_once(panel, tmp_path, monkeypatch):
    catalog, regions = panel
    monkeypatch.setattr("epixs.compendium.plan.CHUNK_BINS", 8)
    monkeypatch.setattr("epixs.compendium.plan.FEWEST_SHARD_CHUNKS", 1)
    plan = plan_ingest(catalog, regions)
    assert plan.grid == (1, 10)
    opened = []
    monkeypatch.setattr("epixs.tracks.opened.Track", lambda source: opened.append(source) or Track(source))
    tasks = [tile_task(plan, catalog.assembly, tile) for tile in plan.tiles()]
    (run,) = runs_of(tasks[:8], 1)[:1]
    assert len(run) == 2
    create_store(tmp_path / "a.zarr", plan)
    done = ingest_tiles(str(tmp_path / "a.zarr"), run)
    assert [result["tile"] for result in done] == [(0, 0), (0, 1)]
    assert sorted(opened) == sorted(catalog.experiments["path"])


@given(st.lists(st.integers(0, 30), max_size=5), st.integers(1, 9))
def test_runs_are_neighbours_of_one_row_group(tiles_of_groups, threads):
    tasks = [
        SimpleNamespace(tile=Tile(group, span, 0, 1, 0, 1))
        for group, count in enumerate(tiles_of_groups)
        for span in range(count)
    ]
    runs = runs_of(tasks, threads)
    assert list(itertools.chain(*runs)) == tasks
    assert all(len({task.tile.row_group for task in run}) == 1 for run in runs)
    assert max((len(run) for run in runs), default=1) <= max(1, len(tasks) // (4 * threads))
    assert len(runs) >= min(len(tasks), 4 * threads)
