import pandas as pd
import pytest

from epixs.catalog.experiments import read_catalog, write_catalog
from epixs.catalog.portal import select_experiments
from epixs.errors import CatalogError

ROW = {
    "File accession": "F1",
    "File format": "bigWig",
    "Output type": "signal p-value",
    "File assembly": "GRCh38",
    "Experiment accession": "E1",
    "Assay": "Histone ChIP-seq",
    "Biosample term name": "K562",
    "Biosample organism": "Homo sapiens",
    "Experiment target": "H3K4me3-human",
    "Biological replicate(s)": "1, 2",
    "Size": "10",
    "md5sum": "abc",
    "File download URL": "/files/F1/@@download/F1.bigWig",
    "File Status": "released",
    "File analysis title": "ENCODE4 v1.5.1 GRCh38",
    "Biosample treatments": "",
    "Audit ERROR": "",
}


def select(tmp_path, *rows, **options):
    path = tmp_path / "metadata.tsv"
    pd.DataFrame([ROW | row for row in rows]).to_csv(path, sep="\t", index=False)
    return select_experiments(path, **options)


@pytest.mark.parametrize(
    ("row", "assay", "assay_class"),
    [
        ({}, "ChIP-seq_H3K4me3_signal_p-value", "histone"),
        ({"Assay": "ChIP-seq", "Experiment target": "H2AFZ-human"}, "ChIP-seq_H2AFZ_signal_p-value", "histone"),
        ({"Assay": "TF ChIP-seq", "Experiment target": "CTCF-human"}, "ChIP-seq_CTCF_signal_p-value", "protein_binding"),
        ({"Assay": "ChIP-seq", "Experiment target": "POLR2A-human"}, "ChIP-seq_POLR2A_signal_p-value", "protein_binding"),
        ({"Assay": "ChIP-seq", "Experiment target": "HNRNPL-human"}, "ChIP-seq_HNRNPL_signal_p-value", "protein_binding"),
        ({"Assay": "ATAC-seq", "Experiment target": ""}, "ATAC-seq_signal_p-value", "accessibility"),
        (
            {"Assay": "DNase-seq", "Experiment target": "", "Output type": "read-depth normalized signal"},
            "DNase-seq_read-depth_normalized_signal",
            "accessibility",
        ),
        (
            {"Assay": "polyA plus RNA-seq", "Experiment target": "", "Output type": "minus strand signal of all reads"},
            "polyA_RNA-seq_minus_strand_signal_of_all_reads",
            "transcription",
        ),
    ],
)  # fmt: skip
def test_assay_names_and_classes(tmp_path, row, assay, assay_class):
    table = select(tmp_path, row).table
    assert table["assay"].tolist() == [assay]
    assert table["assay_class"].tolist() == [assay_class]
    assert table["path"].tolist() == ["https://www.encodeproject.org/files/F1/@@download/F1.bigWig"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"File format": "bed"}, "not a bigWig"),
        ({"File Status": "archived"}, "not released"),
        ({"Output type": "fold change over control"}, "another output type"),
        ({"Biosample organism": "Danio rerio"}, "organism not in"),
        ({"Experiment target": "Control-human"}, "or a control"),
        ({"Assay": "eCLIP"}, "assay not in"),
        ({"File assembly": "hg17"}, "assembly not in"),
    ],
)
def test_what_is_left_out_is_counted_with_its_reason(tmp_path, row, reason):
    selection = select(tmp_path, {}, {"File accession": "F2", "Experiment accession": "E2"} | row)
    assert selection.table["accession"].tolist() == ["F1"]
    assert [count for why, count in selection.dropped.items() if reason in why] == [1]


def test_strands_become_assays_of_their_own(tmp_path):
    rna = {"Assay": "total RNA-seq", "Experiment target": ""}
    table = select(
        tmp_path,
        rna | {"Output type": "plus strand signal of all reads"},
        rna | {"Output type": "minus strand signal of all reads", "File accession": "F2"},
        rna | {"Output type": "plus strand signal of unique reads", "File accession": "F3"},
    ).table
    assert sorted(table["strand"]) == ["minus", "plus"]


def test_best_file_of_an_experiment(tmp_path):
    table = select(
        tmp_path,
        {
            "File accession": "one-replicate",
            "Biological replicate(s)": "1",
            "File analysis title": "ENCODE4 v9 GRCh38",
        },
        {"File accession": "old", "File analysis title": "ENCODE3 GRCh38"},
        {"File accession": "newest", "File analysis title": "ENCODE4 v1.10.0 GRCh38"},
        {"File accession": "new", "File analysis title": "ENCODE4 v1.9.0 GRCh38"},
        {
            "File accession": "bad",
            "File analysis title": "ENCODE4 v2.0.0 GRCh38",
            "Audit ERROR": "extremely low",
        },
    ).table
    assert table["accession"].tolist() == ["newest"]


def test_one_assembly_the_newest_or_the_one_asked_for(tmp_path):
    rows = [{}, {"File accession": "F2", "File assembly": "hg19"}]
    assert select(tmp_path, *rows).table["accession"].tolist() == ["F1"]
    assert select(tmp_path, *rows, assembly="hg19").table["accession"].tolist() == ["F2"]


def test_perturbed_rna_is_dropped_unless_asked_for(tmp_path):
    row = {
        "Assay": "shRNA RNA-seq",
        "Experiment target": "XRN2-human",
        "Output type": "plus strand signal of all reads",
        "File accession": "F2",
        "Experiment accession": "E2",
    }
    assert len(select(tmp_path, {}, row).table) == 1
    kept = select(tmp_path, {}, row, keep_perturbed=True).table
    assert "shRNA_RNA-seq_XRN2_plus_strand_signal_of_all_reads" in set(kept["assay"])


def test_rna_of_an_edited_biosample_is_perturbed_whatever_its_assay_is_called(tmp_path):
    rna = {
        "Assay": "polyA plus RNA-seq",
        "Experiment target": "",
        "Output type": "plus strand signal of all reads",
        "File accession": "F2",
        "Experiment accession": "E2",
        "Biosample genetic modifications methods": "CRISPR",
    }
    chip = {"Biosample genetic modifications methods": "CRISPR"}  # a tagged protein: kept
    assert select(tmp_path, chip, rna).table["accession"].tolist() == ["F1"]


def test_portal_spellings_of_an_assembly(tmp_path):
    mouse = {"Biosample organism": "Mus musculus", "Experiment target": "H3K4me3-mouse"}
    rows = [
        mouse | {"File assembly": "mm10"},
        mouse
        | {
            "File accession": "F2",
            "Experiment accession": "E2",
            "File assembly": "mm10-minimal",
            "Biosample term name": "liver",
        },
    ]
    assert select(tmp_path, *rows).table["assembly"].tolist() == ["mm10", "mm10"]


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"Biosample treatments": "dexamethasone"}, "K562 treated with dexamethasone"),
        (
            {
                "Biosample treatments": "dexamethasone", "Biosample treatments amount": "100 nM",
                "Biosample treatments duration": "4 hour",
            },
            "K562 treated with 100 nM dexamethasone for 4 hour",
        ),
        (
            {"Biosample treatments": "ionomycin, ethanol", "Biosample treatments amount": "1 uM, 2 %"},
            "K562 treated with 1 uM ionomycin, 2 % ethanol",
        ),
        (
            {"Biosample treatments": "a, b, c", "Biosample treatments duration": "1 day, 2 day"},
            "K562 treated with a, b, c for 1 day, 2 day",
        ),
        (
            {
                "Biosample genetic modifications methods": "CRISPR",
                "Biosample genetic modifications categories": "insertion",
                "Biosample genetic modifications targets": "CTCF",
            },
            "K562 genetically modified (CRISPR insertion CTCF)",
        ),
        ({"Biosample life stage": "embryonic", "Biosample Age": "13.5 day"}, "K562 (embryonic, 13.5 day)"),
        ({"Biosample phase": "G1", "Biosample treatments": "x"}, "K562 (G1) treated with x"),
    ],
)  # fmt: skip
def test_whatever_tells_biosamples_apart_is_in_their_names(tmp_path, row, name):
    other = {"File accession": "F2", "Experiment accession": "E2"} | row
    selection = select(tmp_path, dict.fromkeys(row, ""), other)
    assert set(selection.table["biosample"]) == {"K562", name}
    assert selection.others.empty


def test_the_type_tells_apart_what_shares_a_term(tmp_path):
    rows = [
        {"Biosample term name": "neural cell", "Biosample type": "in vitro differentiated cells"},
        {"Biosample term name": "neural cell", "Biosample type": "primary cell", "File accession": "F2",
         "Experiment accession": "E2"},
        {"Biosample type": "cell line", "File accession": "F3", "Experiment accession": "E3"},
    ]  # fmt: skip
    assert set(select(tmp_path, *rows).table["biosample"]) == {
        "K562", "neural cell (in vitro differentiated cells)", "neural cell (primary cell)",
    }  # fmt: skip


def stages(*rows):
    """Mouse forebrain: (accession, mark, lab, date) of each experiment."""
    return [
        {
            "File accession": f"F{name}", "Experiment accession": f"E{name}", "Biosample organism": "Mus musculus",
            "File assembly": "mm10", "Experiment target": f"{mark}-mouse", "Biosample term name": "forebrain",
            "Lab": lab, "Experiment date released": date,
        }
        for name, mark, lab, date in rows
    ]  # fmt: skip


def test_experiments_that_the_table_does_not_tell_apart_are_taken_from_one_series(tmp_path):
    rows = stages(
        ("1", "H3K4me3", "x", "2020"), ("2", "H3K4me3", "y", "2020"), ("3", "H3K27ac", "y", "2020"),
        ("4", "H3K27ac", "x", "2020"), ("5", "H3K9me3", "y", "2020"), ("6", "H3K36me3", "z", "2021"),
    )  # fmt: skip
    selection = select(tmp_path, *rows)
    assert dict(zip(selection.table["assay"].str.split("_").str[1], selection.table["accession"], strict=True)) == {
        "H3K4me3": "F2", "H3K27ac": "F3", "H3K9me3": "F5", "H3K36me3": "F6",
    }  # fmt: skip
    assert selection.others[["Experiment accession", "chosen instead"]].to_numpy().tolist() == [
        ["E4", "E3"], ["E1", "E2"],
    ]  # fmt: skip
    assert select(tmp_path, *rows[::-1]).table["accession"].tolist() == selection.table["accession"].tolist()


def test_the_date_of_release_tells_series_of_one_laboratory_apart(tmp_path):
    rows = stages(
        ("9", "H3K4me3", "x", "2020"), ("8", "H3K27ac", "x", "2020"),
        ("7", "H3K4me3", "x", "2021"), ("6", "H3K27ac", "x", "2021"), ("5", "H3K9me3", "x", "2021"),
    )  # fmt: skip
    assert sorted(select(tmp_path, *rows).table["accession"]) == ["F5", "F6", "F7"]


@pytest.mark.parametrize("preamble", ["", "2026-11-26 02:00:00\thttps://host/report.tsv?type=Experiment\n"])
def test_the_experiment_report_names_biosamples(tmp_path, preamble):
    rows = stages(
        *((f"{stage}{mark}", mark, "x", "2020") for stage in "AB" for mark in ("H3K4me3", "H3K27ac"))
    )
    lines = ["ID\tAccession\tBiosample summary\tOther"]
    lines += [f"/e/\tE{s}{m}\tforebrain embryo ({s})\t-" for s in "AB" for m in ("H3K4me3", "H3K27ac")]
    (tmp_path / "report.tsv").write_text(preamble + "\n".join(lines) + "\n")
    selection = select(tmp_path, *rows, report=tmp_path / "report.tsv")
    assert selection.table.groupby("biosample").size().to_dict() == {
        "forebrain embryo (A)": 2, "forebrain embryo (B)": 2,
    }  # fmt: skip
    assert selection.others.empty
    assert selection.unnamed == ()
    (tmp_path / "report.tsv").write_text(preamble + "\n".join(lines[:2]) + "\n")
    assert select(tmp_path, *rows, report=tmp_path / "report.tsv").unnamed[0].startswith("E")
    (tmp_path / "report.tsv").write_text("Accession\tTitle\nE1\tx\n")
    with pytest.raises(CatalogError, match=r"missing column .*Biosample summary.*experiment report"):
        select(tmp_path, *rows, report=tmp_path / "report.tsv")


def test_older_tables_call_a_column_otherwise(tmp_path):
    old = {("Assembly" if name == "File assembly" else name): value for name, value in ROW.items()}
    pd.DataFrame([old]).to_csv(tmp_path / "old.tsv", sep="\t", index=False)
    assert select_experiments(tmp_path / "old.tsv").table["assembly"].tolist() == ["hg38"]


def test_core(tmp_path):
    rows = [
        {
            "File accession": f"F{b}{a}",
            "Experiment accession": f"E{b}{a}",
            "Biosample term name": f"b{b}",
            "Experiment target": f"H3K{a}me3-human",
        }
        for b in range(6)
        for a in range(5 if b < 5 else 4)
    ]
    assert len(select(tmp_path, *rows, core=True).table) == 25


def test_nothing_left(tmp_path):
    with pytest.raises(CatalogError, match="no experiment is left; got 1 files: not released"):
        select(tmp_path, {"File Status": "revoked"})


def test_missing_column(tmp_path):
    (tmp_path / "metadata.tsv").write_text("File accession\tAssay\nF1\tx\n")
    with pytest.raises(CatalogError, match="missing column File format"):
        select_experiments(tmp_path / "metadata.tsv")


def test_simulated_portal_table_makes_a_valid_catalog_of_two_species(world):
    selection = select_experiments(world.folder / "metadata.tsv")
    assert set(selection.table["species"]) == {"human", "mouse"}
    assert not selection.table["accession"].str.startswith("SIMX").any()
    write_catalog(selection.table, world.folder / "again.tsv")
    assert len(read_catalog(world.folder / "again.tsv", "mouse").experiments) > 5


FLY = {
    "Biosample organism": "Drosophila melanogaster",
    "File assembly": "dm6",
    "Experiment target": "H3K4me3-dmelanogaster",
    "File accession": "F2",
    "Experiment accession": "E2",
}


def test_an_organism_that_is_not_known_is_named_and_can_be_given_a_name(tmp_path):
    reason = next(iter(select(tmp_path, {}, FLY).dropped))
    assert "(Drosophila melanogaster): --species and --assembly name one" in reason
    older = FLY | {"File accession": "F3", "File assembly": "dm3"}
    chosen = select(tmp_path, {}, FLY, older, species="fly", assembly="dm6")
    assert chosen.table[["species", "assembly", "assay", "accession"]].to_numpy().tolist() == [
        ["fly", "dm6", "ChIP-seq_H3K4me3_signal_p-value", "F2"]
    ]
    assert chosen.dropped["another species than fly"] == 1
    assert select(tmp_path, {}, FLY, species="fly").table["assembly"].tolist() == ["dm6"]
    with pytest.raises(CatalogError, match="comes on several assemblies; got dm3, dm6. Name one: --assembly"):
        select(tmp_path, FLY, older, species="fly")


def test_several_organisms_that_are_not_known_need_a_table(tmp_path):
    worm = FLY | {
        "Biosample organism": "Caenorhabditis elegans",
        "File assembly": "ce11",
        "File accession": "F4",
    }
    worm |= {"Experiment accession": "E4"}
    with pytest.raises(
        CatalogError, match="which organism is fly; got Caenorhabditis elegans, Drosophila melano"
    ):
        select(tmp_path, FLY, worm, species="fly")
    table = tmp_path / "organisms.tsv"
    table.write_text(
        "organism\tspecies\tassemblies\nDrosophila melanogaster\tfly\tdm6,BDGP6=dm6,dm3\nCaenorhabditis elegans\tworm\tce11\n"
    )
    chosen = select(tmp_path, {}, FLY | {"File assembly": "BDGP6"}, worm, organisms=table)
    assert dict(zip(chosen.table["species"], chosen.table["assembly"], strict=True)) == {
        "human": "hg38", "fly": "dm6", "worm": "ce11",
    }  # fmt: skip
    table.write_text("organism\tspecies\tassemblies\nDrosophila melanogaster\t\tdm6\n")
    with pytest.raises(CatalogError, match="line 2; .*expected an organism, a species and its assemblies"):
        select(tmp_path, FLY, organisms=table)


def test_one_known_species_alone(tmp_path):
    mouse = {
        "Biosample organism": "Mus musculus",
        "File assembly": "mm10",
        "Experiment target": "H3K4me3-mouse",
    }
    mouse |= {"File accession": "F2", "Experiment accession": "E2"}
    assert select(tmp_path, {}, mouse, species="mouse").table["accession"].tolist() == ["F2"]
    with pytest.raises(CatalogError, match=r"the table has no mice; got 'mice'.*expected human or mouse"):
        select(tmp_path, {}, mouse, species="mice")


def test_an_assembly_that_is_not_known_can_be_asked_for(tmp_path):
    new = {"File assembly": "T2T-CHM13", "File accession": "F2"}
    assert "(T2T-CHM13): --assembly takes one" in " ".join(select(tmp_path, {}, new).dropped)
    assert select(tmp_path, {}, new, assembly="T2T-CHM13").table["accession"].tolist() == ["F2"]


def test_several_portal_tables_go_together(tmp_path):
    (tmp_path / "b").mkdir()
    rows = [
        ROW,
        ROW | {"File accession": "F2", "Experiment accession": "E2", "Experiment target": "H3K9me3-human"},
    ]
    for folder, row in zip((".", "b"), rows, strict=True):
        pd.DataFrame([row | {"File download URL": "x.bw"}]).to_csv(
            tmp_path / folder / "m.tsv", sep="\t", index=False
        )
    table = select_experiments([tmp_path / "m.tsv", tmp_path / "b" / "m.tsv"]).table
    assert table["path"].tolist() == ["x.bw", "b/x.bw"]
