"""Export rows of compendia as bigWigs, alone or with a track hub. A second run only writes missing files."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from epixs.catalog.pairs import Pair
from epixs.cluster.tasks import Progress, n_threads, run_tasks
from epixs.errors import ConfigError, RegionError, a_few
from epixs.exports.hub import is_email, write_hub
from epixs.exports.names import safe_names
from epixs.exports.places import Place, n_outside, places_in_order
from epixs.exports.source import LINES, Source, choose_rows, open_export_source
from epixs.exports.table import TABLE, read_table, tracks_table, write_table
from epixs.exports.tracks import TrackTask, sweep, write_tracks
from epixs.genome.assembly import Assembly, find_assembly, load_assembly
from epixs.genome.bed import read_regions
from epixs.genome.regions import Regions
from epixs.storage.fingerprint import digest
from epixs.storage.location import is_url
from epixs.storage.lock import writing

FORMAT = 1
"""Version of the files' format. It changes whenever the same signal would give other files."""

ROWS_AT_ONCE = 16
"""Maximum number of rows that are read together: those of a chunk."""


@dataclass(frozen=True, eq=False)
class _Target:
    """One row (or an end of its interval), the name of its file, and all that the file depends on."""

    source: Source
    row: int
    line: str
    file: str
    places: list[Place]
    assembly: Assembly
    fingerprint: str


def export(
    compendia: str | Path | xr.Dataset | Sequence[str | Path | xr.Dataset],
    *,
    bigwig: str | Path | None = None,
    hub: str | Path | None = None,
    raw: bool = False,
    interval: bool = False,
    biosamples: Collection[str] = (),
    assays: Collection[str] = (),
    pairs: Collection[Pair] | None = None,
    regions: str | Path | None = None,
    assembly: Assembly | None = None,
    two_bit: str | Path | None = None,
    email: str | None = None,
    client: Any = None,
    progress: Callable[[Progress], None] | None = None,
) -> pd.DataFrame:
    """Write tracks of compendia as bigWigs, alone or with a track hub. A second run resumes the first.

    A file has one value per 25 bp bin, in genome order. Neighbours with the same value are one item; bins
    without a value, or outside the regions, are absent. Files never exist in part.

    Parameters
    ----------
    compendia
        Stores, observed or imputed; or Datasets from `open_compendium` or `open_imputed`. Lazy Datasets are
        computed as they are written.
    bigwig
        Folder for bigWigs: new, empty, or of an earlier export.
    hub
        Folder for a track hub with its bigWigs, instead.
    raw
        Write the tracks' own units, the hyperbolic sine of the stored values. By default files hold arcsinh
        units, in which weak and strong signal are both visible. File names say which.
    interval
        Also write the ends of the interval that holds 80 % of the bins, as separate files, for imputed tracks
        whose store has a `spread`.
    biosamples, assays, pairs
        Experiments to write; by default all readable ones. Each argument restricts the choice further.
    regions
        BED file: write only bins that its intervals touch.
    assembly
        Chromosome sizes of a genome that epixs does not know; by default, of the chromosomes in the store.
    two_bit
        For a hub, the sequence of a genome that UCSC does not know; without it, the hub has a genome of N.
    email
        For a hub, the address to contact about it.
    client
        A `distributed.Client` or a `concurrent.futures.ThreadPoolExecutor`; by default this process.
    progress
        Called with the number of bins written so far, and of all bins.

    Returns
    -------
    One row per file, as in `tracks.tsv` in the folder: labels, `low` and `high` (a range for display), and
    the number of `bases` with a value. `attrs["notes"]` says which rows were left out.

    Raises
    ------
    AxisError
        If a biosample, an assay or a pair is in no compendium.
    RegionError
        If chromosome sizes are not known or do not fit, or no bin is left.
    ConfigError
        If the folder is missing or holds something else.
    StoreError
        If a compendium is unfinished or damaged.

    Examples
    --------
    >>> import epixs
    >>> files = epixs.simulate("world", size="tiny")
    >>> chosen = epixs.make_catalog("world/metadata.tsv", "catalog.tsv")
    >>> table = epixs.ingest("catalog.tsv", "world/mouse.bed", "mouse.zarr", species="mouse")
    >>> tracks = epixs.export("mouse.zarr", bigwig="tracks", biosamples=["simulated-mouse-00"])
    >>> tracks["file"][0]
    'mouse.simulated-mouse-00.ChIP-seq_H3K4me3_signal_p-value.observed.arcsinh.bigWig'
    """
    folder = _folder(bigwig, hub)
    if email is not None and not is_email(email):
        raise ConfigError("email", got=repr(email), expected="an address such as me@lab.org")
    several: Sequence[Any] = compendia if isinstance(compendia, (list, tuple)) else [compendia]
    sources = [open_export_source(compendium) for compendium in several]
    rows, notes = choose_rows(sources, biosamples=biosamples, assays=assays, pairs=pairs)
    lines = _lines(sources, interval=interval)
    assemblies = {source.regions.assembly: assembly_of(source, assembly) for source in sources}
    only = {name: read_regions(regions, known)[0] if regions else None for name, known in assemblies.items()}
    for name, wanted in only.items():
        held = [source.regions for source in sources if source.regions.assembly == name]
        outside = n_outside(wanted, held) if wanted else 0
        if wanted and outside:
            notes.append(
                f"{regions}: {outside:,} of {len(wanted):,} regions lie in no store: nothing of them"
            )
    targets = _targets(sources, rows, lines, assemblies, only, raw=raw, subfolders=hub is not None)
    if not targets:
        raise RegionError(
            f"none of the regions of {regions} lies in {a_few([source.name for source in sources])}",
            next_step="`epixs info` shows the first loci of a store",
        )
    with writing(folder):
        folder.mkdir(exist_ok=True)
        before = read_table(folder)
        sweep(folder)
        written = {name: record for name, record in before.items() if (folder / name).is_file()}
        write_table(folder, written.values())
        kept = {
            target.file: written[target.file] | {"role": target.source.role(target.row)}
            for target in targets
            if _is_there(folder, target, written)
        }
        written |= kept
        pending = [target for target in targets if target.file not in kept]
        replaced = [target.file for target in pending if target.file in written]
        empty: dict[tuple[str, str], list[str]] = {}
        for target, summary in _write(folder, pending, client, progress, raw=raw):
            if summary is None:
                written.pop(target.file, None)
                (folder / target.file).unlink(missing_ok=True)  # of an earlier export
                labels = target.source.labels.loc[target.row]
                what = "value there" if target.line == "signal" else "interval known"
                pairs_of = empty.setdefault((target.source.name, what), [])
                pairs_of.append(f"{labels['biosample']} {labels['assay']}")
            else:
                kept[target.file] = written[target.file] = _record(target, summary, raw=raw)
            write_table(folder, written.values())
        if replaced:
            notes.append(
                f"{len(replaced)} files of an earlier export, of other regions or values, were replaced: "
                + a_few(replaced)
            )
        for (name, what), pairs_of in empty.items():
            some = list(dict.fromkeys(pairs_of))
            notes.append(f"{name}: no {what}, so no file, for {len(some)} of its tracks: {a_few(some)}")
        table = tracks_table(kept[target.file] for target in targets if target.file in kept)
        if hub is not None:
            used = {name: assemblies[name] for name in dict.fromkeys(table["assembly"])}
            begin = {target.assembly.name: _first_place(target) for target in reversed(targets)}
            notes += write_hub(folder, table, used, begin, two_bit=two_bit, email=email)
    table.attrs["notes"] = notes
    return table


def _first_place(target: _Target) -> str:
    """Write the first bins of a target as a locus of up to 100 kb."""
    place = target.places[0]
    chrom = list(target.assembly.chrom_sizes)[place.chrom]
    return f"{chrom}:{place.start + 1}-{min(place.end, place.start + 100_000)}"


def _folder(bigwig: str | Path | None, hub: str | Path | None) -> Path:
    """Check the folder to write to, and return it."""
    if (bigwig is None) == (hub is None):
        got = "neither" if bigwig is None else "both: a hub has its own bigWigs"
        raise ConfigError("--bigwig and --hub", got=got, expected="one of them")
    given = str(bigwig if hub is None else hub)
    if is_url(given):
        raise ConfigError(
            "tracks", got=given, expected="a local folder", next_step="copy the folder when it is whole"
        )
    folder = Path(given)
    if not folder.parent.is_dir():
        raise ConfigError(f"folder {folder}: no folder {folder.parent}", next_step="make that folder first")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file", expected="a folder for tracks")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / TABLE).is_file():
        raise ConfigError(
            f"{folder} is not empty",
            expected="a new or empty folder, or one with tracks of an earlier export",
            next_step="name another folder",
        )
    return folder


def assembly_of(source: Source, given: Assembly | None) -> Assembly:
    """Find the chromosome sizes of a source's assembly: given, known, beside its store, or kept in it."""
    regions = source.regions
    name = regions.assembly
    if given is not None:
        return Assembly(name, given.chrom_sizes)
    beside = Path(source.held).parent if isinstance(source.held, str) and not is_url(source.held) else None
    known = find_assembly(name, beside)
    if known.chrom_sizes:
        return known
    if set(regions.chrom_sizes) == set(regions.chrom):
        return Assembly(name, regions.chrom_sizes)
    return load_assembly(name, beside)  # raises, and lists the known ones


def _lines(sources: Sequence[Source], *, interval: bool) -> list[tuple[str, ...]]:
    """List the lines (signal, ends of its interval) to write per row of each source."""
    if interval and not any(source.has_spread for source in sources):
        raise ConfigError(
            "--interval",
            got="no store with a `spread`",
            expected="an imputed store with `spread`, as models of kind context write it",
        )
    return [tuple(LINES) if interval and source.has_spread else ("signal",) for source in sources]


def _targets(
    sources: Sequence[Source],
    rows: Sequence[Sequence[int]],
    lines: Sequence[Sequence[str]],
    assemblies: Mapping[str, Assembly],
    only: Mapping[str, Regions | None],
    *,
    raw: bool,
    subfolders: bool,
) -> list[_Target]:
    """List all rows to write, with their files."""
    folders = dict(zip(assemblies, safe_names(list(assemblies)), strict=True))
    wanted = [
        (source, row, line)
        for source, its_rows, its_lines in zip(sources, rows, lines, strict=True)
        for row in its_rows
        for line in its_lines
    ]
    names = iter(safe_names([_label(*one, raw=raw) for one in wanted]))
    targets = []
    for source, its_rows, its_lines in zip(sources, rows, lines, strict=True):
        known = assemblies[source.regions.assembly]
        if not its_rows:
            continue
        places = places_in_order(source.regions, known.chrom_sizes, only[known.name])
        if not places:  # its regions are others than those asked for
            continue
        where = digest([FORMAT, source.plan, raw, places, list(known.chrom_sizes.items())])
        for row, line in itertools.product(its_rows, its_lines):
            file = f"{next(names)}.bigWig"
            file = f"{folders[known.name]}/{file}" if subfolders else file
            content = digest([where, source.labels.loc[row].to_dict(), line])
            targets.append(_Target(source, row, line, file, places, known, content))
    return targets


def _label(source: Source, row: int, line: str, *, raw: bool) -> str:
    labels = [str(source.labels[name][row]) for name in ("biosample", "assay", "kind")]
    return ".".join([source.species, *labels, *([line] if line != "signal" else []), _scale(raw=raw)])


def _scale(*, raw: bool) -> str:
    return "raw" if raw else "arcsinh"


def _is_there(folder: Path, target: _Target, written: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a file exists and was written from the same data and settings as now."""
    record = written.get(target.file)
    return (
        record is not None
        and record["fingerprint"] == target.fingerprint
        and (folder / target.file).stat().st_size == record["size"]
    )


def _record(target: _Target, found: Mapping[str, Any], *, raw: bool) -> dict[str, Any]:
    """Make a file's row in the table of tracks."""
    labels = target.source.labels.loc[target.row]
    names = ("kind", "biosample", "assay", "assay_class", "accession", "output_type")
    return {
        "file": target.file,
        "species": target.source.species,
        "assembly": target.assembly.name,
        **{name: str(labels[name]) for name in names},
        "role": target.source.role(target.row),
        "line": target.line,
        "scale": _scale(raw=raw),
        **found,
        "fingerprint": target.fingerprint,
    }


def _write(
    folder: Path,
    pending: Sequence[_Target],
    client: Any,
    progress: Callable[[Progress], None] | None,
    *,
    raw: bool,
) -> Iterable[tuple[_Target, dict[str, Any] | None]]:
    """Write files, several at a time, and yield each with its summary."""
    groups = _groups(pending, n_threads(client))
    total = sum(place.n_bins for target in pending for place in target.places)
    done, lock = 0, threading.Lock()

    def moved(bins: int) -> None:
        nonlocal done
        with lock:
            done += bins
            if progress:
                progress(Progress(done, total))

    moved(0)
    in_this_process = client is None or isinstance(client, ThreadPoolExecutor)
    for target in pending:
        (folder / target.file).parent.mkdir(exist_ok=True)
    tasks = [_task(folder, group, raw=raw) for group in groups]
    work = functools.partial(_work, moved if in_this_process else None)
    for number, summaries in run_tasks(work, str(folder), list(enumerate(tasks)), client):
        if not in_this_process:
            moved(sum(place.n_bins for target in groups[number] for place in target.places))
        yield from zip(groups[number], summaries, strict=True)


def _work(
    moved: Callable[[int], None] | None, _: Any, task: tuple[int, TrackTask]
) -> tuple[int, list[dict[str, Any] | None]]:
    """Write the files of a task, and return its number too."""
    return task[0], write_tracks(task[1], moved)


def _groups(pending: Sequence[_Target], threads: int) -> list[list[_Target]]:
    """Group targets that are read together: of one chunk, and few enough that each thread gets some."""
    most = max(1, min(ROWS_AT_ONCE, -(-len(pending) // threads)))
    groups: list[list[_Target]] = []
    for target in pending:
        last = groups[-1] if groups else []
        together = (
            last
            and last[0].source is target.source
            and last[0].row // ROWS_AT_ONCE == target.row // ROWS_AT_ONCE
            and len(last) < most
        )
        if together:
            last.append(target)
        else:
            groups.append([target])
    return groups


def _task(folder: Path, group: Sequence[_Target], *, raw: bool) -> TrackTask:
    first = group[0]
    return TrackTask(
        first.source,
        tuple(target.row for target in group),
        tuple(target.line for target in group),
        tuple(str((folder / target.file).absolute()) for target in group),
        first.places,
        dict(first.assembly.chrom_sizes),
        raw,
    )
