"""Join compendia into one axis."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import xarray as xr

from epixs.axis.aliases import Alias, aliases_of, check_used, near_names
from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.catalog.pairs import Pair
from epixs.compendium.read import experiments_of, open_compendium, regions_of
from epixs.errors import AxisError, EpixsWarning
from epixs.storage.location import absolute


def joint_axis(
    stores: str | Path | Sequence[str | Path], exclude: Sequence[Pair] = (), aliases: Sequence[Alias] = ()
) -> JointAxis:
    """Join the compendia of any number of species.

    Parameters
    ----------
    stores
        Finished compendia, one per species, or the path of a single one. Rows that could not be read are left
        out.
    exclude
        Experiments that are never trained on.
    aliases
        Assays that stores name differently, from `epixs.read_aliases`.

    Warns
    -----
    EpixsWarning
        If a species shares no assay with the others, so that nothing can be learnt from one for the other.

    Raises
    ------
    AxisError
        If a species comes twice, a store is imputed, an excluded pair does not exist, or an alias gives two
        experiments of a species the same labels.
    StoreError
        If a store is unfinished, or epixs did not write it.

    Examples
    --------
    >>> import epixs
    >>> files = epixs.simulate("world", size="tiny")
    >>> chosen = epixs.make_catalog("world/metadata.tsv", "catalog.tsv")
    >>> table = epixs.ingest("catalog.tsv", "world/mouse.bed", "mouse.zarr", species="mouse")
    >>> table = epixs.ingest("catalog.tsv", "world/human.bed", "human.zarr", species="human")
    >>> axis = epixs.joint_axis(["mouse.zarr", "human.zarr"])
    >>> axis.species, len(axis.assays), axis.n_experiments
    (('mouse', 'human'), 12, 64)
    """
    if isinstance(stores, xr.Dataset):
        raise AxisError("stores", got="a Dataset", expected="the path of a compendium, or several")
    paths = [stores] if isinstance(stores, (str, Path)) else stores
    parts = [_species_axis(path, aliases) for path in paths]
    if not parts:
        raise AxisError("no compendium given", expected="at least one store")
    names = [part.species for part in parts]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise AxisError(
            "species given twice",
            got=", ".join(sorted(twice)),
            expected="one compendium per species",
            next_step="ingest its experiments into one store, of one assembly",
        )
    check_used(aliases, {part.species: [*part.experiments["assay"], *part.aliases] for part in parts})
    _warn_of_strangers(parts)
    return _join(parts).exclude(exclude)


def _warn_of_strangers(parts: Sequence[SpeciesAxis]) -> None:
    """Warn if a species shares no assay with the others, and say which names may mean the same."""
    names = {part.species: sorted(set(part.experiments["assay"])) for part in parts}
    for species, own in names.items():
        others = {name for other, assays in names.items() if other != species for name in assays}
        if others and not others & set(own):
            near = [f"{a} ({b}) and {c} ({d})" for b, a, d, c in near_names(names)]
            hint = f"; these may be the same: {', '.join(near[:3])}: give `aliases`" if near else ""
            warnings.warn(f"{species} shares no assay with the others{hint}", EpixsWarning, stacklevel=3)
            return


def axis_of_store(
    store: str | Path, exclude: Sequence[Pair], known: JointAxis, aliases: Sequence[Alias] = ()
) -> JointAxis:
    """Make the axis of one store, with the aliases of a known axis and further ones.

    Raises
    ------
    AxisError, StoreError
        As `joint_axis` does.
    """
    species = species_of(store)
    rows = known.part(species).alias_rows if species in known.species else []
    return _join([_species_axis(store, [*rows, *aliases])]).exclude(exclude)


def _join(parts: Sequence[SpeciesAxis]) -> JointAxis:
    labels = pd.concat([part.experiments[["assay", "assay_class"]] for part in parts])
    count = labels.groupby(["assay", "assay_class"]).size()
    classes: dict[str, str] = {}  # of several classes, that of most experiments, in any order of stores
    for assay, kind in sorted(count.index, key=lambda key: (count[key], key[1] != "other", key)):
        classes[str(assay)] = str(kind)
    return JointAxis(tuple(parts), tuple(sorted(classes)), classes)


def species_of(path: str | Path) -> str:
    """Read the species of a finished store."""
    return str(open_compendium(path).attrs["species"])


def _species_axis(path: str | Path, aliases: Sequence[Alias] = ()) -> SpeciesAxis:
    dataset = open_compendium(path)
    if dataset.attrs["kind"] != "observed":
        raise AxisError(f"{path} is imputed", expected="an observed compendium")
    table = experiments_of(dataset)
    readable = table[(table["status"] == "ok") & table["signal_max"].notna()]
    if readable.empty:
        raise AxisError(f"{path} has no readable experiment", next_step="see `epixs status` for the reasons")
    labels = ["biosample", "assay", "assay_class", "accession", "output_type"]
    experiments = (
        readable[[*labels, "signal_mean", "signal_min", "signal_max"]]
        .assign(row=readable.index, excluded=False, held_out=False)
        .reset_index(drop=True)
    )
    species = str(dataset.attrs["species"])
    names = aliases_of(species, sorted(set(experiments["assay"])), aliases)
    renamed = experiments.assign(assay=[names.get(assay, assay) for assay in experiments["assay"]])
    twins = renamed.duplicated(["biosample", "assay"])
    if twins.any():
        row = renamed[twins].iloc[0]
        raise AxisError(
            f"aliases make two experiments of {species} one",
            got=f"{row['biosample']} / {row['assay']} twice",
            expected="one experiment for each biosample and assay",
        )
    return SpeciesAxis(
        species,
        absolute(path),
        str(dataset.attrs["plan"]),
        regions_of(dataset),
        tuple(sorted(set(readable["biosample"]))),
        renamed,
        aliases=names,
    )
