import pandas as pd
import pytest

from epixs.checks.remarks import (
    mixed_units,
    odd_scales,
    remarks_on,
    same_tracks,
    slips,
    sparse_tracks,
    two_spellings,
    units_of,
)


def table(*rows):
    base = {
        "biosample": "b", "assay": "A", "accession": "F", "output_type": "signal", "status": "ok",
        "signal_mean": 0.3, "signal_min": 0.0, "signal_max": 3.0, "covered_fraction": 1.0,
    }  # fmt: skip
    return pd.DataFrame(
        [base | {"accession": f"F{i}", "zero_fraction": 0.1 + i / 100} | row for i, row in enumerate(rows)]
    )


def test_nothing_odd_gives_no_remark():
    assert remarks_on(table({}, {"biosample": "c"}, {"assay": "B"}), "mouse", "zero") == []


def test_tracks_that_hardly_cover_the_regions():
    rows = table({"covered_fraction": 0.0003}, {"covered_fraction": 0.2, "biosample": "c"})
    (note,) = sparse_tracks(rows, "zero")
    assert note.startswith("WARNING: 1 of 2 experiments have values on less than 5% of the bases")
    assert "lowest: 0.0003 of all bases, b / A (F0)" in note
    assert "counts as 0" in note
    assert "--regions" in note
    assert "--uncovered nan" in note
    (note,) = sparse_tracks(rows, "nan")
    assert "is missing (NaN)" in note
    assert "--uncovered" not in note
    assert sparse_tracks(table({"covered_fraction": 0.0, "status": "gone"}), "zero") == []


def test_all_tracks_alike_are_no_excuse():
    assert "2 of 2 experiments" in sparse_tracks(table(*[{"covered_fraction": 0.01}] * 2), "zero")[0]


def test_units_mixed_within_an_assay():
    rows = table({}, {"output_type": "fold change"}, {"assay": "B"})
    (note,) = mixed_units(units_of(rows, "mouse"))
    assert note.startswith("A comes in several units: fold change and signal in mouse.")
    across = {"A": {"human": ["p"], "mouse": ["f"]}, "B": {"human": ["p"], "mouse": ["p"]}}
    assert mixed_units(across)[0].startswith("A comes in several units: p in human; f in mouse.")
    assert mixed_units({"B": across["B"]}) == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"signal_mean": 69.8, "signal_max": 72.0}],
            "F0) has a mean of 69.8 arcsinh units (1.03e+30 in its own)",
        ),
        (
            [{}, {}, {"signal_mean": 5.0}],
            "F2) has a mean of 5 arcsinh units (74.2 in its own), where 0.3 is usual",
        ),
        (
            [{"signal_max": 17.0}],
            "F0) reaches 17 arcsinh units (1.21e+07 in its own): training clips values at 16",
        ),
        ([{"signal_max": 0.0}], "F0) has the same value everywhere, 0"),
    ],
)
def test_odd_scales(rows, message):
    (note,) = odd_scales(table(*rows))
    assert message in note


def test_scales_are_compared_within_an_assay():
    assert odd_scales(table({}, {"assay": "B", "signal_mean": 5.0, "signal_max": 9.0})) == []


@pytest.mark.parametrize(
    ("names", "same"),
    [
        (["h1", "H1", "H2"], "'H1' and 'h1'"),
        (["HeLa-S3", "HeLaS3"], "'HeLa-S3' and 'HeLaS3'"),
        (["T cell", "T_cell", "T-cell"], "'T cell' and 'T-cell' and 'T_cell'"),
    ],
)
def test_names_in_two_spellings(names, same):
    assert same in two_spellings(names, "biosamples")[0]


def test_warnings_come_first_and_what_is_left_out_is_counted():
    rows = [{"signal_max": 0.0, "biosample": f"b{i}"} for i in range(8)] + [
        {"signal_mean": 14.5, "signal_max": 15.0}
    ]
    notes = odd_scales(table(*rows))
    assert notes[0].startswith("WARNING: b / A (F8) has a mean of 14.5")
    assert notes[-1] == "and 3 more such remarks"


def test_negative_values_are_clipped_too():
    (note,) = odd_scales(table({"signal_min": -25.0, "signal_mean": -1.0}))
    assert "reaches -25 arcsinh units (-3.6e+10 in its own): training clips values at -16" in note


def test_one_track_under_two_accessions():
    (note,) = same_tracks(table({"zero_fraction": 0.5}, {"zero_fraction": 0.5, "biosample": "c"}, {}))
    assert "the same track under several names: b / A (F0), c / A (F1)" in note
    assert (
        same_tracks(table({"signal_max": 0.0}, {"signal_max": 0.0})) == []
    )  # another remark covers constant ones


def test_signs_are_no_spelling():
    assert two_spellings(["CD8+ T cell", "CD8- T cell", "K562", "K-561"], "biosamples") == []


@pytest.mark.parametrize(
    ("rare", "is_slip"),
    [
        ("ChIP-seq_H3K4m3_signal_p-value", True), ("ChIP-seq_H3K4me3_signal_p-valeu", True),
        ("ChIP-seq_H3K4mee3_signal_p-value", True), ("ChIP-seq_H3K4me1_signal_p-value", False),
        ("ChIP-seq_H3K9me3_signal_p-value", False), ("ChIP-seq_H3K4ac3_signal_p-value", False),
        ("ChIP-seq_H3K4me3_signal_p-value", False),
    ],
)  # fmt: skip
def test_a_slip_of_the_pen_is_noted(rare, is_slip):
    names = ["ChIP-seq_H3K4me3_signal_p-value"] * 3 + ["CTCF"] * 5
    notes = slips([*names, rare], "assays")
    assert bool(notes) == is_slip
    if is_slip:
        assert f"{rare!r} ('ChIP-seq_H3K4me3_signal_p-value' otherwise)" in notes[0]
    assert slips([*names, rare, rare], "assays") == []
