"""`epixs impute`, `evaluate`, `tables` and `plot`: from models to imputations, scores and pictures."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from epixs.cli.options import (
    AsJson,
    Cluster,
    DryRun,
    Factors,
    FigureKind,
    Genes,
    Imputed,
    ModelDir,
    Observed,
    Picture,
    Quiet,
    Scheduler,
    ScoringMode,
    TableFormat,
    Workers,
)
from epixs.cli.terminal import (
    bytes_text,
    check_present,
    counted,
    counting,
    listed,
    plain,
    print_json,
    progress_bar,
    remark,
    say,
    show_table,
    start_tensorflow,
)

NO_TEST = "how well it does there says nothing of tracks that nobody measured"

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
        say(f"zero-shot tracks of {plan.species} are mixed from: {mixture}")
        say("the less they are expected to agree with measured tracks, the lower are their peaks")
    if ZERO_SHOT in counts and not plan.provenance.get("spread", {}).get("of_zero_shot_tracks", True):
        remark("the error of zero-shot tracks is not known: no other assay could be hidden to estimate it")
    if seen := counts.get(TRAINED_ON, 0):
        remark(f"the model was trained on {counted(seen, 'track')} of these: {NO_TEST}")
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

    The shares are those of standardised parts, as in the provenance; what is missing to 100 % is contrast.
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
        low, high = f"{min(shares):.0%}", f"{max(shares):.0%}"
        parts.append(f"{low if low == high else f'{low} to {high}'} {part}")
    return ", ".join(parts)


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


def evaluate(
    imputed: Imputed,
    store: Observed,
    report: Annotated[
        Path | None,
        typer.Option(help="folder for a page, report.html, and the tables scores.tsv and summary.tsv"),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="the model's folder: factors and learning curves, on the page")
    ] = None,
    locus: Annotated[
        list[str] | None, typer.Option(help="locus at which the page shows the best and the worst track")
    ] = None,
    other: Annotated[
        list[str] | None,
        typer.Option(help="other species' store for the zero-shot baselines, if it was moved"),
    ] = None,
    mode: Annotated[
        ScoringMode,
        typer.Option(help="challenge: the ENCODE Imputation Challenge's own definitions and units"),
    ] = ScoringMode.corrected,
    baseline: Annotated[
        list[str] | None, typer.Option(help="a further baseline of docs/baselines.md by name, or all")
    ] = None,
    genes: Annotated[
        Path | None, typer.Option(help="BED of genes, for mseprom and msegene, and to draw on the page")
    ] = None,
    enhancers: Annotated[Path | None, typer.Option(help="BED of enhancers, for mseenh")] = None,
    blacklist: Annotated[Path | None, typer.Option(help="BED of bins that do not count")] = None,
    peaks: Annotated[
        Path | None,
        typer.Option(
            help="TSV of biosample, assay, path (from its folder on): each experiment's peaks, for auprc"
        ),
    ] = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score imputed against observed tracks, beside average activity and zero-shot baselines."""
    from epixs.errors import ConfigError
    from epixs.storage.files import check_report_folder

    if report:
        check_report_folder(report)
    elif model or locus:
        raise ConfigError(
            "--model and --locus", got="no --report", expected="a folder for the page that shows them"
        )
    check_present("store", imputed, store, *(other or ()))
    check_present("model folder", model)
    from epixs.evaluation.ladder import baselines_named
    from epixs.evaluation.metrics import SHOWN
    from epixs.evaluation.scores import evaluate as run
    from epixs.evaluation.table import AVERAGE, TRAINED_ON, ZERO_SHOT, partly_scored
    from epixs.report.page_parts import Sources
    from epixs.report.tables import write_report

    page_options: dict[str, Any] = {
        "imputed": imputed,
        "store": store,
        "model": model,
        "loci": tuple(locus or ()),
        "genes": genes,
    }
    if report:
        Sources.open(**page_options)  # checks them before anything is scored
    further = baselines_named(baseline or ())
    with progress_bar() as bar:
        task = bar.add_task("scoring experiments", total=None)
        scores = run(
            imputed,
            store,
            others=other or (),
            mode=mode.value,
            genes=genes,
            enhancers=enhancers,
            blacklist=blacklist,
            peaks=peaks,
            baselines=further,
            progress=lambda d, n: bar.update(task, completed=d, total=n),
        )
    for text in scores.notes:
        remark(text)
    summary = scores.summary()
    wanted = SHOWN[mode.value] if scores.scores["same_units"].all() else (*SHOWN[mode.value], "mse_affine")
    metrics = [name for name in wanted if name in summary]
    names = ["role", "assay", "biosample", "method", *metrics]
    show_table("per experiment", names, scores.scores[names].to_numpy().tolist())
    names = ["role", "assay_class", "method", "scored", "correlated", *metrics]
    show_table("means over experiments", names, summary[names].to_numpy().tolist())
    if report and model:
        start_tensorflow()
    files = write_report(scores, report, **page_options) if report else []
    for path in files:
        say(f"wrote {path}")
    over = "MSE over the bins that all methods know" if partly_scored(scores.scores) else "MSE over all bins"
    verdicts = [("mse", over)]
    if not scores.scores["same_units"].all():  # errors in different units cannot be compared
        rank = "gwspear" if mode is ScoringMode.challenge else "spearman"
        verdicts.append((rank, "by rank, Spearman"))
        if mode is ScoringMode.corrected:
            verdicts.append(("mse_affine", "by MSE of the best affine fit, as units differ"))
    methods = dict.fromkeys((AVERAGE, *ZERO_SHOT, *(one.name for one in further)))
    better_than = []
    for metric, how in verdicts:
        for method in methods:
            for role, (better, tracks) in scores.better_than(method, metric).items():
                better_on = f"{better} of {counted(tracks, 'track')}"
                say(f"{role}: imputed better than {method} on {better_on} ({how})")
                better_than.append(
                    {"role": role, "method": method, "metric": metric, "better": better, "tracks": tracks}
                )
    correlation = "gwcorr" if mode is ScoringMode.challenge else "pearson"
    of_what = " of raw signal" if mode is ScoringMode.challenge else ""
    for role, (value, baseline_name, best) in scores.beside_the_best(correlation).items():
        beside = f"; of the best fair baseline {best:.2f} ({baseline_name})" if baseline_name else ""
        say(f"{role}: mean Pearson{of_what} {value:.2f}{beside}")
    if (scores.scores["role"] == TRAINED_ON).any():
        remark(f"the model was trained on the tracks of role {TRAINED_ON}: {NO_TEST}")
    for name, both in scores.expected().groupby("role"):
        higher = f"higher than expected on {int((both['true'] > both['expected']).sum())} of {len(both)}"
        expected, true = both["expected"].mean(), both["true"].mean()
        say(f"{name}: expected Pearson {expected:.2f} in the mean, and {true:.2f} found, {higher}")
    if ranked := scores.rank_of_expected():
        say(f"expected and found Pearson over {ranked[1]} tracks: Spearman {ranked[0]:.2f}")
    if odd_rows := scores.odd_rows_note():
        remark(odd_rows)
    if json:
        content = {"scores": scores.scores, "summary": summary, "better_than": better_than}
        content["odd_rows"] = scores.odd_rows
        print_json({"imputed": imputed, "store": store, **content, "notes": scores.notes, "files": files})


def tables(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="folder of `epixs crossvalidate` or `evaluate --report`")
    ],
    format: Annotated[
        TableFormat | None, typer.Option(help="print the tables in this format, and nothing else")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="compare with this training set, model or baseline instead of one species"),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="column of the scores; by default mse, or spearman if all units differ")
    ] = None,
    cluster: Annotated[Cluster, typer.Option(help="unit that the intervals draw")] = Cluster.biosample,
    seed: Annotated[int, typer.Option(min=0, help="seed of the intervals' draws")] = 0,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make the paper's tables of a run, with intervals and tests, and compare the species by assay."""
    check_present("run", run)
    from epixs.evaluation.comparison import tables as make
    from epixs.report.tables import printed_tables, typeset

    made = make(run, metric=metric, baseline=baseline, cluster=cluster.value, seed=seed)
    if json:
        print_json({"run": run, **vars(made)})
    elif format:
        typer.echo(plain(typeset(made, format.value)), nl=False)  # `say` would make spaces of tabs
    if not json and not format:
        for title, table in printed_tables(made).items():
            show_table(title, list(table.columns), table.to_numpy().tolist())
    for text in made.notes:
        remark(text)


def plot(
    imputed: Annotated[
        str, typer.Argument(metavar="IMPUTED|MODEL_DIR", help="imputed store; a model folder for factors")
    ],
    out: Picture,
    store: Annotated[
        str | None,
        typer.Argument(metavar="STORE", help="observed store of the same species; none for factors"),
    ] = None,
    biosample: Annotated[str | None, typer.Option(help="as `epixs info` lists it; by default any")] = None,
    assay: Annotated[str | None, typer.Option(help="as `epixs info` lists it; by default any")] = None,
    locus: Annotated[str | None, typer.Option(help="for instance chr19:3,000,000-3,100,000")] = None,
    figure: Annotated[
        FigureKind,
        typer.Option(
            help="locus: tracks along --locus; density: observed against imputed; skill: a matrix of all; "
            "factors: MODEL_DIR's factors of assays and biosamples"
        ),
    ] = FigureKind.locus,
    genes: Genes = None,
    quiet: Quiet = False,
) -> None:
    """Draw a figure for a paper: tracks along a locus, values against each other, skill, or factors."""
    if figure is FigureKind.factors:
        check_present("model folder", Path(imputed))
        start_tensorflow()
    else:
        check_present("store", imputed, *([store] if store is not None else []))
    check_present("file", genes)
    from epixs.report.plot import plot as run

    with progress_bar() as bar:
        task = bar.add_task("drawing", total=None)
        notes = run(
            imputed,
            store,
            out=out,
            figure=figure.value,
            biosample=biosample,
            assay=assay,
            locus=locus,
            genes=genes,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for text in notes:
        remark(text)
    say(f"wrote {out}")
