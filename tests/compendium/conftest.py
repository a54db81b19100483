import numpy as np
import pandas as pd
import pytest

from epixs.catalog import read_catalog
from epixs.genome import Assembly, make_regions

SIZES = {"chr1": 10_010, "chr2": 5_000}
REGIONS = [("chr1", 9_000, 10_010, "end"), ("chr2", 100, 1_000, "middle")]


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
