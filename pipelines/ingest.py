"""Ingest every compendium that a TOML file names: `python pipelines/ingest.py pipelines/laptop.toml`."""

import sys
import tomllib
from pathlib import Path

import epixs


def main(settings_path: str) -> int:
    """Ingest each `[[compendium]]`; the exit code is 1 if an experiment could not be read."""
    path = Path(settings_path)
    settings = tomllib.loads(path.read_text())
    cluster = settings.get("cluster", {})
    failed = 0
    with epixs.open_client(cluster.get("workers"), cluster.get("scheduler")) as client:
        print("dashboard:", client.dashboard_link)
        for entry in settings["compendium"]:
            catalog = epixs.read_catalog(
                path.parent / entry["catalog"], entry.get("species"), check_files=False
            )
            regions, notes = epixs.read_regions(path.parent / entry["regions"], catalog.assembly)
            for note in notes:
                print("note:", note)
            table = epixs.ingest(
                catalog,
                regions,
                path.parent / entry["store"],
                uncovered=entry.get("uncovered", "zero"),
                client=client,
                progress=lambda p: print(f"\r{p.tiles_done}/{p.tiles} tiles", end="", flush=True),
            )
            print(f"\n{entry['store']}: {(table['status'] == 'ok').sum()} of {len(table)} experiments")
            for row in table[table["status"] != "ok"].itertuples():
                print(f"  {row.accession}: {row.status}", file=sys.stderr)
                failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
