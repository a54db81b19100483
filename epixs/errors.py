"""Typed errors. Each says what was got, what was expected and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class EpixsError(Exception):
    """Base class of all errors that epixs raises for a mistake that its user can correct.

    Parameters
    ----------
    problem
        The mistake, with the file, row or experiment by name.
    got, expected
        The two values that disagree, if there are two.
    next_step
        The way to correct it.
    """

    def __init__(
        self,
        problem: str,
        *,
        got: object = None,
        expected: object = None,
        next_step: str | None = None,
    ) -> None:
        parts = [problem]
        if got is not None:
            parts.append(f"got {got}")
        if expected is not None:
            parts.append(f"expected {expected}")
        message = "; ".join(parts)
        if next_step:
            message += f". {_sentence(next_step)}"
        self.message = message
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process boundaries (Dask workers); keep the finished sentence.
        return (_rebuild, (type(self), self.message))


class EpixsWarning(UserWarning):
    """A warning of something that works but is most likely not what was meant."""


def _sentence(text: str) -> str:
    """Capitalise a text, unless it begins with a path, an option or a code span, which that would change."""
    word = text.split()[0].rstrip(",:;")
    return text[0].upper() + text[1:] if word.isalpha() else text


def counted(number: int, noun: str) -> str:
    """Write a number and its noun, in the plural except for 1: `1 experiment`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def a_few(texts: Sequence[str], most: int = 3) -> str:
    """List the first of some texts, and the number of the others.

    Examples
    --------
    >>> a_few(["a", "b", "c", "d", "e"])
    'a; b; c; and 2 more'
    """
    more = len(texts) - most
    return "; ".join(texts[:most]) + (f"; and {more:,} more" if more > 0 else "")


def closest(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'liver'?)` if a known name is close to `name` or contains it, else `""`."""
    names = sorted(known)
    similar = [full for full in names if full.lower() == f"chr{name}".lower()]
    similar = similar or [full for full in names if name and name.lower() in full.lower()]
    similar = similar or difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {similar[0]!r}?)" if similar else ""


def _rebuild(kind: type[EpixsError], message: str) -> EpixsError:
    return kind(message)


class RegionError(EpixsError):
    """A BED file, a locus or an assembly that cannot be used."""


class CatalogError(EpixsError):
    """A catalog or metadata table with rows that cannot be used."""


class TrackError(EpixsError):
    """A bigWig that cannot be read, or is not what the catalog says."""


class StoreError(EpixsError):
    """A Zarr store that is unfinished, damaged, made from something else, or not written by epixs."""


class ClusterError(EpixsError):
    """Workers or a scheduler that stopped in the middle of a run."""


class AxisError(EpixsError):
    """Compendia, pairs or a model that do not fit together."""


class ConfigError(EpixsError):
    """A setting that does not exist or has an impossible value."""


class TrainingError(EpixsError):
    """Training that cannot start or continue."""
