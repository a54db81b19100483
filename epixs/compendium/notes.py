"""Turn the ledger's notes on unusual files into words.

`absent`, `renamed` and `other_lengths` describe a file's chromosomes and are the same in all tiles;
`without_width` and `overlapping` count items of each tile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from epixs.errors import a_few, counted

COUNTED = ("without_width", "overlapping")

Notes = Mapping[str, Any]
"""Notes on one file: numbers, and names of the first few chromosomes."""


def merged_notes(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the notes on one row's file from its entries in all tiles."""
    notes: dict[str, Any] = {}
    for part in parts:
        for name, value in part.get("notes", {}).items():
            known = notes.get(name, value)
            notes[name] = known + value if name in COUNTED and name in notes else max(known, value)
    return notes


def in_words(notes: Notes) -> str:
    """Describe those notes on a file that concern its values; empty for most files."""
    texts = []
    if absent := notes.get("absent"):
        first = notes.get("first_absent", "")
        texts.append(f"{counted(absent, 'chromosome')} not in the file, without values ({first})")
    if empty := notes.get("without_width"):
        texts.append(f"{counted(empty, 'item')} without width (nothing to add)")
    if over := notes.get("overlapping"):
        texts.append(f"{counted(over, 'item')} over earlier ones (the later one counts)")
    return "; ".join(texts)


def notes_on_files(notes: Mapping[str, Notes], uncovered: str) -> list[str]:
    """Describe all unusual features of files, one sentence per kind; `notes` are by accession."""
    filled = "counts as 0" if uncovered == "zero" else "is missing (NaN)"
    pairs = sum(note.get("absent", 0) for note in notes.values())
    texts = {
        "absent": f"{counted(pairs, 'pair')} of file and chromosome without data: the file does not list a "
        f"chromosome of the regions, and all of it {filled}",
        "renamed": "other names of chromosomes in {files}, which mean the same",
        "other_lengths": "another length of chromosomes that the regions do not touch, in {files}",
    }
    named = {"absent": "first_absent"}
    sentences = []
    for name, text in texts.items():
        which = [
            f"{file} ({note.get(named.get(name, name))})" for file, note in notes.items() if note.get(name)
        ]
        if which:
            sentences.append(f"{text.format(files=counted(len(which), 'file'))}: {a_few(which)}")
    odd = {name: [file for file, note in notes.items() if note.get(name)] for name in COUNTED}
    files = [*dict.fromkeys(file for one in odd.values() for file in one)]
    if files:
        which = [
            f"{file}: {in_words({name: notes[file].get(name, 0) for name in COUNTED})}" for file in files
        ]
        sentences.append(f"unusual items in {counted(len(files), 'file')}: {a_few(which)}")
    return sentences
