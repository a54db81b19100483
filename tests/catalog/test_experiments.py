from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epixs.catalog.experiments import REQUIRED, core_experiments, read_catalog, slug, write_catalog
from epixs.errors import CatalogError

METADATA = Path(__file__).parents[3] / "shared" / "data" / "metadata"
ROW = {
    "species": "human",
    "assembly": "hg19",
    "biosample": "H1",
    "assay": "ChIP-seq_H3K4me3_signal_p-value",
    "assay_class": "histone",
    "accession": "A1",
    "output_type": "signal p-value",
    "path": "a.bw",
}


def write(tmp_path, *rows):
    (tmp_path / "a.bw").write_bytes(b"x")
    path = tmp_path / "catalog.tsv"
    pd.DataFrame([ROW | row for row in rows]).to_csv(path, sep="\t", index=False)
    return path


def test_a_good_catalog(tmp_path):
    path = write(tmp_path, {}, {"biosample": "H9", "accession": "A2"})
    catalog = read_catalog(path)
    assert catalog.species == "human"
    assert catalog.assembly.name == "hg19"
    assert catalog.experiments["path"].tolist() == [str(tmp_path / "a.bw")] * 2
    assert catalog.experiments["strand"].tolist() == ["", ""]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{}, {"accession": "A2"}],
            "row 3, column biosample and assay: got 'H1', 'ChIP-seq_H3K4me3.*first in row 2",
        ),
        ([{}, {"biosample": "H9"}], "row 3, column accession: got 'A1' again"),
        ([{"assembly": "GRCh38"}], "row 2, column assembly: assembly name; got 'GRCh38'; expected hg38"),
        ([{"path": "gone.bw"}], "row 2, column path: got '.*gone.bw', which does not exist"),
        (
            [{}, {"assembly": "hg38", "biosample": "H9", "accession": "A2"}],
            "row 3, column assembly: got 'hg38'; exp",
        ),
        (
            [{"output_type": "fold change over control"}],
            "got 'fold change over control'; expected 'signal p-value'",
        ),
        ([{"assay_class": "histones"}], "row 2, column assay_class: got 'histones'; expected one of histone"),
        ([{"biosample": ""}], "row 2, column biosample: got nothing"),
        ([{"biosample": "(missing)"}], r"row 2, column biosample: got '\(missing\)'; expected a name"),
    ],
)
def test_each_mistake_names_row_column_got_and_expected(tmp_path, rows, message):
    with pytest.raises(CatalogError, match=message):
        read_catalog(write(tmp_path, *rows))


def test_many_mistakes_are_counted_not_all_shown(tmp_path):
    path = write(
        tmp_path, *({"assay_class": "x", "biosample": f"b{i}", "accession": f"A{i}"} for i in range(30))
    )
    with pytest.raises(CatalogError, match=r"30 problems(.|\n)*and 18 more"):
        read_catalog(path)


def test_a_name_shared_by_several_units_is_allowed(tmp_path):
    rows = [
        {"assay": "ChIP-seq_H3K4me3", "output_type": "fold change over control"},
        {"assay": "ChIP-seq_H3K4me3", "biosample": "H9", "accession": "A2"},
    ]
    assert len(read_catalog(write(tmp_path, *rows)).experiments) == 2


def test_strands_are_told_apart_by_the_longest_output_type(tmp_path):
    row = {
        "assay": "polyA_RNA-seq_plus_strand_signal_of_all_reads",
        "output_type": "plus strand signal of all reads",
        "assay_class": "transcription",
    }
    assert len(read_catalog(write(tmp_path, row)).experiments) == 1
    with pytest.raises(CatalogError, match="expected 'plus strand signal of all reads'"):
        read_catalog(write(tmp_path, row | {"output_type": "minus strand signal of all reads"}))


def test_several_species_need_a_choice(tmp_path):
    path = write(tmp_path, {}, {"species": "mouse", "assembly": "mm10", "accession": "A2"})
    with pytest.raises(CatalogError, match=r"several species; got human, mouse.*--species"):
        read_catalog(path)
    assert read_catalog(path, "mouse").assembly.name == "mm10"
    with pytest.raises(CatalogError, match="got 'cattle'; expected 'human' or 'mouse'"):
        read_catalog(path, "cattle")


@pytest.mark.parametrize(("text", "message"), [("", "is empty"), ("a\tb\n1\t2\n", "missing column species")])
def test_what_is_no_catalog(tmp_path, text, message):
    (tmp_path / "c.tsv").write_text(text)
    with pytest.raises(CatalogError, match=message):
        read_catalog(tmp_path / "c.tsv")


def test_missing_catalog_and_binary_catalog(tmp_path):
    with pytest.raises(CatalogError, match="does not exist"):
        read_catalog(tmp_path / "c.tsv")
    (tmp_path / "c.tsv").write_bytes(b"\xff\xfe\x00bin")
    with pytest.raises(CatalogError, match="not a tab-separated table"):
        read_catalog(tmp_path / "c.tsv")


def test_urls_are_not_resolved_nor_looked_for(tmp_path):
    url = "https://host.example/a.bigWig"
    assert read_catalog(write(tmp_path, {"path": url})).experiments["path"].tolist() == [url]


def test_written_catalogs_read_back(tmp_path):
    catalog = read_catalog(write(tmp_path, {}))
    write_catalog(catalog.experiments, tmp_path / "again.tsv")
    again = read_catalog(tmp_path / "again.tsv")
    pd.testing.assert_frame_equal(again.experiments, catalog.experiments)
    assert list(pd.read_csv(tmp_path / "again.tsv", sep="\t").columns)[:8] == list(REQUIRED)


pairs = st.sets(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("ABCDEFGH")), max_size=50)


@given(pairs, st.integers(1, 4))
def test_core_is_the_largest_set_that_satisfies_the_rule(chosen, minimum):
    table = pd.DataFrame(sorted(chosen), columns=["biosample", "assay"]).assign(species="human")
    core = set(core_experiments(table, minimum)[["biosample", "assay"]].itertuples(index=False, name=None))
    left = set(chosen)
    while True:  # oracle: drop one offending pair at a time
        bad = next(
            (
                p
                for p in sorted(left)
                if sum(q[0] == p[0] for q in left) < minimum or sum(q[1] == p[1] for q in left) < minimum
            ),
            None,
        )
        if bad is None:
            break
        left.remove(bad)
    assert core == left


@pytest.mark.skipif(not METADATA.is_dir(), reason="real experiment tables are not beside this checkout")
def test_core_filter_gives_the_papers_core():
    core = pd.read_csv(METADATA / "ENCODE2018Core.tsv", sep="\t")
    sparse = pd.read_csv(METADATA / "ENCODE2018Sparse.tsv", sep="\t")
    everything = pd.concat([core, sparse]).rename(columns={"Assay": "assay", "Biosample Index": "biosample"})
    everything["species"] = "human"
    kept = core_experiments(everything[~everything["assay"].str.contains("shRNA|CRISPR|siRNA")])
    ours = set(zip(kept["biosample"], kept["assay"], strict=True))
    published = set(zip(core["Biosample Index"], core["Assay"], strict=True))
    assert published <= ours


def test_slug():
    assert slug("plus strand  signal of all reads") == "plus_strand_signal_of_all_reads"


def test_passwords_are_refused(tmp_path):
    with pytest.raises(CatalogError, match="column path: got a URL with a user name or password") as caught:
        read_catalog(write(tmp_path, {"path": "https://me:secret@host/a.bigWig"}))
    assert "secret" not in str(caught.value)
