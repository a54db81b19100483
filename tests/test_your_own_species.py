"""The page for people whose species epixs does not know, run word by word on a small draft assembly."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
import xarray as xr

PAGE = Path(__file__).parents[1] / "docs" / "your-own-species.md"
SIZES = {"1": 200_000, "2": 120_000, "MT": 16_010} | {f"KZ{i:06d}.1": 300 + i for i in range(200)}
MARKS = ("H3K4me3", "H3K4me1", "H3K27me3", "H3K36me3")
TISSUES = ("liver", "heart", "tail")
QUICK = "[model]\ntoken = 8\nheads = 2\nhidden = [16]\nmembers = 2\n[training]\nepochs = 1\n"


def steps():
    """What the page has one paste, in its order."""
    return re.findall(r"^```bash[^\n]*\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


def write_tracks(folder):
    """Bumps that the marks share, in files whose chromosomes have Ensembl names."""
    generator = np.random.default_rng(4)
    bumps = {c: np.repeat(generator.gamma(0.4, 3, n // 500 + 1), 20)[: -(-n // 25)] for c, n in SIZES.items()}
    for tissue in TISSUES:
        for shift, mark in enumerate(MARKS):
            with pyBigWig.open(str(folder / f"{tissue}_{mark}.bw"), "w") as file:
                file.addHeader(list(SIZES.items()))
                for chrom, level in bumps.items():
                    starts = np.arange(level.size) * 25
                    values = np.roll(level, 3 * shift) * generator.gamma(4, 0.25, level.size)
                    file.addEntries(
                        [chrom] * starts.size, starts.tolist(),
                        ends=np.minimum(starts + 25, SIZES[chrom]).tolist(), values=values.tolist(),
                    )  # fmt: skip


@pytest.fixture
def newt(world, tmp_path):
    """A folder with what the page takes for granted: bigWigs, their table, a `.fai`, human tracks."""
    (tmp_path / "tracks").mkdir()
    write_tracks(tmp_path / "tracks")
    example = re.search(r"```\n(species\tassembly.*?)```", PAGE.read_text(), re.S).group(1)
    header, row = example.splitlines()
    rows = [row.replace("liver", tissue).replace("H3K4me3", mark) for tissue in TISSUES for mark in MARKS]
    (tmp_path / "newt.tsv").write_text("\n".join([header, *rows]) + "\n")
    (tmp_path / "sizes").write_text("".join(f"{chrom}\t{size}\t0\t60\t61\n" for chrom, size in SIZES.items()))
    (tmp_path / "human.tsv").write_text(
        world.catalog.read_text().replace("\ttracks/", f"\t{world.folder}/tracks/")
    )
    (tmp_path / "catalog" / "regions").mkdir(parents=True)
    regions = tmp_path / "catalog" / "regions" / "encode_pilot.hg38.bed"
    regions.write_text(world.bed("human").read_text())
    (tmp_path / "quick.toml").write_text(QUICK)
    return tmp_path


@pytest.mark.slow
def test_the_page_leads_from_bigwigs_to_a_track_that_nobody_measured(newt):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quiet = {"PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = steps()
    assert len(done) == 7
    said = ""
    for step in done:
        # A model of the default size is trained in minutes: here a small one.
        quick = re.sub(r"^epixs train ", "epixs train --config quick.toml ", step, flags=re.M)
        train_first = "epixs train human.zarr --config quick.toml --out human-model\nepixs extend "
        quick = re.sub(r"^epixs extend ", train_first, quick, flags=re.M)
        quick = re.sub(r"^epixs plan ", "epixs plan --draws 1 --max-minutes .4 ", quick, flags=re.M)
        ran = subprocess.run(
            ["bash", "-euc", quick], cwd=newt, env=os.environ | quiet, capture_output=True, text=True
        )
        assert ran.returncode == 0, f"{quick}\n{ran.stdout}\n{ran.stderr}"
        said += ran.stdout
    imputed = xr.open_zarr(newt / "newt.imputed.zarr")
    assert imputed.signal.shape == (1, 200_000 // 25 + 120_000 // 25)
    assert np.isfinite(imputed.signal.to_numpy()).all()
    assert (newt / "liver.png").stat().st_size > 10_000
    (track,) = (newt / "for-browsers").glob("newt.liver.ChIP-seq_H3K27ac*.imputed.*.bigWig")
    with pyBigWig.open(str(track)) as file:
        assert file.chroms() == {"1": 200_000, "2": 120_000}
        got = file.values("2", 0, 120_000, numpy=True)[::25]
    np.testing.assert_array_equal(got, imputed.signal.to_numpy()[0, 200_000 // 25 :])
    assert "imputed better than" in said
    assert "experiments to perform next" in said
    assert len((newt / "hidden.tsv").read_text().splitlines()) == 1 + len(TISSUES)
