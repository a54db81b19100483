import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epixs.axis.join import joint_axis
from epixs.errors import ConfigError
from epixs.sampling.order import mixed_order, species_shares, visits_of


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 30)), min_size=1, max_size=4), st.integers(0, 99))
def test_every_bin_of_a_span_comes_before_any_comes_again(spans, seed):
    starts = np.cumsum([0, *(size for size, _ in spans)])
    bins = [np.arange(size, dtype=np.int32) + start for (size, _), start in zip(spans, starts, strict=False)]
    visits = [wanted for _, wanted in spans]
    order, before = mixed_order(bins, visits, np.random.default_rng(seed))
    before = np.zeros(order.size, np.int64) if before is None else before
    for span, wanted in zip(bins, visits, strict=True):
        mine = np.isin(order, span)
        assert mine.sum() == wanted
        for visit in range(-(-wanted // span.size)):
            came = order[mine & (before == visit)]
            assert len(set(came.tolist())) == came.size == min(span.size, wanted - visit * span.size)


def test_the_order_is_mixed_and_that_of_the_seed():
    spans = [np.arange(1_000, dtype=np.int32)]
    one, two, three = (mixed_order(spans, [1_000], np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, three)
    assert abs(np.corrcoef(one, np.arange(1_000))[0, 1]) < 0.2


def test_shares_are_by_bins_balanced_or_given():
    sizes = np.array([300.0, 100.0])
    assert species_shares("by_bins", ["a", "b"], sizes).tolist() == [0.75, 0.25]
    assert species_shares("balanced", ["a", "b"], sizes).tolist() == [0.5, 0.5]
    assert species_shares("b=4, a=1", ["a", "b"], sizes).tolist() == [0.2, 0.8]


@pytest.mark.parametrize("weight", ["", "a=1", "a=1,b=0", "a=1,b=nan", "a=1,b=x", "a=1,b=1,c=1"])
def test_other_shares_are_refused(weight):
    with pytest.raises(ConfigError, match="by_bins, balanced, or a positive number for each: a=1, b=1"):
        species_shares(weight, ["a", "b"], np.ones(2))


def test_a_species_without_training_experiments_is_not_visited(world):
    axis = joint_axis([world.store("mouse"), world.store("human")])
    labels = axis.part("mouse").experiments[["biosample", "assay"]].to_numpy()
    assert visits_of(axis, "by_bins") == {part.species: part.n_positions[0] for part in axis.parts}
    alone = axis.exclude([("mouse", *map(str, row)) for row in labels])
    assert visits_of(alone, "balanced") == {"human": axis.part("human").n_positions[0]}
