import numpy as np

from epixs.genome.regions import Regions
from epixs.report.comparison import Comparison, Track
from epixs.report.loci import LARGEST_ERROR, MOST_SIGNAL, WINDOW, Windows, chosen_places

REGIONS = Regions(
    "small",
    ("a", "b", "c"),
    ("chr2", "chr1", "chr2"),
    (WINDOW - 50, 0, 2 * WINDOW),
    (WINDOW + 50, 75, 2 * WINDOW + 50),
)


class Pair(Comparison):
    """Values given as one block over `REGIONS`."""

    def __init__(self, observed, imputed):
        object.__setattr__(self, "found", {"observed": observed, "imputed": imputed})
        object.__setattr__(self, "regions", REGIONS)

    def blocks(self, track, bins=None):
        for first, stop in ((0, 5), (5, 9)):
            yield first, {name: values[first:stop] for name, values in self.found.items()}


def test_windows_lie_on_chromosomes_and_hold_bins_of_several_regions():
    numbers = Windows(REGIONS).of_bins(0, REGIONS.n_bins)
    assert numbers.tolist() == [0, 0, 1, 1, 3, 3, 3, 2, 2]
    for number in range(4):
        assert Windows(REGIONS).bins(number).tolist() == np.flatnonzero(numbers == number).tolist()


def test_the_places_with_most_signal_and_with_the_largest_other_error_are_chosen():
    observed = np.float32([9, 0, 0, 0, 1, 1, 1, np.nan, 8])
    imputed = np.float32([0, 0, 0, 2, 1, 1, 4, 50, np.nan])
    found = dict(chosen_places(Pair(observed, imputed), Track("x", "A", 0, 0, ())))
    assert found[MOST_SIGNAL].bins.tolist() == [0, 1]
    assert found[LARGEST_ERROR].bins.tolist() == [4, 5, 6]


def test_a_perfect_track_has_no_place_of_error_and_one_without_values_none():
    values = np.ones(9, np.float32)
    assert [why for why, _ in chosen_places(Pair(values, values), Track("x", "A", 0, 0, ()))] == [MOST_SIGNAL]
    assert list(chosen_places(Pair(values * np.nan, values), Track("x", "A", 0, 0, ()))) == []
