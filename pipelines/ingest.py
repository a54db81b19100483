"""Ingest every compendium that a TOML file names: `python pipelines/ingest.py pipelines/laptop.toml`."""

import contextlib
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import epixs


@contextlib.contextmanager
def connect(cluster: dict[str, Any]) -> Iterator[Any]:
    """Open a Dask client: on workers of this machine, a running scheduler, or jobs that Slurm starts."""
    if "slurm" not in cluster:
        with epixs.open_client(cluster.get("workers"), cluster.get("scheduler")) as client:
            yield client
        return
    from dask_jobqueue import SLURMCluster

    with SLURMCluster(**cluster["slurm"]) as slurm:
        slurm.scale(jobs=cluster["jobs"])  # started jobs work at once; others join when they start
        with epixs.open_client(scheduler=slurm.scheduler_address) as client:
            yield client


def main(settings_path: str) -> int:
    """Ingest each `[[compendium]]`; the exit code is 1 if an experiment could not be read."""
    path = Path(settings_path)
    settings = tomllib.loads(path.read_text())
    failed = 0
    with connect(settings.get("cluster", {})) as client:
        print("dashboard:", client.dashboard_link)
        for entry in settings["compendium"]:
            store = entry["store"] if "://" in entry["store"] else path.parent / entry["store"]
            regions = entry["regions"]
            table = epixs.ingest(
                path.parent / entry["catalog"],
                regions if regions == "genome" else path.parent / regions,
                store,
                species=entry.get("species"),
                uncovered=entry.get("uncovered", "zero"),
                client=client,
                progress=lambda p: print(f"\r{p.tiles_done}/{p.tiles} tiles", end="", flush=True),
            )
            for note in table.attrs.get("notes", ()):
                print("note:", note)
            print(f"\n{store}: {(table['status'] == 'ok').sum()} of {len(table)} experiments")
            for row in table[table["status"] != "ok"].itertuples():
                print(f"  {row.accession}: {row.status}", file=sys.stderr)
                failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    from step import run

    run(main, __doc__, ("compendium", "catalog", "regions", "store"))
