"""`epixs export` and `browse`: from stores and models to files for genome browsers, and to a page."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from epixs.cli.options import AsJson, Factors, Quiet, Scheduler, Workers
from epixs.cli.terminal import (
    bytes_text,
    check_present,
    counting,
    print_json,
    progress_bar,
    refuse,
    remark,
    say,
    start_tensorflow,
)
from epixs.errors import counted


def export(
    stores: Annotated[list[str], typer.Argument(metavar="STORE", help="stores, observed or imputed")],
    bigwig: Annotated[Path | None, typer.Option(help="folder for bigWigs and their table")] = None,
    hub: Annotated[Path | None, typer.Option(help="folder for a track hub with its bigWigs")] = None,
    bedgraph: Annotated[Path | None, typer.Option(help="bedGraph file of --locus")] = None,
    parquet: Annotated[
        Path | None, typer.Option(help="Parquet file of --locus, one column per track")
    ] = None,
    locus: Annotated[
        str | None, typer.Option(help="for --bedgraph and --parquet, for instance chr19:3,000,000-3,100,000")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="the tracks' own units; by default arcsinh units")
    ] = False,
    interval: Annotated[
        bool, typer.Option("--interval", help="also the ends of the interval that holds 80 % of the bins")
    ] = False,
    biosample: Annotated[list[str] | None, typer.Option(help="only this one; may be repeated")] = None,
    assay: Annotated[list[str] | None, typer.Option(help="only this one; may be repeated")] = None,
    pairs: Annotated[Path | None, typer.Option(help="TSV of species, biosample, assay to export")] = None,
    regions: Annotated[Path | None, typer.Option(help="BED file: only bins that it touches")] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="export this model's imputed tracks for each store, computed on the way"),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="with --model: also tracks trained on")] = False,
    factors: Annotated[
        str | None,
        typer.Option(
            help="X.h5ad, with MODEL_DIR in place of STORE: write X.biosamples.h5ad and X.assays.h5ad; "
            "with --model: genome factors of the store's regions, from `epixs fit-genome`"
        ),
    ] = None,
    chrom_sizes: Annotated[
        Path | None, typer.Option(help="chromosome sizes of a genome that epixs does not know")
    ] = None,
    two_bit: Annotated[
        Path | None, typer.Option(help="with --hub: sequence of a genome that UCSC does not know")
    ] = None,
    email: Annotated[str | None, typer.Option(help="with --hub: contact address")] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write tracks as bigWigs, alone or with a track hub for genome browsers. A second run resumes.

    Or write one locus as a table (--bedgraph, --parquet), or a model's factors (--factors).
    """
    from epixs.errors import ConfigError

    h5ad = Path(factors) if factors and model is None else None
    chosen = [
        name
        for name, path in (
            ("--bigwig", bigwig), ("--hub", hub), ("--bedgraph", bedgraph), ("--parquet", parquet),
            ("--factors", h5ad),
        )
        if path is not None
    ]  # fmt: skip
    if len(chosen) != 1:
        raise ConfigError(
            "what to write",
            got=" and ".join(chosen) or "nothing",
            expected="one of --bigwig, --hub, --bedgraph, --parquet and --factors",
        )
    if (locus is not None) != (bedgraph is not None or parquet is not None):
        raise ConfigError(
            "--locus", got=locus or "none", expected="a locus with --bedgraph and --parquet, and only there"
        )
    if h5ad is not None:
        refuse(
            "with --factors X.h5ad",
            {
                "--raw": raw, "--interval": interval, "--biosample": biosample, "--assay": assay,
                "--pairs": pairs, "--regions": regions, "--all": everything,
                "--chrom-sizes": chrom_sizes,
                "--two-bit": two_bit, "--email": email, "--workers": workers, "--scheduler": scheduler,
            },
        )  # fmt: skip
        _export_factors(stores, h5ad, json=json)
        return
    if locus is not None:
        refuse(
            "with --bedgraph and --parquet",
            {
                "--interval": interval,
                "--regions": regions,
                "--chrom-sizes": chrom_sizes,
                "--workers": workers,
                "--scheduler": scheduler,
            },
        )
    if everything and model is None:
        raise ConfigError("--all", got="--all without --model", expected="both, or neither")
    for name, path in (("--two-bit", two_bit), ("--email", email)):
        if path is not None and hub is None:
            raise ConfigError(name, got=f"{name} without --hub", expected="both, or neither")
    check_present("store", *stores, factors)
    check_present("model folder", model)
    check_present("--pairs", pairs)
    check_present("regions file", regions)
    check_present("file", chrom_sizes, two_bit)
    from epixs.catalog.pairs import read_pairs
    from epixs.cluster.client import cores, open_client
    from epixs.exports.run import export as run
    from epixs.genome.assembly import Assembly, read_chrom_sizes

    wanted = read_pairs(pairs, what="--pairs") if pairs else None
    compendia: Any = stores
    if model is not None:
        compendia, wanted = _imputed(model, stores, wanted, everything=everything, factors=factors), None
    if locus is not None:
        from epixs.exports.locus_table import export_locus

        table = export_locus(
            compendia,
            locus,
            bedgraph=bedgraph,
            parquet=parquet,
            raw=raw,
            biosamples=biosample or (),
            assays=assay or (),
            pairs=wanted,
        )
        for text in table.attrs["notes"]:
            remark(text)
        experiments = table.shape[1] - 3
        say(f"{bedgraph or parquet}: {len(table):,} bins of {counted(experiments, 'experiment')}")
        if json:
            print_json(
                {"file": bedgraph or parquet, "bins": len(table), "experiments": list(table.columns[3:])}
            )
        return
    with contextlib.ExitStack() as stack:
        if workers is not None or scheduler is not None:
            client = stack.enter_context(open_client(workers, scheduler))
        elif model is None:
            client = stack.enter_context(ThreadPoolExecutor(cores()))
        else:  # a model computes on all cores
            client = None
        bar = stack.enter_context(progress_bar())
        tracks = run(
            compendia,
            bigwig=bigwig,
            hub=hub,
            raw=raw,
            interval=interval,
            biosamples=biosample or (),
            assays=assay or (),
            pairs=wanted,
            regions=regions,
            assembly=Assembly("given", read_chrom_sizes(chrom_sizes)) if chrom_sizes else None,
            two_bit=two_bit,
            email=email,
            client=client,
            progress=counting(bar, "writing bins"),
        )
    notes = tracks.attrs["notes"]
    for text in notes:
        remark(text)
    folder = bigwig or hub
    size = bytes_text(tracks["size"].sum())
    what = "arcsinh of the tracks' own units" if not raw else "the tracks' own units"
    say(f"{folder}: {counted(len(tracks), 'bigWig')} in {what}, {size}")
    if hub is not None:
        say(f"put {folder} where a web server shows it, and give a genome browser the URL of its hub.txt")
    if json:
        print_json({"folder": folder, "tracks": tracks, "notes": notes})


def _export_factors(models: list[str], path: Path, *, json: bool) -> None:
    """Write a model's factors as AnnData."""
    from epixs.errors import ConfigError

    if len(models) != 1:
        raise ConfigError("--factors", got=f"{len(models)} folders", expected="one model folder")
    if path.suffix != ".h5ad":
        raise ConfigError(
            "--factors",
            got=f"{path} without --model",
            expected="a file to write that ends with .h5ad; or --model, whose genome factors these are",
        )
    check_present("model folder", Path(models[0]))
    start_tensorflow()
    from epixs.exports.h5ad import export_factors
    from epixs.models.folder import open_model

    trained = open_model(models[0])
    made = export_factors(trained, path)
    for file in made:
        say(f"{file}: open it with `anndata.read_h5ad`")
    if len(made) == 1:
        remark(f"models of kind {trained.kind.name} only have factors of assays")
    if json:
        print_json({"files": made})


def browse(
    stores: Annotated[list[str], typer.Argument(metavar="STORE", help="stores, observed or imputed")],
    model: Annotated[
        Path | None,
        typer.Option(help="also show this model's imputed tracks for each store, computed while one scrolls"),
    ] = None,
    factors: Factors = None,
    locus: Annotated[
        str | None, typer.Option(help="locus to open at, for instance chr19:3,000,000-3,100,000")
    ] = None,
    biosample: Annotated[str | None, typer.Option(help="biosample to open with")] = None,
    assay: Annotated[str | None, typer.Option(help="assay to open with")] = None,
    genes: Annotated[Path | None, typer.Option(help="BED, GFF or GTF file of genes to find and draw")] = None,
    chrom_sizes: Annotated[
        Path | None, typer.Option(help="chromosome sizes of a genome that epixs does not know")
    ] = None,
    host: Annotated[
        str, typer.Option(help="address to serve on; the default shows the page on this machine only")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="port; 0 takes a free one")] = 0,
    quiet: Quiet = False,
) -> None:
    """Show tracks on the genome in a web browser, observed beside imputed, until Ctrl-C."""
    from epixs.errors import ConfigError

    if factors and model is None:
        raise ConfigError("--factors", got="--factors without --model", expected="both, or neither")
    check_present("store", *stores, factors)
    check_present("model folder", model)
    check_present("file", chrom_sizes, genes)
    from epixs.exports.browser.browse import browse as run
    from epixs.exports.browser.server import igv_script
    from epixs.genome.assembly import Assembly, read_chrom_sizes

    igv_script()
    lazy = _imputed(model, stores, None, everything=True, factors=factors) if model else []

    def ready(url: str) -> None:
        say(f"open {url}")
        remark("the page is served until Ctrl-C; anyone with this URL can see the tracks")

    with contextlib.suppress(KeyboardInterrupt):  # the only way to end it
        run(
            [*stores, *lazy],
            locus=locus,
            biosample=biosample,
            assay=assay,
            genes=genes,
            assembly=Assembly("given", read_chrom_sizes(chrom_sizes)) if chrom_sizes else None,
            host=host,
            port=port,
            ready=ready,
        )
    remark("the page is closed")


def _imputed(
    model: Path, stores: list[str], pairs: Any, *, everything: bool, factors: str | None
) -> list[Any]:
    """Open a model's imputed tracks for each store, which are computed when they are read."""
    start_tensorflow()
    from epixs.factors.store import open_factors
    from epixs.imputation.write import open_imputed
    from epixs.models.folder import open_model

    trained = open_model(model)
    fitted = open_factors(factors) if factors else None
    return [
        open_imputed(trained, store, pairs=pairs, everything=everything, factors=fitted) for store in stores
    ]
