import pytest

from epixs.errors import RegionError
from epixs.genome.assembly import Assembly, read_chrom_alias
from epixs.genome.names import match_chromosomes, plain_name


@pytest.mark.parametrize(
    ("name", "plain"),
    [("chr1", "1"), ("Chr1", "1"), ("1", "1"), ("chrM", "MT"), ("MT", "MT"), ("M", "MT"), ("MtDNA", "MT"),
     ("chrIV", "IV"), ("chr", "chr"), ("chrUn_KI270742v1", "Un_KI270742v1"), ("scaffold_7", "scaffold_7")],
)  # fmt: skip
def test_plain_names(name, plain):
    assert plain_name(name) == plain


UCSC = Assembly("x", {"chr1": 100, "chr2": 200, "chrM": 16})


@pytest.mark.parametrize(
    ("lengths", "names", "other_lengths", "ambiguous"),
    [
        ({"1": 100, "2": 200, "MT": 16}, {"chr1": "1", "chr2": "2", "chrM": "MT"}, (), ()),
        ({"chr1": 100, "1": 100}, {"chr1": "chr1"}, (), ()),
        ({"1": 100, "2": 201}, {"chr1": "1", "chr2": "2"}, ("chr2",), ()),
        ({"1": 100, "CHR1": 99}, {"chr1": "1"}, (), ()),
        ({"1": 100, "CHR1": 100}, {}, (), ("chr1",)),
        ({"1": 98, "CHR1": 99}, {}, (), ("chr1",)),
        ({"NC_1": 100}, {}, (), ()),
        ({}, {}, (), ()),
    ],
)
def test_names_with_and_without_chr(lengths, names, other_lengths, ambiguous):
    match = match_chromosomes(lengths, UCSC)
    assert (match.names, match.other_lengths, match.ambiguous) == (names, other_lengths, ambiguous)


def test_one_name_for_two_chromosomes_is_not_guessed():
    both = Assembly("x", {"1": 100, "Chr1": 100})
    assert match_chromosomes({"chr1": 100}, both).names == {}
    assert match_chromosomes({"chr1": 100}, both).ambiguous == ("1", "Chr1")


@pytest.mark.parametrize(
    "text",
    [
        "# ucsc\tassembly\tensembl\trefseq\nchr1\t1\t1\tNC_1.2\nchr2\t2\t\tNC_2.2\n",
        "1\tchr1\tensembl\nNC_1.2\tchr1\trefseq\n2\tchr2\tassembly,ensembl\nNC_2.2\tchr2\trefseq\n",
        "NC_1.2\tchr1\nNC_2.2\tchr2\r\n\n",
    ],
)
def test_alias_tables_new_old_and_of_ones_own(tmp_path, text):
    (tmp_path / "x.chromAlias.txt").write_text(text)
    assembly = Assembly("x", UCSC.chrom_sizes, read_chrom_alias(tmp_path / "x.chromAlias.txt"))
    assert match_chromosomes({"NC_1.2": 100, "NC_2.2": 200}, assembly).names == {
        "chr1": "NC_1.2",
        "chr2": "NC_2.2",
    }


@pytest.mark.parametrize("text", ["", "# a comment\n", "chr1\n"])
def test_no_alias_table(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(RegionError, match="not a table of chromosome names"):
        read_chrom_alias(tmp_path / "a.txt")
