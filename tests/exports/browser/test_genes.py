import gzip

import pytest

from epixs.errors import RegionError
from epixs.exports.browser.genes import Gene, read_genes

BED = "track name=x\nchr1\t100\t200\tAbc\t0\t+\nchr1\t100\t400\tABC\t0\t-\nchr1\t500\t600\nchr2\tx\t1\tbad\n"
GFF3 = (
    "##gff-version 3\nchr1\tx\tgene\t101\t200\t.\t+\t.\tID=gene:1;Name=Abc\n"
    "chr1\tx\texon\t101\t150\t.\t+\t.\tID=e1\nchr2\tx\tgene\t1\t10\t.\t?\t.\tID=only\n"
)
GTF = 'chr1\tx\tgene\t101\t200\t.\t-\t.\tgene_id "ENSG1"; gene_name "Abc";\n'


def test_bed(tmp_path):
    (tmp_path / "g.bed").write_text(BED)
    genes = read_genes(tmp_path / "g.bed")
    assert genes.named("abc") == Gene("chr1", 100, 400, "ABC", "-")
    assert [gene.start for gene in genes.within("chr1", 399, 501)] == [100, 500]
    assert genes.within("chr1", 400, 500) == []
    assert genes.within("chrX", 0, 9) == []
    assert genes.named("") is None


@pytest.mark.parametrize(("name", "text"), [("g.gff3", GFF3), ("g.gtf", GTF), ("g.gff.gz", GFF3)])
def test_gff(tmp_path, name, text):
    opener = gzip.open if name.endswith(".gz") else open
    with opener(tmp_path / name, "wt") as file:
        file.write(text)
    genes = read_genes(tmp_path / name)
    gene = genes.named("ABC")
    assert (gene.chrom, gene.start, gene.end) == ("chr1", 100, 200)
    if "gff-version" in text:
        assert genes.named("only") == Gene("chr2", 0, 10, "only", ".")


def test_names_with_markup_are_inert(tmp_path):
    (tmp_path / "g.bed").write_text("chr1\t0\t9\t<img src=x onerror=alert(1)>\n")
    (gene,) = read_genes(tmp_path / "g.bed").within("chr1", 0, 9)
    assert not set(gene.name) & set("<>&")


def test_only_some_are_drawn_where_there_are_many(tmp_path, monkeypatch):
    monkeypatch.setattr("epixs.exports.browser.genes.MOST_DRAWN", 2)
    (tmp_path / "g.bed").write_text("chr1\t0\t10\tshort\nchr1\t5\t50\tlong\nchr1\t0\t90\tlongest\n")
    assert [gene.name for gene in read_genes(tmp_path / "g.bed").within("chr1", 0, 9)] == ["longest", "long"]


@pytest.mark.parametrize(
    ("name", "data"), [("a.bed", b""), ("a.bed.gz", b"no gzip"), ("a.gff", b"\xff\xfe\0")]
)
def test_what_names_no_gene_is_refused(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RegionError, match=r"names no gene|cannot be read"):
        read_genes(tmp_path / name)


def test_too_many_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("epixs.exports.browser.genes.MOST_GENES", 1)
    (tmp_path / "g.bed").write_text(BED)
    with pytest.raises(RegionError, match="too many genes"):
        read_genes(tmp_path / "g.bed")
