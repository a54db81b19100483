"""Write track hubs, which show bigWigs in a genome browser, with one composite track per assay.

The formats are those of UCSC's "Track Database Definition Document" and "Assembly Hubs". `hub_check` checks
the files written here.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from epixs.errors import RegionError, StoreError
from epixs.exports.colours import colour_of
from epixs.exports.hub_check import EMAIL, LONG_LABEL, SHORT_LABEL, UCSC_ASSEMBLIES, check_hub
from epixs.exports.names import cut_in_middle, inert, safe_names, told_apart
from epixs.exports.twobit import two_bit_sizes, write_unknown_sequence
from epixs.genome.assembly import Assembly
from epixs.imputation.roles import TRAINED_ON, ZERO_SHOT
from epixs.storage.files import write_text
from epixs.storage.fingerprint import digest

NAMES = "A-Za-z0-9_"
"""Characters allowed in names of tracks and groups."""


KINDS = {"observed": "Observed", "imputed": "Imputed"}


ENDS = {"lower": "Lower_end", "upper": "Upper_end"}
"""Tracks that are the ends of the interval that holds 80 % of the bins."""


MOST_SHOWN = 30
"""Number of tracks that a browser shows at first; more would fill many screens and load slowly."""

MARKS = {"imputed": "imp. ", "lower": "low ", "upper": "up "}
"""Beginning of the short labels of tracks that are not observed."""

PLACEHOLDER_EMAIL = "nobody@example.org"


def is_email(text: str) -> bool:
    """Whether a text can be an address in `hub.txt`."""
    return EMAIL.fullmatch(text) is not None


def write_hub(
    folder: Path,
    tracks: pd.DataFrame,
    assemblies: Mapping[str, Assembly],
    first_places: Mapping[str, str],
    *,
    two_bit: str | Path | None = None,
    email: str | None = None,
) -> list[str]:
    """Write the files of a hub around bigWigs that already exist.

    Parameters
    ----------
    folder
        Folder of the hub.
    tracks
        Table of its tracks; `file` is the path of each in the folder.
    assemblies
        Chromosomes of each assembly.
    first_places
        The locus of each assembly with which a browser begins, if its genome comes with the hub.
    two_bit
        Sequence of the assembly that UCSC does not know.
    email
        Address to contact about the hub.

    Returns
    -------
    Notes for the user.

    Raises
    ------
    RegionError
        If the sequence does not fit the assembly.
    StoreError
        If the hub would not be valid.
    """
    notes = []
    stanzas = []
    for name, group in tracks.groupby("assembly", sort=False):
        assembly = assemblies[str(name)]
        subfolder = Path(str(group["file"].iloc[0])).parent.name
        write_text(folder / subfolder / "trackDb.txt", _text_of(_track_stanzas(group)))
        genome = {"genome": str(name), "trackDb": f"{subfolder}/trackDb.txt"}
        if name not in UCSC_ASSEMBLIES:
            own, about = _own_genome(folder / subfolder, assembly, group, first_places[str(name)], two_bit)
            genome = {"genome": subfolder, **{key: genome[key] for key in ("trackDb",)}, **own}
            notes += about
        stanzas.append(genome)
    write_text(folder / "genomes.txt", _text_of(stanzas))
    species = ", ".join(dict.fromkeys(tracks["species"]))
    kinds = " and ".join(KINDS[kind].lower() for kind in KINDS if kind in set(tracks["kind"]))
    hub = {
        "hub": f"epixs_{digest(sorted(tracks['fingerprint']))[:12]}",
        "shortLabel": inert(f"epixs {species}", SHORT_LABEL),
        "longLabel": inert(f"epixs: {kinds} tracks of {species}", LONG_LABEL),
        "genomesFile": "genomes.txt",
        "email": email or PLACEHOLDER_EMAIL,
    }
    write_text(folder / "hub.txt", _text_of([hub]))
    if email is None:
        notes.append(f"hub.txt names {PLACEHOLDER_EMAIL}; give your address with --email")
    faults = check_hub(folder)
    if faults:
        raise StoreError(f"{folder} is not a valid hub", got="; ".join(faults[:3]))
    return notes


def _track_stanzas(tracks: pd.DataFrame) -> list[dict[str, str]]:
    """List the composite tracks of one assembly, each followed by its tracks."""
    units = [_by_biosample(group) for _, group in tracks.groupby(["species", "assay", "scale"], sort=False)]
    parents = safe_names([f"epixs {' '.join(_keys(group))}" for group in units], NAMES, marked=False)
    labels = [
        f"{row['kind']} {row['biosample']} {row['assay']} {row['species']}"
        + (f" {row['line']}" if row["line"] in ENDS else "")
        for group in units
        for row in group.to_dict("records")
    ]
    names = iter(safe_names(labels, NAMES, marked=False))
    stanzas, left = [], MOST_SHOWN
    for priority, (parent, group) in enumerate(zip(parents, units, strict=True), 1):
        stanzas.append(_composite(parent, group, priority, shown=left > 0))
        tags = _tags(group)
        short = dict(
            zip(tags, told_apart(list(tags), SHORT_LABEL - max(map(len, MARKS.values()))), strict=True)
        )
        for row in group.to_dict("records"):
            shown = left > 0 and row["line"] not in ENDS
            left -= shown
            stanzas.append(
                _track(next(names), parent, row, tags[row["biosample"]], short[row["biosample"]], shown=shown)
            )
    return stanzas


def _by_biosample(group: pd.DataFrame) -> pd.DataFrame:
    """Put the tracks of a biosample, of both kinds, one after the other."""
    order = group["biosample"].map(list(dict.fromkeys(group["biosample"])).index)
    return group.iloc[np.argsort(order, kind="stable")]


def _keys(group: pd.DataFrame) -> list[str]:
    return [str(group[name].iloc[0]) for name in ("species", "assay", "scale")]


def _tags(group: pd.DataFrame) -> dict[str, str]:
    """Map each biosample to its name in a composite's subgroups."""
    biosamples = list(dict.fromkeys(group["biosample"]))
    return dict(zip(biosamples, safe_names(biosamples, NAMES, marked=False), strict=True))


def _composite(name: str, group: pd.DataFrame, priority: int, *, shown: bool) -> dict[str, str]:
    first = group.iloc[0]
    low, high = _limits(group)
    biosamples = " ".join(f"{tag}={_member(label)}" for label, tag in _tags(group).items())
    drawn = set(map(_drawn_as, group["kind"], group["line"]))
    kinds = " ".join(f"{tag}={name}" for tag, name in (KINDS | ENDS).items() if tag in drawn)
    units = _units(first["output_type"], first["scale"])
    return {
        "track": name,
        "compositeTrack": "on",
        "group": "epixs",
        "shortLabel": inert(_short(first["assay"]), SHORT_LABEL),
        "longLabel": inert(f"{first['assay']} in {first['species']} ({units})", LONG_LABEL),
        "type": f"bigWig {low} {high}",
        "visibility": "full" if shown else "hide",
        "priority": str(priority),
        "subGroup1": f"kind Kind {kinds}",
        "subGroup2": f"biosample Biosample {biosamples}",
        "dimensions": "dimX=kind dimY=biosample",
        "sortOrder": "biosample=+ kind=-",
        "dragAndDrop": "subTracks",
        "autoScale": "off",
        "viewLimits": f"{low}:{high}",
        "alwaysZero": "on",
        "maxHeightPixels": "128:36:11",
        "windowingFunction": "mean",
    }


def _track(
    name: str, parent: str, row: Mapping[Any, Any], tag: str, short: str, *, shown: bool
) -> dict[str, str]:
    kind = str(row["kind"])
    drawn = _drawn_as(kind, str(row["line"]))
    low, high = _limits(pd.DataFrame([row]))
    description = "IMPUTED" if kind == "imputed" else KINDS.get(kind, kind)
    description += f" ({row['role']})" if row["role"] in (TRAINED_ON, ZERO_SHOT) else ""
    description += f", {row['line']} end of 80 %" if drawn in ENDS else ""
    about = f", {row['assay']} ({_units(row['output_type'], row['scale'])})"
    biosample = cut_in_middle(row["biosample"], max(SHORT_LABEL, LONG_LABEL - len(f"{description}: {about}")))
    return {
        "track": name,
        "parent": f"{parent} {'on' if shown else 'off'}",
        "bigDataUrl": Path(row["file"]).name,
        "shortLabel": inert(f"{MARKS.get(drawn, '')}{short}", SHORT_LABEL),
        "longLabel": inert(f"{description}: {biosample}{about}", LONG_LABEL),
        "type": f"bigWig {low} {high}",
        "subGroups": f"kind={drawn} biosample={tag}",
        "color": ",".join(map(str, colour_of(str(row["assay_class"]), drawn))),
    }


def _drawn_as(kind: str, line: str) -> str:
    """Return the kind of a track within its composite."""
    return line if line in ENDS else kind


def _limits(group: pd.DataFrame) -> tuple[str, str]:
    """Return the range of values that a view of some tracks shows, in round numbers."""
    low, high = float(group["low"].min()), float(group["high"].max())
    return f"{_round(low, math.floor):g}", f"{max(_round(high, math.ceil), _round(low, math.floor) + 0.1):g}"


def _round(value: float, whole: Any) -> float:
    """Round a number to two digits, in the direction of `whole`."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(whole(round(value / step, 6)) * step)


def _units(output_type: str, scale: str) -> str:
    return f"arcsinh of {output_type}" if scale == "arcsinh" else str(output_type)


def _short(assay: str) -> str:
    """Shorten an assay's name to its target, if it has one."""
    parts = assay.split("_")
    return parts[1] if len(parts) > 2 and parts[0].endswith("-seq") and parts[1][:1].isupper() else assay


def _own_genome(
    folder: Path, assembly: Assembly, group: pd.DataFrame, first_place: str, two_bit: str | Path | None
) -> tuple[dict[str, str], list[str]]:
    """Write the files of an assembly that UCSC does not know; return lines of `genomes.txt`, and notes."""
    name, notes = folder.name, []
    sizes = dict(assembly.chrom_sizes)
    sequence = folder / f"{name}.2bit"
    if two_bit is None:
        write_unknown_sequence(sequence, sizes)
        notes.append(
            f"UCSC does not know {assembly.name}: the hub has a genome of N, "
            f"{sequence.stat().st_size:,} bytes; give the sequence with --two-bit"
        )
    else:
        _check_sequence(Path(two_bit), assembly)
        shutil.copyfile(two_bit, sequence)
    write_text(folder / f"{name}.chrom.sizes", "".join(f"{chrom}\t{size}\n" for chrom, size in sizes.items()))
    write_text(folder / "groups.txt", _text_of([{"name": "epixs", "label": "epixs", "priority": "1",
                                                  "defaultIsClosed": "0"}]))  # fmt: skip
    stanza = {
        "groups": f"{name}/groups.txt",
        "twoBitPath": f"{name}/{name}.2bit",
        "chromSizes": f"{name}/{name}.chrom.sizes",
        "description": inert(f"{assembly.name} ({group['species'].iloc[0]})", LONG_LABEL),
        "organism": inert(str(group["species"].iloc[0]), LONG_LABEL),
        "defaultPos": first_place,
        "orderKey": "4800",
    }
    return stanza, notes


def _check_sequence(two_bit: Path, assembly: Assembly) -> None:
    held = two_bit_sizes(two_bit)
    different = [chrom for chrom, size in assembly.chrom_sizes.items() if held.get(chrom) != size]
    if different:
        chrom = different[0]
        raise RegionError(
            f"{two_bit} is not the sequence of {assembly.name}",
            got=f"{chrom} of {held[chrom]:,} bases" if chrom in held else f"no {chrom}",
            expected=f"{chrom} of {assembly.chrom_sizes[chrom]:,} bases",
        )


def _member(label: str) -> str:
    """Write a label for a list of subgroups, where blanks would end it. Underscores are shown as blanks."""
    return inert(label).replace(" ", "_").replace("=", "-")


def _text_of(stanzas: Sequence[Mapping[str, str]]) -> str:
    """Format stanzas as text, with a blank line after each."""
    return "".join("".join(f"{key} {value}\n" for key, value in stanza.items()) + "\n" for stanza in stanzas)
