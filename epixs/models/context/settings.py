"""Settings that define a context model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from epixs.config import SHARE, ModelSettings, between, sizes

KEYS = 16
"""Length of what a head asks for."""


@dataclass(frozen=True)
class ContextSettings(ModelSettings):
    """Settings of the kind `context`, which reads the tracks observed around a bin.

    Parameters
    ----------
    members
        Networks that are trained side by side, whose mean is the prediction.
    token, heads, hidden, assay_factors
        Sizes of each: width of what is made of a track, heads that weigh the tracks, widths of the layers
        behind, and length of the factors of an assay.
    member_held_out
        Share of the tracks that each member never sees: their errors are shown.
    episodes
        Share of the training targets whose assay is hidden from their whole species, as for zero-shot
        imputation; half of that where none is asked for. Of one species alone, there are none.
    target
        Species that zero-shot imputation is meant for, several separated by commas: all assays that they lack
        are trained for. Empty, it is meant for assays that are excluded as a whole.
    """

    kind: ClassVar[str] = "context"

    members: Annotated[int, between(1, 64)] = 4
    token: Annotated[int, between(1, 65_536)] = 32
    heads: Annotated[int, between(1, 1_024)] = 4
    hidden: Annotated[tuple[int, ...], sizes()] = (64, 64)
    assay_factors: Annotated[int, between(1, 65_536)] = 16
    member_held_out: Annotated[float, SHARE] = 0.1
    episodes: Annotated[float, SHARE] = 0.5
    target: str = ""
