import numpy as np
import pytest

from epixs.axis.join import joint_axis
from epixs.axis.serialize import axis_to_dict
from epixs.catalog.experiments import read_catalog
from epixs.errors import AxisError, StoreError
from epixs.genome.bed import read_regions
from epixs.ingestion.run import ingest


@pytest.fixture(scope="module")
def axis(world):
    return joint_axis([world.store("mouse"), world.store("human")])


def test_assays_are_shared_and_biosamples_are_not(axis):
    assert axis.species == ("mouse", "human")
    assert "ChIP-seq_H3K9me3_signal_p-value" in axis.assays  # only human has it
    assert axis.n_biosamples == 3 + 4
    first = axis.biosample_index("human", ["simulated-human-00"])
    assert first.tolist() == [3]
    assert axis.part("mouse").n_positions[0] == 2_000


def test_coarse_positions_stay_inside_regions(axis):
    part = axis.part("human")  # regions of 1,500 and 1,510 bins
    assert part.n_positions == (3_010, 150 + 151, 8 + 8)
    positions = part.positions(np.arange(3_010))
    for column, width in ((1, 10), (2, 200)):
        expected, at = [], 0
        for size in (1_500, 1_510):  # oracle: count inside each region
            expected += [at + offset // width for offset in range(size)]
            at = expected[-1] + 1
        assert positions[:, column].tolist() == expected
    assert axis.offsets("human").tolist() == list(axis.part("mouse").n_positions)
    assert axis.offsets("mouse").tolist() == [0, 0, 0]


def test_excluded_experiments_are_missing_pairs(axis):
    pair = next(("mouse", b, a) for b, a in axis.part("mouse").experiments[["biosample", "assay"]].to_numpy())
    less = axis.exclude([pair])
    assert less.n_training == axis.n_training - 1 == less.n_experiments - 1
    assert pair in less.missing_pairs("mouse")
    assert pair not in axis.missing_pairs("mouse")
    assert len(less.all_pairs("mouse")) == 3 * len(axis.assays)
    assert axis.n_training == axis.n_experiments  # the original is as it was


def test_excluding_what_is_not_there(axis):
    with pytest.raises(AxisError, match="1 excluded pair.*got mouse / nobody / nothing: unknown biosample"):
        axis.exclude([("mouse", "nobody", "nothing")])
    with pytest.raises(AxisError, match=r"unknown species 'mose' \(did you mean 'mouse'\?\)"):
        axis.exclude([("mose", "nobody", "nothing")])


def test_excluding_everything(axis):
    pairs = [
        (part.species, b, a)
        for part in axis.parts
        for b, a in part.experiments[["biosample", "assay"]].to_numpy()
    ]
    with pytest.raises(AxisError, match="every experiment is excluded"):
        axis.exclude(pairs)


def test_a_species_comes_once(world):
    with pytest.raises(AxisError, match="species given twice; got mouse"):
        joint_axis([world.store("mouse"), world.store("mouse")])
    with pytest.raises(AxisError, match="no compendium"):
        joint_axis([])
    with pytest.raises(StoreError, match="does not exist"):
        joint_axis(["nowhere.zarr"])


def test_rows_that_could_not_be_read_take_no_part(world, tmp_path):
    catalog = read_catalog(world.catalog, "mouse")
    catalog.experiments.loc[catalog.experiments.index[2], "path"] = str(tmp_path / "gone.bw")
    regions, _ = read_regions(world.bed("mouse"), catalog.assembly)
    ingest(catalog, regions, tmp_path / "a.zarr")
    part = joint_axis([tmp_path / "a.zarr"]).parts[0]
    assert 2 not in part.experiments["row"].tolist()
    assert len(part.experiments) == len(catalog.experiments) - 1


def test_whole_experiments_are_held_out_by_seed_and_leave_others_of_their_labels(axis):
    held = axis.hold_out(4, seed=1)
    assert held.n_held_out == 4
    assert held.n_training == axis.n_training - 4
    assert (
        axis_to_dict(held) == axis_to_dict(axis.hold_out(4, seed=1)) != axis_to_dict(axis.hold_out(4, seed=2))
    )
    for part in held.parts:
        hidden = part.experiments[part.experiments["held_out"]]
        assert set(hidden["biosample"]) <= set(part.training["biosample"])
        assert set(hidden["assay"]) <= set(part.training["assay"])
    alone = held.held_out_alone()
    assert alone.n_training == 4
    assert alone.n_held_out == 0
    assert axis.hold_out(0, seed=1) is axis
    with pytest.raises(AxisError, match=r"held_out_tracks; got 999; expected at most \d+"):
        axis.hold_out(999, seed=1)
