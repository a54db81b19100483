"""Make the sections of the page of an evaluation, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from epixs.compendium.read import provenance_of
from epixs.evaluation.metrics import SHOWN
from epixs.evaluation.table import AVERAGE, IMPUTED, SEEN, ZERO_SHOT
from epixs.report.calibration import Calibration
from epixs.report.comparison import Track
from epixs.report.figures.agreement import agreement_of, draw_agreement
from epixs.report.figures.calibration import draw_calibration
from epixs.report.figures.canvas import short_names, shown
from epixs.report.figures.curves import draw_curves, keeps_last
from epixs.report.figures.factors import draw_factors, factor_maps
from epixs.report.figures.locus import draw_locus, view_of
from epixs.report.figures.scores import (
    BEST_BASELINE,
    TRACK,
    draw_points,
    draw_skill,
    titled,
)
from epixs.report.loci import LARGEST_ERROR, MOST_SIGNAL, WINDOW, chosen_places
from epixs.report.page_parts import Page, Part, Section, measured_tracks, signed
from epixs.training.history import HISTORY_FILE, read_history

MOST_LISTED = 2_000
"""Maximum number of rows of the table of tracks. scores.tsv has all tracks."""

RANKS = ("spearman", "gwspear")

LINEAR = ("pearson", "gwcorr")


def sections_of(page: Page, found: Sequence[Calibration]) -> Iterator[Section]:
    """Yield all sections. Those without parts are not shown. Without matplotlib there are no pictures."""
    yield Section(
        "summary",
        "Summary",
        "Means over tracks, by the tracks' role in training and by assay class. All methods of a group are "
        "averaged over the same tracks.",
        [*_verdicts(page), *_means(page)],
    )
    if page.plt is not None:
        yield Section(
            "skill",
            "Skill by assay and biosample",
            "Skill is 1 - MSE / MSE of a baseline: 1 is perfect, 0 no better than the baseline, below 0 "
            f"worse. The baseline is average activity; for a track that has none, {BEST_BASELINE}.",
            _skill(page),
        )
        yield Section(
            "points",
            "Each track against each baseline",
            "A mean can hide a loss, so each point is one track. In the shaded half the model is better.",
            _points(page),
        )
        yield Section(
            "calibration",
            "Calibration of intervals",
            "Each imputed value has a spread. Intervals are computed from it as if errors were normal. Below "
            "the dashed line intervals are too narrow: the model is surer than it should be.",
            _calibration(page, found),
        )
        yield Section("loci", "Best and worst track", _why_these(page), list(_loci(page)))
        yield Section(
            "factors",
            "What the model has learned",
            "Factors as points: the model treats points that lie close together alike. The two directions in "
            "which they vary most are shown, so distances on the page are smaller than those in the model.",
            list(_factors(page)),
        )
        yield Section("training", "Training", "", list(_training(page)))
    yield Section("all", "All tracks", "", [_listed(page)])


def _verdicts(page: Page) -> Iterator[Part]:
    """Count the tracks on which imputed is better, by role and baseline."""
    rows = []
    metrics = ["mse", *page.named(*RANKS)[:1]]
    methods = [name for name in (AVERAGE, *ZERO_SHOT) if name in set(page.scores["method"])]
    for metric in metrics:
        for method in methods:
            for role, (better, tracks) in page.evaluation.better_than(method, metric).items():
                rows.append([role, method, titled(metric), better, tracks])
    if rows:
        yield Part(
            "On how many tracks imputed is better",
            columns=["role", "than", "by", "better on", "of tracks"],
            rows=rows,
        )


def _means(page: Page) -> Iterator[Part]:
    table = page.evaluation.summary()
    is_only = table.groupby("role")["assay_class"].transform("nunique") <= 2  # one class, and overall
    table = table[~is_only | (table["assay_class"] == "overall")]
    mode = "challenge" if "gwcorr" in table else "corrected"
    kept = [name for name in (*SHOWN[mode], "skill") if name in table and table[name].notna().any()]
    columns = [
        name for name in ("role", "assay_class", "method", "experiments", "scored", *kept) if name in table
    ]
    yield Part(
        "Means over tracks",
        columns=[titled(name) for name in columns],
        rows=[_texts(row) for row in table[columns].to_numpy(dtype=object).tolist()],
        note="scored: number of tracks in means of errors. summary.tsv has all metrics, "
        "docs/metrics.md their definitions.",
    )


def _texts(row: Sequence[Any]) -> list[Any]:
    """Write the cells of a table, with classes and roles in words."""
    return [cell.replace("_", " ") if isinstance(cell, str) else cell for cell in row]


def _skill(page: Page) -> list[Part]:
    parts = []
    for role, tracks in page.tracks.groupby("role", sort=False):
        if tracks["skill"].notna().any():
            against = sorted(set(tracks.loc[tracks["skill"].notna(), "against"]))
            caption = (
                f"Skill of {len(tracks):,} {role} tracks against {' or '.join(against)}; means "
                "at the right and below; grey: no such track."
            )
            picture = page.picture(f"skill-{_slug(str(role))}", draw_skill(page.plt, tracks), caption)
            parts.append(Part(str(role).capitalize() if len(set(page.tracks["role"])) > 1 else "", [picture]))
    return parts


def _slug(text: str) -> str:
    return "-".join("".join(sign if sign.isalnum() else " " for sign in text).split()) or "figure"


def _points(page: Page) -> list[Part]:
    if page.scores["method"].nunique() < 2:
        return []
    metrics = page.named("mse", *LINEAR)
    if "same_units" in page.scores and not page.scores["same_units"].all():
        metrics = page.named("mse", *RANKS)
    drawn = draw_points(page.plt, page.scores, metrics)
    caption = (
        "Score of the model (vertical) and of a baseline (horizontal) per track. Hover over a point to see "
        "its name."
    )
    return [Part("", [page.picture("tracks-against-baselines", drawn, caption)])]


def _calibration(page: Page, found: Sequence[Calibration]) -> list[Part]:
    if not found or not sum(one.bins for one in found):
        return []
    classes = page.scores.drop_duplicates("assay").set_index("assay")["assay_class"]
    counted = [one for one in found if one.bins]
    drawn = draw_calibration(page.plt, counted, {str(name): str(of) for name, of in classes.items()})
    caption = (
        "Left: share of observed values in intervals of every size; thin lines are tracks. Right: "
        "the 80 % interval (imputed \N{PLUS-MINUS SIGN} 1.28 spreads) of each track, by assay."
    )
    return [Part("", [page.picture("calibration", drawn, caption)])]


def _extremes(page: Page) -> list[tuple[str, Track]]:
    """Find the best and the worst track by skill, or else by MSE, if possible among untrained tracks."""
    measured = {(track.biosample, track.assay): track for track in measured_tracks(page)}
    if not measured:
        return []
    untouched = page.tracks[~page.tracks["role"].isin(SEEN)]
    ranked = (untouched if len(untouched) else page.tracks).copy()
    ranked = ranked[[key in measured for key in zip(ranked["biosample"], ranked["assay"], strict=True)]]
    by_skill = ranked["skill"].notna().any()
    ranked["rank"] = ranked["skill"] if by_skill else -ranked["mse"]
    ranked = ranked.dropna(subset=["rank"]).sort_values("rank", ascending=False, kind="stable")
    ends = [("Best", 0), ("Worst", -1)] if len(ranked) > 1 else [("The only", 0)] if len(ranked) else []
    tracks = []
    for word, at in ends:
        row = ranked.iloc[at]
        score = f"skill {signed(row['skill'])}" if by_skill else f"MSE {row['mse']:.4f}"
        track = measured[row["biosample"], row["assay"]]
        name = f"{short_names([track.assay])[track.assay]} in {shown(track.biosample)}"
        tracks.append((f"{word} track: {name}, {score}", track))
    return tracks


def _why_these(page: Page) -> str:
    if page.sources.loci:
        return "Observed and imputed tracks on one scale, at the places that were asked for."
    return (
        f"Observed and imputed tracks on one scale. The places are chosen by rule: of all windows of "
        f"{WINDOW // 1000} kb, one "
        f"has the {MOST_SIGNAL} of the track, another the {LARGEST_ERROR} of the imputed values."
    )


def _loci(page: Page) -> Iterator[Part]:
    pair = page.sources.pair
    if pair is None:
        return
    for title, track in _extremes(page):
        places = [("as asked for", place) for place in page.sources.loci] or list(chosen_places(pair, track))
        pictures = []
        for number, (why, place) in enumerate(places):
            view = view_of(pair, [track], place, page.sources.genes)
            caption = f"{place.locus}: {why}."
            if view.bins_per_window > 1:
                caption += f" Each value drawn is the mean of {view.bins_per_window} bins."
            name = f"{_slug(title.partition(' ')[0].lower())}-locus-{number + 1}"
            pictures.append(page.picture(name, draw_locus(page.plt, view), caption))
        caption = "All bins of the track by imputed and observed value."
        drawn = draw_agreement(page.plt, [agreement_of(pair, track)])
        pictures.append(page.picture(f"{_slug(title.partition(' ')[0].lower())}-agreement", drawn, caption))
        yield Part(title, pictures)


def _factors(page: Page) -> Iterator[Part]:
    if page.sources.model is None:
        return
    from epixs.models.folder import open_model  # brings TensorFlow

    trained = open_model(page.sources.model)
    if page.sources.pair is not None:
        made_by = provenance_of(page.sources.pair.predicted).get("model_fingerprint")
        if made_by != trained.fingerprint:
            page.remarks.append(
                f"These tracks were not imputed with the model {page.sources.model}: "
                "its factors and learning curves do not belong to them."
            )
    maps = factor_maps(trained.axis, trained.kind.label_factors(trained.model))
    if maps:
        caption = "First two principal components; assays coloured by class" + (
            ", biosamples by species."
            if len(maps) > 1
            else ". This kind of model has no factors of biosamples."
        )
        yield Part("", [page.picture("factors", draw_factors(page.plt, maps), caption)])


def _training(page: Page) -> Iterator[Part]:
    folder = page.sources.model
    if folder is None or not (folder / HISTORY_FILE).is_file():
        return
    history = read_history(folder)
    drawn = draw_curves(page.plt, history, keeps_last=keeps_last(folder))
    caption = (
        f"Left: errors by epoch, {len(history['epoch'])} in all. Right: errors of held-out entries "
        "in the epoch whose weights were kept, beside average activity and the mean."
    )
    yield Part("", [page.picture("training", drawn, caption)])


def _listed(page: Page) -> Part:
    """List all tracks, one row each, with the model and every baseline."""
    keys = [name for name in TRACK if name in page.scores]
    methods = list(dict.fromkeys(page.scores["method"]))
    errors = page.scores.pivot_table(index=keys, columns="method", values="mse", sort=False, dropna=False)
    table = page.tracks[keys].assign(skill=page.tracks["skill"])
    wide = (
        errors.reindex(columns=methods).reindex(pd.MultiIndex.from_frame(table[keys])).reset_index(drop=True)
    )
    table = pd.concat([table, wide.add_prefix("MSE, ")], axis=1)
    imputed = page.scores[page.scores["method"] == IMPUTED].set_index(keys)
    for metric in page.named(*LINEAR, *RANKS):
        table[f"{titled(metric)}, {IMPUTED}"] = (
            imputed[metric].reindex(pd.MultiIndex.from_frame(table[keys])).to_numpy()
        )
    table = table.sort_values("skill", kind="stable")
    few = table.head(MOST_LISTED)
    few = few.assign(assay=few["assay"].map(short_names(few["assay"])))
    note = (
        f"The {MOST_LISTED:,} with the lowest skill of {len(table):,}; scores.tsv has all."
        if len(few) < len(table)
        else ""
    )
    return Part(
        "",
        columns=[titled(name) for name in few.columns],
        rows=[_texts(row) for row in few.to_numpy(dtype=object).tolist()],
        id="tracks",
        note=note
        or "Lowest skill first; a click on a column's name sorts by it. scores.tsv has all metrics.",
    )
