"""`epixs evaluate`, `tables` and `plot`: from imputed tracks to scores and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from epixs.cli.options import (
    AsJson,
    Cluster,
    FigureKind,
    Genes,
    Imputed,
    Observed,
    Picture,
    Quiet,
    ScoringMode,
    TableFormat,
)
from epixs.cli.terminal import (
    NO_TEST,
    check_present,
    plain,
    print_json,
    progress_bar,
    remark,
    say,
    show_table,
    start_tensorflow,
)
from epixs.errors import counted


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
    from epixs.evaluation.table import AVERAGE, SEEN, ZERO_SHOT, partly_scored
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
    if seen := [role for role in SEEN if (scores.scores["role"] == role).any()]:
        remark(f"the model was trained on tracks of role {' and '.join(seen)}: {NO_TEST}")
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
