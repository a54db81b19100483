"""`epixs impute`: from a model to the tracks that nobody measured."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from epixs.cli.options import (
    AsJson,
    DryRun,
    Factors,
    ModelDir,
    Quiet,
    Scheduler,
    Workers,
)
from epixs.cli.terminal import (
    NO_TEST,
    bytes_text,
    check_present,
    counting,
    listed,
    print_json,
    progress_bar,
    remark,
    say,
    start_tensorflow,
)
from epixs.errors import counted

WORDS = {
    "zero-shot": "zero-shot (an assay without any training experiment in {})",
    "gap fill": "to fill gaps",
    "trained on": "trained on",
}
"""Roles of imputed experiments in a sentence."""


def impute(
    model_dir: ModelDir,
    store: Annotated[str, typer.Argument(metavar="STORE", help="compendium of the species to impute")],
    out: Annotated[str, typer.Option(help="imputed store to write, or to resume")],
    pairs: Annotated[Path | None, typer.Option(help="TSV of species, biosample, assay to impute")] = None,
    everything: Annotated[bool, typer.Option("--all", help="also tracks trained on")] = False,
    factors: Factors = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    dry_run: DryRun = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Impute experiments that were not measured: by default every pair the model was not trained on.

    A second run resumes. Without --workers or --scheduler, this process imputes, on all cores or its GPU.
    """
    from epixs.errors import ConfigError

    if pairs is not None and everything:
        raise ConfigError("--pairs and --all", got="both", expected="one of them")
    if (model_dir / "zarr.json").is_file() and (Path(store) / "model.json").is_file():
        raise ConfigError(
            "the model comes first, then the store",
            got=f"the store {model_dir}, then the model {store}",
            next_step=f"swap them: `epixs impute {store} {model_dir} --out {out}`",
        )
    check_present("model folder", model_dir)
    check_present("store", store, factors)
    check_present("--pairs", pairs)
    from epixs.catalog.pairs import read_pairs
    from epixs.cluster.client import open_client
    from epixs.compendium.read import open_compendium
    from epixs.factors.store import open_factors
    from epixs.imputation.pairs import choose_pairs, unknown_biosamples
    from epixs.models.description import check_before_loading

    wanted = read_pairs(pairs, what="--pairs") if pairs else None
    description, species = check_before_loading(model_dir, store)
    chosen = choose_pairs(description.axis, species, pairs=wanted, everything=everything)
    if description.interrupted:
        remark(
            f"training of {model_dir} was interrupted: its weights so far are used; "
            "`epixs train ... --resume` resumes it"
        )
    start_tensorflow()
    from epixs.imputation.alike import alike_in
    from epixs.imputation.plan import plan_imputation
    from epixs.imputation.roles import TRAINED_ON, ZERO_SHOT, roles_in
    from epixs.imputation.write import impute as run
    from epixs.models.folder import open_model

    trained = open_model(model_dir)
    fitted = open_factors(factors) if factors else None
    unknown = unknown_biosamples(trained, store, fitted)
    if unknown and wanted is None:
        few = listed(unknown)
        remark(f"{counted(len(unknown), 'biosample')} of {store} had no part in training, not imputed: {few}")
    plan = plan_imputation(trained, chosen, fitted, store)
    roles = roles_in(plan.experiments, plan.species, plan.provenance)
    counts = {role: roles.count(role) for role in dict.fromkeys(sorted(roles))}
    kinds = ", ".join(f"{count:,} {WORDS[role].format(plan.species)}" for role, count in counts.items())
    if mixture := _mixture(plan, roles):
        say(f"zero-shot tracks of {plan.species} are sums of standardised parts, weighted by {mixture}")
        say("the weights follow from the agreement that is expected: the lower they are, the lower the peaks")
    if ZERO_SHOT in counts and not plan.provenance.get("spread", {}).get("of_zero_shot_tracks", True):
        remark("the error of zero-shot tracks is not known: no other assay could be hidden to estimate it")
    if seen := counts.get(TRAINED_ON, 0):
        remark(f"the model was trained on {seen:,} of the {len(roles):,} tracks: {NO_TEST}")
    if expected := _expected(plan.experiments):
        say(expected)
    planned = {
        "species": plan.species,
        "experiments": plan.n_experiments,
        "roles": counts,
        "bins": plan.n_bins,
        "bytes_uncompressed": plan.n_bytes,
    }
    if dry_run:
        say(
            f"would impute {plan.n_experiments:,} x {plan.n_bins:,} bins, {bytes_text(plan.n_bytes)}: {kinds}"
        )
        if json:
            print_json({"store": out, "plan": planned})
        return
    in_this_process = workers is None and scheduler is None
    with (
        contextlib.nullcontext() if in_this_process else open_client(workers, scheduler) as client,
        progress_bar() as bar,
    ):
        done = run(
            trained,
            store,
            out,
            pairs=wanted,
            everything=everything,
            factors=fitted,
            client=client,
            progress=counting(bar, "imputing tiles"),
        )
    observed = open_compendium(store)
    species = observed.attrs["species"]
    elsewhere = sum(pair[0] != species for pair in wanted or ())
    if elsewhere:
        remark(
            f"{counted(elsewhere, 'pair')} of other species than {species} not imputed: {store} lacks them"
        )
    for text in _units_of_zero_shot(trained.axis, species, {str(name) for name in done["assay"]}):
        remark(text)
    for one in alike_in(open_compendium(out), observed, roles):
        remark(_alike(one))
    if observed.attrs["uncovered"] == "nan":
        remark(
            f"{store} has bins without a value: where no training experiment has one, imputed values only "
            "depend on biosample and assay"
        )
    unknown_assays = sorted(set(map(str, observed.assay.to_numpy())) - _names_of(trained.axis, species))
    if unknown_assays and wanted is None:
        few = listed(unknown_assays)
        remark(
            f"{counted(len(unknown_assays), 'assay')} of {store} had no part in training, not imputed: {few}"
        )
    candidates = trained.axis.all_pairs(species) if everything else trained.axis.missing_pairs(species)
    if wanted is None and len(done) < len(candidates):
        lacking = counted(len(candidates) - len(done), "pair")
        say(f"{lacking} left out: their biosample or assay has no training experiment")
    say(f"{out}: {counted(len(done), 'imputed experiment')}: {kinds}")
    if json:
        print_json({"store": out, "plan": planned, "experiments": done.assign(role=roles)})


def _mixture(plan: Any, roles: list[str]) -> str:
    """Say what zero-shot tracks are mixed from, if there are any and the model mixes them.

    The weights are those of standardised parts, as in the provenance: they do not add up to 1.
    """
    from epixs.imputation.roles import ZERO_SHOT

    mixtures = plan.provenance.get("zero_shot_mixture", {})
    imputed = [
        assay for assay, role in zip(plan.experiments["assay"], roles, strict=True) if role == ZERO_SHOT
    ]
    wanted = [mixtures[assay] for assay in imputed if assay in mixtures]
    if not any(any(mixture.values()) for mixture in wanted):
        return ""
    parts = []
    for part in wanted[0]:
        shares = [mixture[part] for mixture in wanted]
        if not any(shares):
            continue
        low, high = f"{min(shares):.2f}", f"{max(shares):.2f}"
        parts.append(f"{low if low == high else f'{low} to {high}'} ({part})")
    return " and ".join(parts)


def _alike(one: Any) -> str:
    """Name the zero-shot tracks of a biosample that hardly differ."""
    from epixs.imputation.alike import ALIKE

    parts = []
    if one.assays:
        parts.append(f"{listed([*one.assays])} hardly differ")
    if one.with_mean:
        are = "is" if len(one.with_mean) == 1 else "are"
        parts.append(f"{listed([*one.with_mean])} {are} like the mean of its tracks")
    return (
        f"zero-shot tracks of {one.biosample} (correlation {ALIKE} or more): {', and '.join(parts)}. "
        "They show where the biosample has signal, but little of what is special to an assay"
    )


def _expected(experiments: Any) -> str:
    """Say how well imputed tracks are expected to agree with measured ones, if the model knows it."""
    name = "expected_pearson"
    if name not in experiments or experiments[name].isna().all():
        return ""
    known = experiments[name].dropna()
    low, middle, high = known.quantile([0, 0.5, 1])
    return (
        f"expected Pearson with measured tracks: {low:.2f} to {high:.2f}, median {middle:.2f} "
        f"(`{name}` in the store: of each track)"
    )


def _units_of_zero_shot(axis: Any, species: str, imputed: set[str]) -> list[str]:
    """Note the assays trained on only in other species, in other units than this species' tracks have."""
    own, everywhere = axis.units(species), axis.units()
    own_units = {unit for units in own.values() for unit in units}
    part = axis.part(species)
    strange = [
        assay
        for assay, units in everywhere.items()
        if assay not in own and part.store_name(assay) in imputed and not set(units) <= own_units
    ]
    if not strange:
        return []
    named = listed([f"{part.store_name(assay)} ({', '.join(everywhere[assay])})" for assay in strange])
    return [
        f"trained on only in other species, and in other units than the tracks of {species} "
        f"({listed(sorted(own_units))}): "
        f"{named}. It is not known which of the two scales the imputed values have: compare them by rank"
    ]


def _names_of(axis: Any, species: str) -> set[str]:
    """Return the names of a model's assays, both its own and those in a species' store."""
    return {*axis.assays, *axis.part(species).aliases}
