import numpy as np
import pytest

from epixs.errors import RegionError
from epixs.exports.places import Place, blocks_of, coordinates, places_in_order, stretches_of
from epixs.genome.regions import Regions

SIZES = {"chr2": 1_010, "chr10": 500}


def regions(*rows):
    names, chroms, starts, ends = zip(*[(f"r{i}", *row) for i, row in enumerate(rows)], strict=True)
    return Regions("small", names, chroms, starts, ends)


HELD = regions(("chr10", 100, 200), ("chr2", 900, 1_010), ("chr2", 0, 50))


def test_places_are_in_the_order_of_the_assembly():
    assert places_in_order(HELD, SIZES) == [
        Place(0, 0, 50, 9),
        Place(0, 900, 1_010, 4),
        Place(1, 100, 200, 0),
    ]


def test_only_bins_that_other_regions_touch_too():
    only = regions(("chr2", 950, 1_010), ("chr10", 0, 125), ("chr10", 175, 500))
    assert places_in_order(HELD, SIZES, only) == [
        Place(0, 950, 1_010, 6), Place(1, 100, 125, 0), Place(1, 175, 200, 3),
    ]  # fmt: skip


@pytest.mark.parametrize("sizes", [{"chr2": 1_010}, {"chr2": 1_009, "chr10": 500}])
def test_sizes_of_another_assembly_are_refused(sizes):
    with pytest.raises(RegionError, match="--chrom-sizes"):
        places_in_order(HELD, sizes)


def test_of_regions_elsewhere_there_is_nothing():
    assert places_in_order(HELD, SIZES, regions(("chr2", 100, 200))) == []


@pytest.mark.parametrize("most", [1, 2, 3, 4, 100])
def test_blocks_hold_every_bin_once_with_its_coordinates(most):
    places = places_in_order(HELD, SIZES)
    found = []
    for block in blocks_of(places, most):
        chrom, start, end = coordinates(block)
        assert chrom.size <= most
        bins = np.concatenate([np.arange(*stretch) for stretch in stretches_of(block)])
        found += zip(chrom.tolist(), start.tolist(), end.tolist(), bins.tolist(), strict=True)
    table = HELD.table()
    chroms = list(SIZES)
    assert sorted(found, key=lambda row: row[3]) == [
        (chroms.index(row.chrom), row.start, row.end, row.bin) for row in table.itertuples()
    ]
    assert found == sorted(found)


def test_neighbours_in_the_store_are_read_together():
    block = [Place(0, 0, 50, 10), Place(1, 0, 60, 12), Place(2, 0, 25, 0)]
    assert stretches_of(block) == [(10, 15), (0, 1)]
