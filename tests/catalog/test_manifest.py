from pathlib import Path

import pandas as pd
import pytest

from epixs.catalog.experiments import read_catalog, write_catalog
from epixs.catalog.portal import select_experiments
from epixs.errors import CatalogError

METADATA = Path(__file__).parents[3] / "shared" / "data" / "metadata"
CORE, SPARSE = METADATA / "ENCODE2018Core.tsv", METADATA / "ENCODE2018Sparse.tsv"

ROWS = [
    ("K562", "ChIP-seq_H3K4me3_signal_p-value", "F1"),
    ("K562", "ChIP-seq_CTCF_signal_p-value", "F2"),
    ("liver male adult (31 years)", "DNase-seq_read-depth_normalized_signal", "F3"),
    ("K562", "polyA_depleted_RNA-seq_plus_strand_signal_of_all_reads", "F4"),
    ("HepG2 genetically modified using RNAi", "shRNA_RNA-seq_XRN2_minus_strand_signal_of_all_reads", "F5"),
    ("K562 genetically modified using CRISPR", "polyA_RNA-seq_plus_strand_signal_of_all_reads", "F6"),
    ("K562 genetically modified using CRISPR", "ChIP-seq_eGFP-CTCF_signal_p-value", "F7"),
    ("K562", "genetic_modification_DNase-seq_read-depth_normalized_signal", "F8"),
]


def manifest(path, rows=ROWS, accession="Accession"):
    pd.DataFrame(
        [
            {
                "Biosample Index": f"J{i}",
                "Biosample": summary.split()[0],
                "Biosample summary": summary,
                "Assay": assay,
                accession: name,
                "Download URL": f"/files/{name}/@@download/{name}.bigWig",
            }
            for i, (summary, assay, name) in enumerate(rows)
        ]
    ).to_csv(path, sep="\t", index=False)
    return path


def test_a_manifest_becomes_a_catalog(tmp_path):
    chosen = select_experiments(manifest(tmp_path / "m.tsv"))
    table = chosen.table.set_index("accession")
    assert table.loc["F3", ["biosample", "assay_class", "output_type", "strand", "path"]].tolist() == [
        "liver male adult (31 years)", "accessibility", "read-depth normalized signal", "",
        "https://www.encodeproject.org/files/F3/@@download/F3.bigWig",
    ]  # fmt: skip
    assert table["assay_class"].to_dict() == {
        "F1": "histone", "F2": "protein_binding", "F3": "accessibility", "F4": "transcription", "F5": "transcription",
        "F6": "transcription", "F7": "protein_binding", "F8": "accessibility",
    }  # fmt: skip
    assert table.loc["F4", "strand"] == "plus"
    assert [name for name, mark in table["perturbed"].items() if mark == "yes"] == ["F5", "F6"]
    assert "assumed human on hg38" in chosen.notes[0]
    write_catalog(chosen.table, tmp_path / "c.tsv")
    again = read_catalog(tmp_path / "c.tsv").experiments
    assert again["perturbed"].tolist() == chosen.table["perturbed"].tolist()


def test_perturbed_experiments_can_be_dropped(tmp_path):
    chosen = select_experiments(manifest(tmp_path / "m.tsv"), keep_perturbed=False)
    assert sorted(chosen.table["accession"]) == ["F1", "F2", "F3", "F4", "F7", "F8"]
    assert "perturbed" not in chosen.table.columns


def test_two_manifests_go_together_and_nothing_comes_twice(tmp_path):
    one = manifest(tmp_path / "a.tsv", ROWS[:4])
    other = manifest(tmp_path / "b.tsv", [*ROWS[3:], ("K562", ROWS[0][1], "F9")], accession="Accession_x")
    chosen = select_experiments([one, other])
    assert sorted(chosen.table["accession"]) == [name for _, _, name in ROWS]
    assert chosen.dropped == {"listed before": 1, "another file of the same biosample and assay": 1}


def test_another_species_and_assembly(tmp_path):
    chosen = select_experiments(manifest(tmp_path / "m.tsv"), species="mouse", assembly="mm10")
    assert set(chosen.table["species"] + chosen.table["assembly"]) == {"mousemm10"}
    assert chosen.notes == ()


def test_a_manifest_and_a_portal_table_are_not_mixed(tmp_path):
    (tmp_path / "metadata.tsv").write_text("File accession\tAssay\n")
    with pytest.raises(CatalogError, match="cannot be joined into one catalog"):
        select_experiments([manifest(tmp_path / "m.tsv"), tmp_path / "metadata.tsv"])
    with pytest.raises(CatalogError, match="--report and --organisms are for a portal table"):
        select_experiments(tmp_path / "m.tsv", report=tmp_path / "r.tsv")


def test_an_assay_without_an_output_type_is_named(tmp_path):
    with pytest.raises(CatalogError, match="assay; got 'ChIP-seq_H3K4me3'; expected a name that ends with"):
        select_experiments(manifest(tmp_path / "m.tsv", [("K562", "ChIP-seq_H3K4me3", "F1")]))


@pytest.mark.skipif(not METADATA.is_dir(), reason="real experiment tables are not beside this checkout")
@pytest.mark.parametrize(
    ("paths", "options", "experiments", "biosamples", "assays"),
    [
        ([CORE], {}, 3_814, 400, 84),
        ([CORE, SPARSE], {}, 6_870, 1_067, 1_365),
        ([CORE, SPARSE], {"keep_perturbed": False}, 5_876, 1_065, 797),  # the paper names 64 + 735 assays
        ([CORE, SPARSE], {"keep_perturbed": False, "core": True}, 3_814, 400, 84),
    ],
)
def test_the_experiments_of_the_paper(tmp_path, paths, options, experiments, biosamples, assays):
    table = select_experiments(paths, **options).table
    assert (len(table), table["biosample"].nunique(), table["assay"].nunique()) == (
        experiments,
        biosamples,
        assays,
    )
    write_catalog(table, tmp_path / "c.tsv")
    catalog = read_catalog(tmp_path / "c.tsv")
    assert (catalog.species, catalog.assembly.name, len(catalog.experiments)) == (
        "human",
        "hg38",
        experiments,
    )
    if options.get("core"):
        core = pd.read_csv(CORE, sep="\t")
        assert set(table["accession"]) == set(core["Accession"])
