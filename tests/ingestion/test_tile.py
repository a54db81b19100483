from epixs.compendium.create import create_store
from epixs.ingestion.plan import plan_ingest
from epixs.ingestion.tile import ingest_tiles, tile_task
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
    done = ingest_tiles(create_store(tmp_path / "a.zarr", plan), tasks[:2])
    assert [record.fingerprint for record in done] == [task.fingerprint() for task in tasks[:2]]
    assert sorted(opened) == sorted(catalog.experiments["path"])
