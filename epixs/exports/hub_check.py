"""Check a track hub against UCSC's public specification: its files, labels, names, colours and bigWigs."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

from epixs.errors import EpixsError, StoreError
from epixs.exports.names import one_line
from epixs.exports.table import read_table
from epixs.exports.twobit import two_bit_sizes
from epixs.genome.assembly import read_chrom_sizes
from epixs.tracks.bigwig import BigWig

SHORT_LABEL, LONG_LABEL = 17, 80
"""Maximum number of characters of labels that browsers show in full."""

UCSC_ASSEMBLIES = frozenset(
    """
    hg38 hg19 hg18 hs1 mm39 mm10 mm9 rn7 rn6 rn5 danRer11 danRer10 danRer7 dm6 dm3 ce11 ce10 sacCer3
    susScr11 susScr3 bosTau9 bosTau8 bosTau7 oviAri4 oviAri3 equCab3 equCab2 canFam6 canFam5 canFam4 canFam3
    felCat9 felCat8 galGal6 galGal5 galGal4 panTro6 panTro5 panPan3 gorGor6 ponAbe3 rheMac10 rheMac8 macFas5
    calJac4 calJac3 papAnu4 micMur2 oryCun2 cavPor3 monDom5 xenTro10 xenTro9 xenLae2 oryLat2 gasAcu1 fr3
    tetNig2 anoCar2 melGal5 taeGut2 chlSab2 vicPac2 loxAfr3 ornAna2 criGriChoV2
    """.split()  # noqa: SIM905
)
"""Assemblies that UCSC's browser knows by these names. A hub of any other brings its own genome."""

VISIBILITIES = ("hide", "dense", "squish", "pack", "full")

HUB_KEYS = ("hub", "shortLabel", "longLabel", "genomesFile", "email")

OWN_GENOME_KEYS = ("twoBitPath", "groups", "description", "organism", "defaultPos", "orderKey")

TRACK_KEYS = ("track", "shortLabel", "longLabel", "type")

EMAIL = re.compile(r"[\w.+-]+@[\w.-]+", re.ASCII)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}")

_COLOUR = re.compile(r"(\d{1,3}),(\d{1,3}),(\d{1,3})")

_NUMBER = r"-?\d{1,40}(?:\.\d{1,40})?(?:e[+-]?\d{1,3})?"

_BIGWIG = re.compile(rf"bigWig(?: {_NUMBER} {_NUMBER})?")

_LIMITS = re.compile(f"({_NUMBER}):({_NUMBER})")


def check_hub(folder: str | Path) -> list[str]:
    """Describe each fault of a hub; the list is empty if the hub is valid."""
    folder = Path(folder)
    return list(_faults(folder))


def _faults(folder: Path) -> Iterator[str]:
    try:
        for record in read_table(folder).values():
            path, before = folder / record["file"], record["size"]
            if path.is_file() and (now := path.stat().st_size) != before:
                yield f"{path} has {now:,} bytes, and had {before:,} when it was written"
    except EpixsError as error:
        yield str(error)
    hubs = yield from _stanzas(folder, "hub.txt")
    if len(hubs) != 1:
        yield f"hub.txt: {len(hubs)} stanzas instead of 1"
        return
    yield from _lacking("hub.txt", hubs[0], HUB_KEYS)
    yield from _labels("hub.txt", hubs[0])
    if EMAIL.fullmatch(hubs[0].get("email", "")) is None:
        yield "hub.txt: email is not an address"
    genomes = yield from _stanzas(folder, hubs[0].get("genomesFile", ""))
    if not genomes:
        yield "genomes.txt: no genome"
    for genome in genomes:
        yield from _genome(folder, genome)


def _genome(folder: Path, genome: Mapping[str, str]) -> Iterator[str]:
    name = genome.get("genome", "")
    yield from _lacking(f"genome {name!r}", genome, ("genome", "trackDb"))
    if re.fullmatch(r"[A-Za-z0-9_.\-]+", name) is None:
        yield f"genome {name!r}: not a name"
    sizes: dict[str, int] | None = None
    if "twoBitPath" in genome:
        yield from _lacking(f"genome {name}", genome, OWN_GENOME_KEYS)
        try:
            paths = [_inside(folder, genome[key]) for key in ("twoBitPath", "chromSizes") if key in genome]
            sizes = two_bit_sizes(paths[0])
            listed = read_chrom_sizes(paths[1]) if len(paths) > 1 else {}
            if listed != {chrom: sizes.get(chrom) for chrom in listed}:
                yield f"genome {name}: chromSizes and twoBitPath differ"
        except EpixsError as error:
            yield f"genome {name}: {error}"
        groups = yield from _stanzas(folder, genome.get("groups", ""))
        for group in groups:
            yield from _lacking(
                f"genome {name}, groups", group, ("name", "label", "priority", "defaultIsClosed")
            )
        place = re.fullmatch(r"(.+):(\d{1,12})-(\d{1,12})", genome.get("defaultPos", ""))
        if place is None or not 1 <= int(place[2]) <= int(place[3]) <= (sizes or {}).get(place[1], 0):
            yield f"genome {name}: defaultPos lies outside the genome"
    elif name not in UCSC_ASSEMBLIES:
        yield f"genome {name!r}: UCSC does not know it, and there is no twoBitPath"
    where = genome.get("trackDb", "")
    tracks = yield from _stanzas(folder, where)
    yield from _tracks((folder / where).parent, tracks, sizes)


def _tracks(folder: Path, tracks: list[dict[str, str]], sizes: Mapping[str, int] | None) -> Iterator[str]:
    composites: dict[str, dict[str, str]] = {}
    seen: set[str] = set()
    for track in tracks:
        name = track.get("track", "")
        what = f"track {name!r}"
        yield from _lacking(what, track, TRACK_KEYS)
        yield from _labels(what, track)
        if _NAME.fullmatch(name) is None:
            yield f"{what}: not a name"
        if name in seen:
            yield f"{what}: twice"
        seen.add(name)
        if _BIGWIG.fullmatch(track.get("type", "")) is None:
            yield f"{what}: type {track.get('type')!r}"
        limits = _LIMITS.fullmatch(track.get("viewLimits", "0:1"))
        if limits is None or not float(limits[1]) < float(limits[2]):
            yield f"{what}: viewLimits {track['viewLimits']!r}"
        if track.get("visibility", "hide") not in VISIBILITIES:
            yield f"{what}: visibility {track['visibility']!r}"
        if track.get("compositeTrack") == "on":
            composites[name] = track
            yield from _dimensions(what, track)
        else:
            yield from _member(what, track, composites)
            yield from _data(what, folder, track, sizes)
    yield from (
        f"track {name!r}: no track in it"
        for name in composites
        if not any(track.get("parent", "").split(" ")[0] == name for track in tracks)
    )


def _member(what: str, track: Mapping[str, str], composites: Mapping[str, dict[str, str]]) -> Iterator[str]:
    """Check a track against the composite before it."""
    parent = track.get("parent", "").split(" ")
    if parent[0] not in composites or parent[1:] not in ([], ["on"], ["off"]):
        yield f"{what}: parent {track.get('parent')!r}"
        return
    groups = _subgroups(composites[parent[0]])
    memberships = dict(pair.partition("=")[::2] for pair in track.get("subGroups", "").split())
    for group, members in groups.items():
        if memberships.get(group) not in members:
            yield f"{what}: {group} {memberships.get(group)!r} is not among its composite's"


def _data(
    what: str, folder: Path, track: Mapping[str, str], sizes: Mapping[str, int] | None
) -> Iterator[str]:
    colour = _COLOUR.fullmatch(track.get("color", "0,0,0"))
    if colour is None or any(int(part) > 255 for part in colour.groups()):
        yield f"{what}: color {track['color']!r}"
    url = track.get("bigDataUrl", "")
    if re.match(r"https?://", url):  # elsewhere
        return
    if re.fullmatch(r"[A-Za-z0-9_.+/-]+", url) is None or ".." in url.split("/") or url.startswith("/"):
        yield f"{what}: bigDataUrl {url!r}"
        return
    try:
        file = BigWig(_inside(folder, url))
    except EpixsError as error:
        yield f"{what}: {error}"
        return
    file.close()
    if sizes is not None and any(sizes.get(chrom) != size for chrom, size in file.chrom_sizes.items()):
        yield f"{what}: chromosomes that its genome does not have"


def _dimensions(what: str, track: Mapping[str, str]) -> Iterator[str]:
    groups = _subgroups(track)
    if any(not members for members in groups.values()):
        yield f"{what}: a subgroup without members"
    for key in ("dimensions", "sortOrder"):
        for pair in track.get(key, "").split():
            group = pair.partition("=")[2 if key == "dimensions" else 0]
            if group not in groups:
                yield f"{what}: {key} names {group!r}, which is no subgroup"


def _subgroups(track: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the subgroups of a composite, and their members."""
    lines = [value.split() for key, value in track.items() if re.fullmatch(r"subGroup\d+", key)]
    return {line[0]: dict(pair.partition("=")[::2] for pair in line[2:]) for line in lines if line}


def _labels(what: str, stanza: Mapping[str, str]) -> Iterator[str]:
    for key, most in (("shortLabel", SHORT_LABEL), ("longLabel", LONG_LABEL)):
        if len(stanza.get(key, "")) > most:
            yield f"{what}: {key} has more than {most} characters"
        if re.search("[<>]", stanza.get(key, "")):
            yield f"{what}: {key} has markup"


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a file in a hub's folder.

    Raises
    ------
    StoreError
        If there is no such file there.
    """
    path = folder / name
    try:
        there = bool(name) and path.is_file() and folder.resolve() in path.resolve().parents
    except (OSError, ValueError):  # a name that no file can have
        there = False
    if not there:
        raise StoreError(f"{one_line(name, LONG_LABEL) or 'a file'} is not there")
    return path


def _lacking(what: str, stanza: Mapping[str, str], keys: tuple[str, ...]) -> Iterator[str]:
    yield from (f"{what}: no {key}" for key in keys if not stanza.get(key))


def _stanzas(folder: Path, name: str) -> Generator[str, None, list[dict[str, str]]]:
    """Read a file of a hub: yields the faults of its lines, returns its stanzas."""
    try:
        text = _inside(folder, name).read_text(encoding="utf-8")
    except StoreError as error:
        yield str(error)
        return []
    except UnicodeDecodeError:
        yield f"{name} is not in UTF-8"
        return []
    stanzas: list[dict[str, str]] = [{}]
    for number, line in enumerate(text.replace("\t", " ").split("\n"), 1):
        if line.startswith("#"):
            continue
        if not line.strip():
            stanzas.append({})
            continue
        key, _, value = line.strip().partition(" ")
        if re.fullmatch(r"[A-Za-z]\w*", key) is None or not value or value.endswith("\\"):
            yield f"{name}, line {number}: not a name and a value"
        if key in stanzas[-1]:
            yield f"{name}, line {number}: {key} twice"
        stanzas[-1][key] = value
    return [stanza for stanza in stanzas if stanza]
