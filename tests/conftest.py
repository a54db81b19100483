"""A tiny simulated world, ingested and trained once for all tests."""

from __future__ import annotations

import os
import shutil
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.bigwigs import SIZES, write_intervals
from tests.patience import PATIENCE

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hypothesis
import numpy as np
import pandas as pd
import pytest

from epixs.catalog.experiments import read_catalog, write_catalog
from epixs.catalog.portal import select_experiments
from epixs.genome.assembly import Assembly
from epixs.genome.bed import make_regions, read_regions
from epixs.ingestion.run import ingest
from epixs.simulation.simulate import simulate
from epixs.storage import location

hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

REGIONS = [("chr1", 9_000, 10_010, "end"), ("chr2", 100, 1_000, "middle")]


@dataclass(frozen=True)
class World:
    folder: Path

    @property
    def catalog(self) -> Path:
        return self.folder / "catalog.tsv"

    def bed(self, species: str) -> Path:
        return self.folder / f"{species}.bed"

    def store(self, species: str) -> Path:
        return self.folder / f"{species}.zarr"

    @property
    def pairs(self) -> Path:
        return self.folder / "exclude.tsv"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two species' tracks, catalog and finished stores."""
    made = World(tmp_path_factory.mktemp("world"))
    simulate(made.folder, size="tiny", seed=1)
    write_catalog(select_experiments(made.folder / "metadata.tsv").table, made.catalog)
    for species in ("human", "mouse"):
        catalog = read_catalog(made.catalog, species)
        regions, _ = read_regions(made.bed(species), catalog.assembly)
        ingest(catalog, regions, made.store(species))
    return made


@pytest.fixture(scope="session")
def held_out(world: World):
    """Two mouse experiments that the trained model never saw, one of them zero-shot."""
    from epixs.axis.join import joint_axis

    table = joint_axis([world.store("mouse")]).parts[0].experiments
    counts = table["assay"].value_counts()
    common = next(a for a in counts.index if counts[a] >= 2)
    ep300 = "ChIP-seq_EP300_signal_p-value"
    pairs = [("mouse", b, ep300) for b in table.loc[table["assay"] == ep300, "biosample"]]
    pairs.append(("mouse", table.loc[table["assay"] == common, "biosample"].iloc[0], common))
    lines = ["species\tbiosample\tassay"] + ["\t".join(pair) for pair in pairs]
    world.pairs.write_text("\n".join(lines) + "\n")
    return pairs


@pytest.fixture(scope="session")
def trained(world: World, held_out):
    """A joint model of both species, briefly trained."""
    from epixs.axis.join import joint_axis
    from epixs.models.folder import open_model
    from epixs.models.settings import make_settings
    from epixs.training.run import train

    axis = joint_axis([world.store("mouse"), world.store("human")], held_out)
    config = make_settings("avocado", hidden=(16, 16), epochs=3, batch_size=500, held_out=0.1)
    train(axis, config, world.folder / "model")
    return open_model(world.folder / "model")


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of a trained model's folder."""
    for name in ("model.keras", "model.json"):
        shutil.copy(trained.folder / name, tmp_path)
    return tmp_path


@pytest.fixture
def write_bigwig(tmp_path: Path):
    """Write intervals `(chrom, start, end, value)` as a bigWig."""

    def write(name: str, intervals, sizes=SIZES) -> Path:
        return write_intervals(tmp_path / name, intervals, sizes)

    return write


@pytest.fixture
def panel(write_bigwig, tmp_path):
    """Three tracks, two of them in one biosample, over two regions; returns catalog and regions."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(3):
        steps = [("chr1", 20 * i, 20 * i + 15, float(rng.random() * 9)) for i in range(400, 500)]
        steps += [("chr2", 30 * i, 30 * i + 30, float(rng.random())) for i in range(100)]
        path = write_bigwig(f"{index}.bw", steps)
        rows.append(
            {
                "species": "tiny",
                "assembly": "small",
                "biosample": f"b{index // 2}",
                "assay": f"a{index % 2}",
                "assay_class": "histone",
                "accession": f"A{index}",
                "output_type": "signal p-value",
                "path": path.name,
            }
        )
    (tmp_path / "small.chrom.sizes").write_text("".join(f"{c}\t{n}\n" for c, n in SIZES.items()))
    pd.DataFrame(rows).to_csv(tmp_path / "catalog.tsv", sep="\t", index=False)
    regions, _ = make_regions(Assembly("small", SIZES), REGIONS)
    return read_catalog(tmp_path / "catalog.tsv"), regions


@pytest.fixture
def s3(monkeypatch):
    """An S3 server on loopback with an empty bucket `tracks`, as the environment says; its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT": f"http://{host}:{port}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    # All servers of a process share what they hold: forget what earlier tests put there.
    for path, method in (("moto-api/reset", "POST"), ("tracks", "PUT")):
        request = urllib.request.Request(f"http://{host}:{port}/{path}", data=b"", method=method)
        urllib.request.urlopen(request, timeout=PATIENCE).close()
    location.objects.cache_clear()
    yield host, port
    server.stop()
