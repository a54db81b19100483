"""Run what people write with xarray on each way of opening a store; put the table of it into `xarray.md`.

`python docs/make_idioms.py` makes the table. An idiom works where it gives, without a warning, what it
gives of a Dataset in memory. Ways that promise to need no epixs are tried where it cannot be imported.
"""

import json
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("xarray.md")
OPEN_WAYS = {
    "xr.open_zarr(path)": False,
    "xr.open_zarr(path, chunks=None)": False,
    'xr.open_dataset(path, engine="epixs")': True,
    "epixs.open_compendium(path)": True,
}
"""Ways of opening a store, and whether epixs must be installed."""

IDIOMS = (
    'observed.sel(experiment="liver / H3K4me3")',
    'observed.isel(experiment=observed.experiment.str.startswith("liver / "))',
    'observed.sel(experiment=observed.assay == "H3K4me3")',
    'observed.isel(experiment=observed.assay == "H3K4me3")',
    'observed.where(observed.assay == "H3K4me3", drop=True)',
    "observed.query(experiment=\"assay == 'H3K4me3'\")",
    'observed.signal.groupby("assay").mean()',
    'observed.set_xindex("assay").sel(assay="H3K4me3")',
    'observed.set_xindex("assay").signal.groupby("assay").mean()',
    'observed.set_index(experiment=["biosample", "assay"]).unstack("experiment").signal',
    "observed.signal - imputed.signal",
    'xr.concat([observed, imputed], "experiment")',
    'xr.merge([observed.signal.rename("observed"), imputed.signal.rename("imputed")],'
    ' join="outer", compat="override")',
    'xr.concat([observed, imputed.drop_sel(experiment=observed.experiment, errors="ignore")], "experiment")',
    "observed.signal.combine_first(imputed.signal)",
    "observed.signal.isel(bin=slice(0, 9)).to_dataframe()",
    'observed.to_netcdf("a.nc")',
    'observed.to_zarr("a.zarr")',
    'observed.isel(bin=slice(1_000, 39_000)).to_zarr("b.zarr", align_chunks=True)',
)


def make_stores(folder: Path) -> None:
    """Write an observed and an imputed store of several chunks and shards, with one pair in common."""
    import numpy as np
    import pandas as pd

    from epixs.compendium.create import create_store
    from epixs.compendium.plan import Plan
    from epixs.compendium.schema import EXPERIMENT_LABELS
    from epixs.compendium.summary import row_statistics
    from epixs.compendium.write import finalise, write_block
    from epixs.genome.assembly import Assembly
    from epixs.genome.bed import make_regions
    from epixs.storage.ledger import Record, write_record

    bins = 40_000
    regions, _ = make_regions(Assembly("small", {"chr1": 25 * bins}), [("chr1", 0, 25 * bins, "all")])
    biosamples, assays = (
        ("heart", "liver", "lung", "brain"),
        ("H3K4me3", "H3K27ac", "H3K27me3", "CTCF", "DNase"),
    )
    pairs = [(biosample, assay) for biosample in biosamples for assay in assays]
    for kind, mine in (("observed", pairs[:18]), ("imputed", pairs[17:])):
        table = pd.DataFrame({v.name: [""] * len(mine) for v in EXPERIMENT_LABELS})
        table["biosample"], table["assay"] = zip(*mine, strict=True)
        table["accession"], table["source_size"] = [f"{kind}{i}" for i in range(len(mine))], 1
        plan = Plan(kind, "mouse", table, regions, "zero", {})
        store = create_store(folder / f"{kind}.zarr", plan)
        values = np.random.default_rng(len(mine)).random((len(mine), bins), dtype=np.float32)
        for tile in plan.tiles():
            block = values[tile.first_row : tile.stop_row, tile.first_bin : tile.stop_bin]
            write_block(store, tile, list(block))
            write_record(store, tile.key, Record("f", [row_statistics(row, 25, 25) for row in block]))
        finalise(store, plan, lambda tile, record: True)


def failures(way: str, folder: Path) -> dict[str, str]:
    """Run each idiom; returns what went wrong with each, nothing where it works."""
    import xarray as xr

    known = {"xr": xr}
    if OPEN_WAYS[way]:
        import epixs

        known["epixs"] = epixs

    def opened(name: str) -> Any:
        return eval(way, {**known, "path": str(folder / f"{name}.zarr")})

    def result(idiom: str, names: dict[str, Any]) -> Any:
        with tempfile.TemporaryDirectory() as scratch:
            code = re.sub(r'"(\w\.(?:nc|zarr))"', lambda found: repr(f"{scratch}/{found[1]}"), idiom)
            given = eval(code, {**known, **names})
            if "to_netcdf" in code:
                given = xr.open_dataset(f"{scratch}/a.nc")
            elif "to_zarr" in code:
                given = xr.open_zarr(next(Path(scratch).iterdir()), chunks=None)
            return given.load() if hasattr(given, "load") else given.to_xarray()

    names = ("observed", "imputed")
    memory = {name: xr.open_zarr(folder / f"{name}.zarr", chunks=None).load() for name in names}
    found = {}
    for idiom in IDIOMS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.filterwarnings("ignore", "Engine 'epixs' loading failed")  # as it is meant to
                warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")  # Zarr's own
                xr.testing.assert_allclose(
                    result(idiom, {name: opened(name) for name in names}), result(idiom, memory)
                )
            found[idiom] = ""
        except Exception as error:
            found[idiom] = f"{type(error).__name__}: {error}"
    return found


def run_apart(way: str, folder: Path) -> dict[str, str]:
    """As `failures`, in a process of its own that can import epixs only where the way needs it."""
    code = "import json, sys; from pathlib import Path; import make_idioms as made; "
    if not OPEN_WAYS[way]:
        code += "sys.modules['epixs'] = None; "
    code += f"print(json.dumps(made.failures({way!r}, Path({str(folder)!r})))); "
    if not OPEN_WAYS[way]:
        code += "assert not any(name.startswith('epixs.') for name in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=PAGE.parent
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def table(found: dict[str, dict[str, str]]) -> str:
    """The table in Markdown."""
    head = ["", *(f"`{way}`" for way in found)]
    lines = [head, ["---"] * len(head)]
    for idiom in IDIOMS:
        lines.append([f"`{idiom}`", *("no" if found[way][idiom] else "yes" for way in found)])
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def page(found: dict[str, dict[str, str]]) -> str:
    """The page, with this table in it."""
    between = r"(<!-- made by docs/make_idioms.py -->\n\n).*?(\n\n<!-- end -->)"
    text = PAGE.read_text(encoding="utf-8")
    return re.sub(between, lambda found_in: found_in[1] + table(found) + found_in[2], text, flags=re.S)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        make_stores(Path(made))
        found = {way: run_apart(way, Path(made)) for way in OPEN_WAYS}
    for way, each in found.items():
        for idiom, problem in each.items():
            if problem:
                print(f"{way}: {idiom}: {problem[:200]}", file=sys.stderr)
    PAGE.write_text(page(found), encoding="utf-8")
