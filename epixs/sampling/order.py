"""Choose the number of positions of each species that an epoch visits, and their order."""

from __future__ import annotations

import contextlib

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis
from epixs.errors import ConfigError


def species_shares(
    weight: str, species: list[str], sizes: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Compute the share of each species in an epoch; see `Sampler`.

    Raises
    ------
    ConfigError
        If `weight` has none of the three forms, or does not name every species.
    """
    numbers = {"by_bins": sizes, "balanced": np.ones(len(species))}.get(weight)
    if numbers is None:
        given: dict[str, float] = {}
        with contextlib.suppress(ValueError):
            for entry in weight.split(","):
                name, _, number = entry.partition("=")
                if name.strip() in given:
                    given = {}
                    break
                given[name.strip()] = float(number)
        numbers = np.array([given.get(name, np.nan) for name in species])
        if set(given) != set(species) or not (np.isfinite(numbers) & (numbers > 0)).all():
            raise ConfigError(
                "species_weight",
                got=repr(weight),
                expected=f"by_bins, balanced, or a positive number for each: {'=1, '.join(species)}=1",
            )
    return np.asarray(numbers / numbers.sum(), dtype=np.float64)


def visits_of(axis: JointAxis, weight: str) -> dict[str, int]:
    """Return the number of positions of each species that an epoch visits, if it has training experiments."""
    sizes = {part.species: part.n_positions[0] for part in axis.parts if len(part.training)}
    counts = np.array([*sizes.values()], dtype=np.float64)
    shares = species_shares(weight, [*sizes], counts)
    return {
        name: max(1, round(share * float(counts.sum()))) for name, share in zip(sizes, shares, strict=True)
    }


def mixed_order(
    spans: list[npt.NDArray[np.int32]], visits: list[int], generator: np.random.Generator
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64] | None]:
    """Order the bins of some spans at random, with the wanted number of visits of each span.

    Also return the number of each visit to a bin, from 0; None if no bin comes twice. The bins of a span are
    visited equally often, or some of them once more.
    """
    if visits == [span.size for span in spans]:
        return generator.permutation(np.concatenate(spans)), None
    bins, before = [], []
    for span, wanted in zip(spans, visits, strict=True):
        for visit in range(-(-wanted // span.size)):
            rest = wanted - visit * span.size
            bins.append(span if rest >= span.size else generator.permutation(span)[:rest])
            before.append(np.full(bins[-1].size, visit, dtype=np.int64))
    mixed = generator.permutation(sum(part.size for part in bins))
    return np.concatenate(bins)[mixed], np.concatenate(before)[mixed]
