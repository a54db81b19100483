"""Zero-shot tracks that hardly differ are named."""

import numpy as np
import xarray as xr

from epixs.imputation.alike import Alike, alike_in
from epixs.imputation.roles import GAP_FILL, ZERO_SHOT


def dataset(rows):
    """Rows of (biosample, assay, values)."""
    biosample, assay, values = zip(*rows, strict=True)
    names = {"biosample": list(biosample), "assay": list(assay), "status": ["ok"] * len(rows)}
    coords = {name: ("experiment", column) for name, column in names.items()}
    return xr.Dataset({"signal": (("experiment", "bin"), np.array(values, np.float32))}, coords=coords)


def test_tracks_that_hardly_differ_from_each_other_or_from_the_mean_are_named():
    a, b, c, d = np.random.default_rng(0).normal(size=(4, 500))
    imputed = dataset(
        [
            ("liver", "x", a), ("liver", "y", 2 + 3 * a + 0.1 * b), ("liver", "z", b),
            ("heart", "x", c + d), ("heart", "y", c), ("lung", "x", a), ("lung", "w", a),
        ]
    )  # fmt: skip
    roles = [ZERO_SHOT] * 6 + [GAP_FILL]
    observed = dataset([("heart", "p", 5 * c), ("heart", "q", d), ("lung", "p", b), ("heart", "r", 0 * c)])
    assert alike_in(imputed, observed, roles) == [
        Alike("liver", ("x", "y"), ()),
        Alike("heart", (), ("x",)),
    ]
