import pytest

from epixs.catalog.pairs import read_pairs, why_unknown
from epixs.errors import AxisError


def test_which_label_is_unknown():
    known = (["liver", "heart"], ["DNase-seq", "H3K4me3"])
    assert why_unknown("livr", "H3K4me3", *known) == "unknown biosample 'livr' (did you mean 'liver'?)"
    assert why_unknown("liver", "RNA", *known) == "unknown assay 'RNA'"
    assert why_unknown("x", "RNA", *known) == "unknown biosample 'x' and unknown assay 'RNA'"
    assert "known, but not together" in why_unknown("liver", "H3K4me3", *known)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("species\tbiosample\nx\ty\n", "missing column assay"),
        ("species\tbiosample\tassay\nx\ty\tz\nx\ty\tz\n", "repeats a pair; got x / y / z"),
        ("", "is empty"),
    ],
)
def test_bad_pairs_files(tmp_path, text, message):
    (tmp_path / "p.tsv").write_text(text)
    with pytest.raises(AxisError, match=message):
        read_pairs(tmp_path / "p.tsv")


def test_pairs_files(tmp_path):
    (tmp_path / "p.tsv").write_text("assay\tspecies\tbiosample\n z \tx\ty\n")
    assert read_pairs(tmp_path / "p.tsv") == [("x", "y", "z")]
    with pytest.raises(AxisError, match=r"--exclude .*none\.tsv does not exist\. Give a tab-separated file"):
        read_pairs(tmp_path / "none.tsv", what="--exclude")
