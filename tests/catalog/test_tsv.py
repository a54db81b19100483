import pytest

from epixs.catalog.tsv import read_tsv
from epixs.errors import CatalogError


def read(path):
    return read_tsv(path, ("a", "b"), what="catalog", error=CatalogError, next_step="add it")


def test_every_cell_is_text(tmp_path):
    (tmp_path / "t.tsv").write_text('\ufeffa\tb\tc\n01\tNA\t"x\n\t\t\n', encoding="utf-8")
    assert read(tmp_path / "t.tsv").to_numpy().tolist() == [["01", "NA", '"x']]


def test_blank_lines_are_left_out_and_lines_keep_their_numbers(tmp_path):
    (tmp_path / "t.tsv").write_text("a\tb\tc\n\n1\t2\t3\n \t\t\n\n4\t5\t6\n\n")
    table = read(tmp_path / "t.tsv")
    assert table["a"].tolist() == ["1", "4"]
    assert table.index.tolist() == [1, 4]
    (tmp_path / "t.tsv").write_text("a\tb\tc\n\n")
    assert list(read(tmp_path / "t.tsv").columns) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\tb\tb\n1\t2\t3\n", "has a column twice; got b; expected each column once"),
        (b"a\tc\n1\t2\n", "missing column b; got a, c; expected a, b. Add it"),
        (b"a,b\n1,2\n", "is comma-separated; expected tabs. Add it"),
        (b"", "is empty; expected a table of a, b"),
        (b"a\tb\n1\t2\n\n1\x00x\t3\n", r"row 4, column a: an invisible character; got '1.x00x'"),
        (b"a\tb\n\xff\xfe\t1\n", "is not UTF-8 text: .*Save it as text in UTF-8"),
        (b"\xff\xfea\0\t\0b", "is not a tab-separated table|is not UTF-8 text"),
        (b"a b  c\n1 2 3\n", "has spaces between its columns; got 'a b  c'; expected tabs"),
        (b"\x1f\x8b\x08\x00nonsense", "is gzipped; expected text. Unpack it"),
        (b"a\tb\n1\t2\t3\t4\n1\t2\t3\t4\t5\n", "is not a tab-separated table"),
        (b"a\tb\n1\t2\t3\n4\t5\n", "a row has more cells than the header has columns"),
    ],
)
def test_what_is_no_table(tmp_path, content, message):
    (tmp_path / "t.tsv").write_bytes(content)
    with pytest.raises(CatalogError, match=message):
        read(tmp_path / "t.tsv")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le"])
def test_what_a_spreadsheet_saves_as_unicode_text(tmp_path, encoding):
    text = "a\tb\r\nleber (weiß)\t2\r\n"
    (tmp_path / "t.tsv").write_bytes((text if encoding == "utf-16" else "\ufeff" + text).encode(encoding))
    assert read(tmp_path / "t.tsv").to_numpy().tolist() == [["leber (weiß)", "2"]]


def test_what_is_no_file(tmp_path):
    with pytest.raises(CatalogError, match=r"catalog .*none\.tsv does not exist\. Add it"):
        read(tmp_path / "none.tsv")
    with pytest.raises(CatalogError, match="is a folder"):
        read(tmp_path)


def test_a_huge_file_is_refused_unread(tmp_path):
    with (tmp_path / "t.tsv").open("wb") as file:
        file.truncate((1 << 30) + 1)  # sparse: takes no space
    with pytest.raises(CatalogError, match="too large"):
        read(tmp_path / "t.tsv")
