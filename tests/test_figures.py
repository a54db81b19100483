import pytest

from epixs.errors import AxisError, ConfigError, RegionError
from epixs.figures import plot_tracks
from epixs.imputation import impute

pytest.importorskip("matplotlib")


def test_picture_of_an_imputed_track_beside_the_observed_one(world, trained, held_out, tmp_path):
    impute(trained, world.store("mouse"), tmp_path / "i.zarr", pairs=held_out)
    _, biosample, assay = held_out[-1]
    what = {"biosample": biosample, "assay": assay}
    path = plot_tracks(
        tmp_path / "i.zarr",
        world.store("mouse"),
        locus="chr19:10,000,000-10,020,000",
        out=tmp_path / "a.png",
        **what,
    )
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert path.stat().st_size > 5_000
    with pytest.raises(RegionError, match="no bin"):
        plot_tracks(
            tmp_path / "i.zarr", world.store("mouse"), locus="chr1:0-100", out=tmp_path / "b.png", **what
        )
    with pytest.raises(AxisError, match="does not hold the experiment; got nobody"):
        plot_tracks(
            tmp_path / "i.zarr",
            world.store("mouse"),
            biosample="nobody",
            assay=assay,
            locus="chr19",
            out=tmp_path / "b.png",
        )
    with pytest.raises(
        ConfigError, match=r"picture; got .*a\.doc; expected a name that ends with one of \.png"
    ):
        plot_tracks(tmp_path / "i.zarr", world.store("mouse"), locus="chr19", out=tmp_path / "a.doc", **what)
