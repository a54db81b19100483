import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from epixs.cluster.tasks import Progress
from epixs.compendium.plan import Plan, choose_layout, experiment_names
from epixs.compendium.schema import EXPERIMENT_LABELS
from epixs.genome.assembly import Assembly
from epixs.genome.bed import make_regions
from epixs.storage.fingerprint import digest


def plan_of(n_experiments, n_bins, **changes):
    regions, _ = make_regions(Assembly("small", {"chr1": 25 * n_bins}), [("chr1", 0, 25 * n_bins, "all")])
    table = pd.DataFrame({v.name: [f"{v.name}{i}" for i in range(n_experiments)] for v in EXPERIMENT_LABELS})
    table["source_size"] = 1
    settings = {"kind": "observed", "species": "s", "uncovered": "zero", "provenance": {}} | changes
    return Plan(experiments=table, regions=regions, **settings)


@given(st.integers(1, 70), st.integers(1, 900_000))
def test_tiles_cover_every_value_once_and_are_whole_shards(n_experiments, n_bins):
    plan = plan_of(n_experiments, n_bins)
    tiles = list(plan.tiles())
    assert sum(tile.n_values for tile in tiles) == n_experiments * n_bins
    assert len({(t.row_group, t.bin_range) for t in tiles}) == len(tiles) == plan.grid[0] * plan.grid[1]
    layout = plan.layout
    assert layout.tile_bins % layout.chunk_bins == 0
    for tile in tiles:
        assert tile.first_row == tile.row_group * layout.chunk_rows
        assert tile.first_bin == tile.bin_range * layout.tile_bins
        assert tile.n_values > 0


def test_chunks_are_about_a_mebibyte_and_large_stores_get_large_shards():
    small, large = choose_layout(20, 1_000_000), choose_layout(5_000, 3_600_000)
    assert small.chunk_rows * small.chunk_bins * 4 == 1 << 20
    assert small.tile_bins * small.chunk_rows * 4 == 16 << 20
    assert 64 << 20 <= large.tile_bins * large.chunk_rows * 4 <= 128 << 20


def test_fingerprint_changes_with_what_decides_the_content():
    base = plan_of(3, 100)
    assert base.fingerprint == plan_of(3, 100).fingerprint
    others = [
        plan_of(4, 100),
        plan_of(3, 101),
        plan_of(3, 100, uncovered="nan"),
        plan_of(3, 100, provenance={"a": 1}),
    ]
    assert len({base.fingerprint, *(p.fingerprint for p in others)}) == 5


def test_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})


def test_progress_is_a_value():
    assert Progress(1, 2) == Progress(1, 2)


def test_each_experiment_has_a_name_of_its_own():
    rows = [
        ("liver", "H3K4me3", "A1"),  # removed, so the next row has the plain name
        ("liver", "H3K4me3", "A2"),
        ("a / b", "c", "A3"),
        ("a", "b / c", "A4"),  # another pair with the same text
    ]
    table = pd.DataFrame(rows, columns=["biosample", "assay", "accession"])
    assert experiment_names(table, {"A1": "why"}).tolist() == [
        "liver / H3K4me3 / A1",
        "liver / H3K4me3",
        "a / b / c",
        "a / b / c / A4",
    ]
    assert experiment_names(table[:1]).tolist() == ["liver / H3K4me3"]
