import numpy as np
import pytest
import xarray as xr

import epixs.compendium  # noqa: F401  (registers .epixs)
from epixs.compendium.read import open_compendium
from epixs.errors import EpixsWarning, RegionError, StoreError
from epixs.imputation.write import open_imputed

LOCUS = "chr21:20,002,500-20,004,000"


@pytest.fixture
def human(world):
    with xr.open_zarr(world.store("human")) as dataset:
        yield dataset


@pytest.fixture
def expected(human):
    """Select the locus by hand: the second region begins with bin 1,500."""
    return human.signal.to_numpy()[:, 1_500 + 100 : 1_500 + 160]


def test_bins_as_a_table(world):
    with xr.open_zarr(world.store("human")) as dataset:
        table = dataset.epixs.bins()
        assert list(table.columns) == ["bin", "chrom", "start", "end", "region"]
        assert len(table) == dataset.sizes["bin"]
        assert table.iloc[0].tolist() == [0, "chr20", 10_000_000, 10_000_025, "chr20-simulated"]
        assert table.iloc[1_500]["chrom"] == "chr21"
        assert dataset.epixs.bins([3])["start"].tolist() == [10_000_075]


def test_selection_by_locus(world):
    with xr.open_zarr(world.store("human")) as dataset:
        chosen = dataset.epixs.sel("chr21:20,000,010-20,000,100")
        assert chosen["bin"].to_numpy().tolist() == [1_500, 1_501, 1_502, 1_503]
        assert chosen["bin_start"].to_numpy()[0] == 20_000_000
        assert np.array_equal(chosen.signal.to_numpy(), dataset.signal[:, 1_500:1_504].to_numpy())
        assert chosen.epixs.bins()["end"].tolist()[-1] == 20_000_100
        assert dataset.epixs.sel("chr21").sizes["bin"] == 1_510
        with pytest.raises(RegionError, match=r"got 'chr1:0-100'.*expected a locus in chr20:10,000,000-"):
            dataset.epixs.sel("chr1:0-100")


def test_experiments_and_regions(world):
    with xr.open_zarr(world.store("mouse")) as dataset:
        assert dataset.epixs.regions.assembly == "mm10"
        assert (dataset.epixs.experiments["status"] == "ok").all()


@pytest.mark.parametrize(
    "cut",
    [
        lambda d: d.isel(bin=slice(1_000, 2_000)),
        lambda d: d.isel(bin=slice(None, None, -1)),
        lambda d: d.isel(bin=np.random.default_rng(0).permutation(d.sizes["bin"])),
        lambda d: d.isel(bin=np.r_[1_600:1_660, 5:9]),
        lambda d: d.epixs.sel("chr21:20,000,000-20,010,000"),
        lambda d: d.load().isel(bin=slice(1_599, 1_661)),
        lambda d: d.coarsen(bin=2, boundary="trim").construct(bin=("pair", "half")).stack(bin=("pair", "half"))
        .reset_index("bin"),
        lambda d: d * 1.0,
        lambda d: d.rolling(bin=1).mean(),
    ],
)  # fmt: skip
def test_a_locus_of_what_was_selected_before_is_the_locus(human, expected, cut):
    selected = cut(human).epixs.sel(LOCUS)
    assert np.array_equal(selected.signal.transpose("experiment", "bin").to_numpy(), expected)
    assert selected["bin"].to_numpy().tolist() == list(range(1_600, 1_660))
    assert selected["bin_start"].to_numpy()[0] == 20_002_500


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (lambda d: d.isel(bin=slice(None, None, 2)), "got 30 of its 60 bins"),
        (lambda d: d.isel(bin=slice(0, 1_650)), "got 50 of its 60 bins"),
        (lambda d: d.isel(bin=slice(0, 1_000)), "got 0 of its 60 bins"),
        (lambda d: d.isel(bin=[1_610, *range(1_600, 1_660)]), "some twice"),
        (lambda d: d.coarsen(bin=4, boundary="trim").mean(), "were merged.*bin_index of float64"),
        (lambda d: d.coarsen(bin=5, boundary="trim").mean(), "were merged"),
        (lambda d: d.drop_vars("bin_index"), "does not say which bins"),
        (lambda d: d.mean("bin"), "does not say which bins"),
    ],
)
def test_a_locus_of_which_bins_are_gone_is_refused(human, cut, message):
    with pytest.raises(RegionError, match=message):
        cut(human).epixs.sel(LOCUS)


def test_bins_are_those_that_a_dataset_holds(human):
    table = human.isel(bin=slice(1_510, 1_500, -1)).epixs.bins()
    assert table["bin"].tolist() == list(range(1_510, 1_500, -1))
    assert table["start"].tolist() == [20_000_000 + 25 * (b - 1_500) for b in range(1_510, 1_500, -1)]
    assert len(human.isel(bin=slice(0, 100)).epixs.bins()) == 100


def test_lazy_datasets_say_which_bins_they_hold(world, trained, held_out):
    lazy = open_imputed(trained, world.store("mouse"), pairs=held_out)
    stored = open_compendium(world.store("mouse"))
    place = stored.epixs.bins([40])
    locus = f"{place['chrom'][0]}:{place['start'][0]}-{place['end'][0] + 100}"
    assert lazy.isel(bin=slice(20, 100)).epixs.sel(locus)["bin"].to_numpy().tolist() == [40, 41, 42, 43, 44]


def test_a_dataset_without_its_region_table_says_so(human):
    with pytest.raises(StoreError, match="no region table"):
        human.signal.to_dataset().epixs.sel(LOCUS)


def test_a_locus_that_reaches_outside_the_regions_says_so(human):
    first = human.epixs.bins()["start"].iloc[0]
    chrom = human.epixs.bins()["chrom"].iloc[0]
    with pytest.warns(EpixsWarning, match="reaches outside the regions: 4 of its 44 bins are there"):
        selected = human.epixs.sel(f"{chrom}:{first - 1_000}-{first + 100}")
    assert selected.sizes["bin"] == 4


def test_a_locus_as_a_table(human, expected):
    table = human.epixs.to_dataframe(LOCUS)
    pairs = [f"{b} / {a}" for b, a in zip(human.biosample.to_numpy(), human.assay.to_numpy(), strict=True)]
    assert list(table.columns) == ["chrom", "start", "end", *pairs]
    assert table.iloc[0, :3].tolist() == ["chr21", 20_002_500, 20_002_525]
    assert np.array_equal(table[pairs].to_numpy(), expected.T)
    one = human.isel(experiment=3, bin=slice(1_600, 1_660)).epixs.to_dataframe()
    assert list(one.columns) == ["chrom", "start", "end", pairs[3]]
    assert np.array_equal(one[pairs[3]], expected[3])


def test_a_table_of_observed_and_imputed_tells_them_apart(human, expected):
    """Most tools would merge columns of the same name into one."""
    human = human.load()
    imputed = human.isel(experiment=[2]).assign_coords(accession=("experiment", ["imputed-1"]))
    both = xr.concat([human.isel(experiment=[1, 2]), imputed], "experiment")
    columns = list(both.epixs.to_dataframe(LOCUS).columns[3:])
    assert columns[2] == f"{columns[1]} / imputed-1"
    named = both.isel(experiment=[0, 1]).load().set_index(experiment=["biosample", "assay"])
    assert list(named.epixs.to_dataframe(LOCUS).columns[3:]) == columns[:2]


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.mean("experiment"),
        lambda d: d.drop_vars("assay"),
        lambda d: d.set_index(experiment=["biosample", "assay"]).unstack("experiment"),
    ],
)
def test_a_table_of_what_has_no_experiments_is_refused(human, change):
    with pytest.raises(StoreError, match="no rows of experiments"):
        change(human.isel(bin=slice(1_600, 1_660)).load()).epixs.to_dataframe()
