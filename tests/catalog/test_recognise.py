import pytest

from epixs.catalog.portal import select_experiments
from epixs.catalog.recognise import recognise
from epixs.errors import CatalogError

ADDRESS = "https://www.encodeproject.org/metadata/?type=Experiment&cart=/carts/x/"
REPORT = "ID\tAccession\tAssay name\tAssay title\tTarget of assay\tBiosample summary\tFiles\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'"{ADDRESS}"\nhttps://www.encodeproject.org/files/F1/@@download/F1.bigWig\n', rf"files.txt.*curl -L -o metadata.tsv '{ADDRESS.replace('?', '[?]')}'"),
        ("https://host/files/F1/@@download/F1.bigWig\nhttps://host/files/F2/\n", "files.txt.*on the portal, search"),
        (REPORT, "experiment report, which has a line per experiment.*give this report with --report"),
        ("2026-11-26 02:00:00\thttps://host/report.tsv\n" + REPORT, "experiment report"),
        (REPORT.replace("\t", ","), "experiment report"),
        ("ID\tAccession\tDataset\tFile format\tOutput type\n", "file report, which does not say"),
    ],
)  # fmt: skip
def test_other_files_of_the_portal_are_named_with_the_one_to_get(tmp_path, text, message):
    (tmp_path / "x.tsv").write_text(text)
    with pytest.raises(CatalogError, match=message):
        select_experiments(tmp_path / "x.tsv")


@pytest.mark.parametrize("text", ["", "a,b\n", "File accession\tx\n", "\x00\x01"])
def test_anything_else_is_taken_for_metadata(tmp_path, text):
    (tmp_path / "x.tsv").write_text(text)
    assert recognise(tmp_path / "x.tsv") == "metadata"
    assert recognise(tmp_path / "none.tsv") == "metadata"
