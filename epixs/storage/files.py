"""Write small files in one step, take checksums of files, and check folders before writing to them."""

from __future__ import annotations

import codecs
import hashlib
import os
from pathlib import Path

from epixs.errors import ConfigError, EpixsError

REPORT_FILES = ("scores.tsv", "summary.tsv", "report.html", "qc.html", "qc.tsv")
"""Files that `evaluate` and `qc` write into a report folder."""


def text_encoding(head: bytes) -> str:
    """Tell a text file's encoding by its first bytes: UTF-8, or UTF-16 as spreadsheets save it."""
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def write_text(path: Path, text: str) -> None:
    """Replace a file's text in one step."""
    partial = path.with_name(f"partial-{path.name}")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def write_new(path: Path, text: str, error: type[EpixsError]) -> None:
    """Write a file that does not exist yet, or has the same text already.

    Raises
    ------
    EpixsError
        Of type `error`, if the path holds something else.
    """
    if path.exists() and (not path.is_file() or path.read_bytes() != text.encode()):
        raise error(
            f"{path} exists and holds something else",
            expected="a new file, or the same text",
            next_step="name another --out, or delete it",
        )
    write_text(path, text)


def file_sha256(path: Path) -> str:
    """Compute the SHA-256 checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


CHECKPOINT_FILE, BEGUN_FILE = "checkpoint.npz", "unfinished.json"
"""Files that an interrupted training run leaves in its folder: its state, if it has saved one; and its
description, from its first step on."""


def is_unfinished_run(folder: Path) -> bool:
    """Tell whether a training run in a folder has begun and not ended, even if it has saved no state."""
    return any((folder / name).is_file() for name in (CHECKPOINT_FILE, BEGUN_FILE))


def check_new_folder(folder: Path, error: type[EpixsError]) -> None:
    """Check that a folder is new or empty, so that nothing is lost.

    Raises
    ------
    EpixsError
        Of type `error`, if it is not.
    """
    if is_unfinished_run(folder):
        raise error(
            f"{folder} holds a run that was interrupted",
            next_step="go on with it by the same command with --resume, name another folder, or delete it",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise error(
            f"{folder} exists and is {'not empty' if folder.is_dir() else 'a file'}",
            expected="a new or empty folder, so that nothing is lost",
            next_step="name another folder, or delete it",
        )


def check_report_folder(folder: Path) -> None:
    """Check that a report may be written to a folder: a new or empty one, or one that holds a report.

    Raises
    ------
    ConfigError
        If it is a file, or holds files but no report.
    """
    if not folder.exists():
        return
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not folder.is_dir() or (names and not set(names) & set(REPORT_FILES)):
        raise ConfigError(
            "--report",
            got=f"{folder}, which holds {', '.join(names[:3])}" if names else f"the file {folder}",
            expected="a new or empty folder, or one with an earlier report",
            next_step="name another folder",
        )
