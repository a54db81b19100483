"""Say what to expect of a panel before it is measured: rehearse it on a species that is measured well."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from epixs.axis.axis import JointAxis
from epixs.axis.join import joint_axis
from epixs.catalog.pairs import Pair, read_pairs
from epixs.config import Settings
from epixs.errors import ConfigError
from epixs.evaluation.scores import evaluate
from epixs.evaluation.table import IMPUTED
from epixs.guidance.forecast import MEASURED, ZERO_SHOT, Outlook, fit_agreement
from epixs.guidance.panel import Label, Rehearsal, rehearse
from epixs.imputation.write import impute
from epixs.models.folder import open_model
from epixs.models.kinds import kind_named
from epixs.models.settings import choose_kind, make_settings
from epixs.storage.files import write_text
from epixs.storage.fingerprint import digest
from epixs.training.run import Probe, train

SHARES = (0.5, 1.0)
"""Shares of the panel's biosamples that rehearsals have: two points of a learning curve."""

MOST_NAMED = 3

COLUMNS = ("share", "draw", "role", "biosample", "assay", "of_assay", "of_biosample", "pearson", "skill")
"""Columns of the table of rehearsed tracks."""


@dataclass(frozen=True)
class Forecast:
    """What to expect of a panel.

    Parameters
    ----------
    assays
        Per assay: `assay role unmeasured expected` (number of pairs that the panel leaves unmeasured, and
        their mean expected Pearson), and of the rehearsals `rehearsed pearson low high skill` (number of
        tracks, mean, smallest and largest Pearson, mean skill over average activity).
    curve
        Per share of the panel's biosamples: `share biosamples tracks pearson skill`, of hidden tracks of
        assays that the panel has.
    next
        Experiments by what is gained by measuring them: `biosample assay pearson gain`.
    tracks
        The rehearsed tracks, one row each.
    notes
        What the reference cannot tell.
    """

    assays: pd.DataFrame
    curve: pd.DataFrame
    next: pd.DataFrame
    tracks: pd.DataFrame
    notes: list[str] = field(default_factory=list)


def plan(
    panel: str | Path | Sequence[Pair],
    like: str | Path,
    others: str | Path | Sequence[str | Path] = (),
    *,
    settings: Settings | None = None,
    max_minutes: float | None = None,
    draws: int = 2,
    seed: int = 0,
    out: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_probe: Callable[[float], None] | None = None,
) -> Forecast:
    """Say how well the unmeasured tracks of a panel will be imputed, and which experiment to perform next.

    The panel is laid over random biosamples of a species that is measured well, a model is trained on as
    many of its tracks, and the others are imputed and compared with what was measured.

    Parameters
    ----------
    panel
        Experiments that are measured or planned: a catalog, or another table with the columns `species
        biosample assay`; or such pairs. Of one species.
    like
        Compendium of the species that stands for it. It needs the panel's assays, under the same names.
    others
        Compendia of further species to train jointly with. Assays that they and `like` have, and the panel
        lacks, are rehearsed zero-shot.
    settings
        Settings of the model; by default the kind that `epixs train` would choose, with default settings.
    max_minutes
        Time for training, all rehearsals together.
    draws
        Rehearsals per share of the panel's biosamples, each with other biosamples of `like`.
    seed
        Decides which.
    out
        Folder that keeps what was rehearsed: interrupted, the same call goes on from there.
    progress
        Called after each rehearsal, with how many are done and how many there are.
    on_probe
        Called when the first steps have been timed, with an estimate of the seconds of training in all; never
        if the first rehearsal was kept.

    Raises
    ------
    ConfigError
        If panel and reference do not fit together.
    TrainingError
        If the panel is too small to be trained on.
    """
    pairs = read_pairs(panel, what="panel") if isinstance(panel, (str, Path)) else list(panel)
    stores = [like, *([others] if isinstance(others, (str, Path)) else others)]
    axis = joint_axis(stores)
    planned, notes = _planned(pairs, axis)
    measured = _labels(axis, axis.species[0])
    elsewhere = {assay for name in axis.species[1:] for _, assay in _labels(axis, name)}
    panel_assays = {assay for _, assay in planned}
    further = ({assay for _, assay in measured} & elsewhere) - panel_assays
    alone = sorted({assay for _, assay in measured} - elsewhere - panel_assays)
    if alone:
        which = ", ".join(alone[:MOST_NAMED]) + (", ..." if len(alone) > MOST_NAMED else "")
        notes.append(
            f"the panel lacks {which}: "
            "to say what to expect of that, give a further species that has it (--other)"
            + (f"; {', '.join(axis.species[1:])}: not measured there" if len(axis.species) > 1 else "")
        )
    _check_gaps(planned, further)
    made = [
        (
            share,
            draw,
            rehearse(planned, measured, further, share, np.random.default_rng([seed, draw, number])),
        )
        for draw in range(draws)
        for number, share in enumerate(SHARES)
    ]
    whole = next(one for share, _, one in made if share == 1)
    settings = settings or make_settings(choose_kind(_training_axis(stores, axis, whole))[0])
    if max_minutes:
        settings = settings.replace(max_minutes=max_minutes / len(made))
    tables: list[pd.DataFrame] = []
    with _kept_in(out) as folder:
        for number, (share, draw, one) in enumerate(made):
            training_axis = _training_axis(stores, axis, one)
            if share < 1 and kind_named(settings.kind).lacks(training_axis):
                notes.append(f"with {share:.0%} of the biosamples there are too few tracks to train on")
            else:
                untimed = not any(map(len, tables))
                timed = _timed(on_probe, len(made) - number) if on_probe and untimed else None
                found = _rehearsed(folder, stores, training_axis, one, settings, timed)
                tables.append(found.assign(share=share, draw=draw))
            if progress:
                progress(number + 1, len(made))
    tables = [table for table in tables if len(table)] or tables[:1]
    tracks = pd.concat(tables, ignore_index=True)[list(COLUMNS)].astype({"pearson": float, "skill": float})
    biosamples = sorted({biosample for biosample, _ in planned})
    fits = {role: fit_agreement(tracks[tracks["role"] == role]) for role in (MEASURED, ZERO_SHOT)}
    outlook = Outlook(fits[MEASURED], fits[ZERO_SHOT], tuple(sorted(panel_assays | further)))
    notes.append(f"rehearsed with models of kind {settings.kind}{_in_time(max_minutes, len(made))}")
    if len(made) == len(SHARES):
        notes.append("tracks were rehearsed once: a difference between two may be chance (--draws)")
    largest = max(len({b for b, _ in one.trained}) for *_, one in made)
    if largest < len(biosamples):
        notes.append(
            f"{axis.species[0]} has {largest} biosamples to stand for {len(biosamples)}: "
            "of more than that, what is expected is extrapolated"
        )
    return Forecast(
        _by_assay(tracks, outlook.expected(planned, biosamples), panel_assays),
        _curve(tracks, made),
        outlook.next_experiments(planned, biosamples),
        tracks,
        list(dict.fromkeys(notes)),
    )


def _in_time(max_minutes: float | None, models: int) -> str:
    if not max_minutes:
        return ""
    return f", trained for {max_minutes / models:.1f} minutes at most: trained for longer, they may be better"


def _planned(pairs: Sequence[Pair], axis: JointAxis) -> tuple[set[Label], list[str]]:
    """The panel's tracks whose assays the reference has, and a note on the others."""
    species = sorted({name for name, *_ in pairs})
    if len(species) != 1:
        raise ConfigError(
            "the panel", got=f"experiments of {', '.join(species) or 'no species'}", expected="of one species"
        )
    known = {assay for _, assay in _labels(axis, axis.species[0])}
    planned = {(biosample, assay) for _, biosample, assay in pairs if assay in known}
    lacking = sorted({assay for *_, assay in pairs} - known)
    if not planned:
        raise ConfigError(
            f"{axis.parts[0].source} has none of the panel's assays",
            got=", ".join(lacking[:5]),
            expected=f"names as in {', '.join(sorted(known)[:5])}",
            next_step="name the assays of the panel as the store does",
        )
    notes = [f"of {', '.join(lacking)} the reference says nothing: it lacks them"] if lacking else []
    return planned, notes


def _check_gaps(planned: set[Label], further: Collection[str]) -> None:
    """Refuse a panel that leaves nothing to impute."""
    biosamples, assays = ({label[at] for label in planned} for at in range(2))
    if len(planned) == len(biosamples) * len(assays) and not further:
        raise ConfigError(
            "the panel",
            got=f"all {len(planned)} pairs of its {len(biosamples)} biosamples and {len(assays)} assays",
            expected="pairs that are left to impute",
            next_step="leave out the experiments in question; for an assay that the whole species lacks, "
            "give a further species that has it (--other)",
        )


def _labels(axis: JointAxis, species: str) -> set[Label]:
    table = axis.part(species).training
    return set(zip(table["biosample"], table["assay"], strict=True))


@contextmanager
def _kept_in(out: str | Path | None) -> Iterator[Path]:
    """The folder of what is rehearsed; a temporary one if none is named."""
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="epixs-plan-") as folder:
        yield Path(folder)


def _training_axis(stores: Sequence[str | Path], axis: JointAxis, one: Rehearsal) -> JointAxis:
    """Join the stores, with the tracks of the first species that a rehearsal trains on, and no others."""
    species = axis.species[0]
    exclude = [(species, *label) for label in sorted(_labels(axis, species) - set(one.trained))]
    return joint_axis(stores, exclude)


def _timed(on_probe: Callable[[float], None], rehearsals: int) -> Callable[[Probe], None]:
    """Turn the estimate of one training run into that of all rehearsals."""
    return lambda probe: on_probe(probe.seconds_per_epoch * probe.epochs * rehearsals)


def _rehearsed(
    folder: Path,
    stores: Sequence[str | Path],
    axis: JointAxis,
    one: Rehearsal,
    settings: Settings,
    on_probe: Callable[[Probe], None] | None = None,
) -> pd.DataFrame:
    """Train on what a rehearsal has and score what it hides; what is there already is read."""
    species = axis.species[0]
    wanted = [*one.hidden, *one.zero_shot]
    if not wanted:
        return pd.DataFrame(columns=COLUMNS)
    plans = [[part.species, part.plan] for part in axis.parts]
    name = digest([plans, one.trained, wanted, settings.to_dict()])[:16]
    path, work = folder / f"{name}.tsv", folder / name
    if not path.exists():
        trained = set(one.trained)
        train(axis, settings, work / "model", resume=True, on_probe=on_probe)
        pairs = [(species, *label) for label in wanted]
        impute(open_model(work / "model"), stores[0], work / "imputed.zarr", pairs=pairs)
        scores = evaluate(
            work / "imputed.zarr", stores[0], others=[str(store) for store in stores[1:]]
        ).scores
        mine = scores[scores["method"] == IMPUTED]
        places = zip(mine["biosample"], mine["assay"], strict=True)
        scored = dict(zip(places, mine[["pearson", "skill"]].to_numpy().tolist(), strict=True))
        rows = []
        for role, labels in ((MEASURED, one.hidden), (ZERO_SHOT, one.zero_shot)):
            for biosample, assay in labels:
                counts = sum(a == assay for _, a in trained), sum(b == biosample for b, _ in trained)
                rows.append((role, biosample, assay, *counts, *scored[biosample, assay]))
        write_text(path, pd.DataFrame(rows, columns=COLUMNS[2:]).to_csv(sep="\t", index=False, na_rep="NA"))
        shutil.rmtree(work, ignore_errors=True)
    return pd.read_csv(path, sep="\t", dtype={"biosample": str, "assay": str})


def _by_assay(tracks: pd.DataFrame, expected: pd.DataFrame, panel: Collection[str]) -> pd.DataFrame:
    """Tabulate the expected correlation of each assay, and the scores of its rehearsals."""
    rows = []
    for assay in sorted({*panel, *tracks["assay"], *expected["assay"]}):
        role = MEASURED if assay in panel else ZERO_SHOT
        mine = tracks[(tracks["assay"] == assay) & (tracks["role"] == role)]
        ours = expected[(expected["assay"] == assay) & (expected["role"] == role)]
        rows.append(
            {
                "assay": assay,
                "role": role,
                "unmeasured": len(ours),
                "expected": ours["pearson"].mean(),
                "rehearsed": len(mine),
                "pearson": mine["pearson"].mean(),
                "low": mine["pearson"].min(),
                "high": mine["pearson"].max(),
                "skill": mine["skill"].mean(),
            }
        )
    return pd.DataFrame(rows)


def _curve(tracks: pd.DataFrame, made: Collection[tuple[float, int, Rehearsal]]) -> pd.DataFrame:
    """Tabulate the correlation by number of biosamples."""
    rows = []
    for share, group in itertools.groupby(sorted(made, key=lambda one: one[0]), key=lambda one: one[0]):
        sizes = [len({biosample for biosample, _ in one.trained}) for *_, one in group]
        mine = tracks[(tracks["share"] == share) & (tracks["role"] == MEASURED)]
        rows.append(
            {
                "share": share,
                "biosamples": max(sizes),
                "tracks": len(mine),
                "pearson": mine["pearson"].mean(),
                "skill": mine["skill"].mean(),
            }
        )
    return pd.DataFrame(rows)
