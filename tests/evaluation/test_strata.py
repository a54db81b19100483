import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epixs.errors import RegionError
from epixs.evaluation.metrics import score
from epixs.evaluation.strata import Annotations, Coverage, read_bed, read_strata
from epixs.evaluation.streaming import Places
from epixs.genome.regions import Regions

WHOLE = Regions("toy", ("r",), ("chr1",), (0,), (25 * 200,))
"""A chromosome of 200 bins as one region."""

intervals = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=8)


def write(path, *lines):
    path.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines))
    return path


def gene(start, end, strand, chrom="chr1"):
    return (chrom, start, end, "g", 0, strand)


@settings(max_examples=50)
@given(intervals, st.booleans(), st.integers(0, 50), st.integers(1, 40))
def test_coverage_is_what_counting_bin_by_bin_gives(found, once, start, width):
    slow = np.zeros(200, dtype=int)
    for low, length in found:
        slow[low : low + length] += 1
    fast = Coverage.of([low for low, _ in found], [low + n for low, n in found], once=once)
    expected = np.minimum(slow, 1) if once else slow
    assert fast.weights(start, start + width).tolist() == expected[start : start + width].tolist()


def test_corrected_strata_count_each_bin_that_they_touch_once(tmp_path):
    genes = write(
        tmp_path / "genes.bed",
        gene(2_500, 2_600, "+"),  # bins 100 to 103; promoter 20 to 99
        gene(2_510, 2_601, "+"),  # the same bins and one more; promoter 20 to 99
        gene(2_500, 2_600, "-"),  # promoter 104 to 183
        gene(500, 525, "+"),  # promoter cut at the chromosome's start: bins 0 to 19
    )
    strata = read_strata(Annotations(genes=genes), WHOLE)
    promoters, bodies, enhancers = (np.flatnonzero(c.weights(0, 200)).tolist() for c in strata.strata)
    assert promoters == [*range(20), *range(20, 100), *range(104, 184)]
    assert bodies == [20, 100, 101, 102, 103, 104]
    assert enhancers == []
    assert max(strata.strata[0].weights(0, 200)) == 1


def test_the_challenge_counts_a_bin_once_per_gene_and_ends_one_bin_late(tmp_path):
    genes = write(tmp_path / "genes.bed", gene(2_500, 2_600, "+"), gene(2_510, 2_601, "-"))
    strata = read_strata(Annotations(genes=genes), WHOLE, "challenge")
    assert strata.strata[1].weights(99, 106).tolist() == [0, 2, 2, 2, 2, 2, 0]  # 2600 // 25 + 1 = 105
    assert np.flatnonzero(strata.strata[0].weights(0, 200)).tolist() == [*range(20, 100), *range(105, 185)]


def test_the_challenge_loses_a_promoter_that_would_begin_before_the_chromosome(tmp_path):
    genes = write(tmp_path / "genes.bed", gene(500, 600, "+"))
    assert read_strata(Annotations(genes=genes), WHOLE, "challenge").strata[0].weights(0, 200).sum() == 0


def test_the_challenge_looks_genes_up_after_the_blacklist_was_deleted(tmp_path):
    """Bins 10 to 14 are deleted, so that bin 100 of the gene is the chromosome's bin 105."""
    black = write(tmp_path / "black.bed", ("chr1", 250, 350))  # 350 // 25 + 1 = 15
    genes = write(tmp_path / "genes.bed", gene(2_500, 2_549, "+"))
    found = read_strata(Annotations(genes=genes, blacklist=black), WHOLE, "challenge")
    assert np.flatnonzero(found.blacklist.weights(0, 200)).tolist() == [10, 11, 12, 13, 14]
    assert np.flatnonzero(found.strata[1].weights(0, 200)).tolist() == [105, 106]
    corrected = read_strata(Annotations(genes=genes, blacklist=black), WHOLE)
    assert np.flatnonzero(corrected.strata[1].weights(0, 200)).tolist() == [100, 101]
    assert np.flatnonzero(corrected.blacklist.weights(0, 200)).tolist() == [10, 11, 12, 13]


def challenge_by_its_code(observed, imputed, genes, blacklist):
    """What the challenge's scoring code does with one chromosome, line by line: promoters and gene bodies."""
    deleted = {b for start, end in blacklist for b in range(start // 25, end // 25 + 1)}
    keep = [i for i in range(len(observed)) if i not in deleted]
    y_true, y_pred = observed[keep], imputed[keep]
    sums = {"prom": [0.0, 0.0], "gene": [0.0, 0.0]}
    for start, end, strand in genes:
        start, end = start // 25, end // 25 + 1
        promoter = slice(start - 80, start) if strand == "+" else slice(end, end + 80)
        for name, part in (("prom", promoter), ("gene", slice(start, end))):
            sums[name][0] += ((y_true[part] - y_pred[part]) ** 2).sum()
            sums[name][1] += y_true[part].shape[0]
    return {f"mse{name}": sse / n for name, (sse, n) in sums.items()}


def test_the_challenge_strata_are_those_of_its_code(tmp_path):
    rng = np.random.default_rng(0)
    observed, imputed = rng.integers(0, 9, (2, 200)).astype(float)
    genes = [
        (2_500, 2_600, "+"),
        (2_560, 3_000, "+"),
        (500, 900, "+"),
        (1_000, 1_500, "-"),
        (4_000, 4_400, "-"),
    ]
    blacklist = [(250, 350), (1_100, 1_124), (3_500, 3_600)]
    files = Annotations(
        genes=write(tmp_path / "genes.bed", *[gene(*g) for g in genes]),
        blacklist=write(tmp_path / "black.bed", *[("chr1", *b) for b in blacklist]),
    )
    strata = read_strata(files, WHOLE, "challenge")
    places = Places(
        strata.blacklist.weights(0, 200) == 0,
        np.stack([c.weights(0, 200) for c in strata.strata]),
        np.empty(0, dtype=bool),
        np.empty(0),
    )
    got = score(np.arcsinh(observed), np.arcsinh(imputed), mode="challenge", places=places)
    expected = challenge_by_its_code(observed, imputed, genes, blacklist)
    assert {name: got[name] for name in expected} == pytest.approx(expected, rel=5e-3)  # steps of 1/2048


def test_strata_lie_on_the_bins_of_regions(tmp_path):
    regions = Regions("toy", ("a", "b"), ("chr2", "chr1"), (1_000, 2_500), (1_500, 3_000))
    enhancers = write(tmp_path / "e.bed", ("chr1", 2_450, 2_550), ("chr2", 1_490, 9_000), ("chr3", 0, 99))
    found = read_strata(Annotations(enhancers=enhancers), regions).strata[2]
    assert np.flatnonzero(found.weights(0, 40)).tolist() == [19, 20, 21]


def test_genes_without_strands_have_no_promoters_and_that_is_said(tmp_path):
    genes = write(tmp_path / "genes.bed", ("chr1", 0, 100))
    found = read_strata(Annotations(genes=genes), WHOLE)
    assert "has no strands" in found.notes[0]
    assert [c.weights(0, 200).sum() for c in found.strata] == [0, 4, 0]


def test_peaks_are_those_of_each_experiment(tmp_path):
    write(tmp_path / "a.bed", ("chr1", 30, 60, "p"))
    table = write(tmp_path / "peaks.tsv", ("biosample", "assay", "path"), ("K562", "H3K4me3", "a.bed"))
    found = read_strata(Annotations(peaks=table), WHOLE)
    assert np.flatnonzero(found.peaks["K562", "H3K4me3"].weights(0, 200)).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([("chr1", "x", 5)], "line 1; got 'chr1"),
        ([("chr1", 9, 5)], "expected 0 <= start <= end"),
        ([("chr9", 0, 5)], "has nothing in the regions"),
    ],
)
def test_bad_annotations_are_refused(tmp_path, lines, message):
    with pytest.raises(RegionError, match=message):
        read_strata(Annotations(genes=write(tmp_path / "genes.bed", *lines)), WHOLE)


def test_bed_files_may_be_gzipped_and_have_headers(tmp_path):
    with gzip.open(tmp_path / "a.bed.gz", "wt") as file:
        file.write("track name=x\n#c\nchr1\t1\t2\nchr1\t3\t4\tname with space\t0\t-\n")
    assert [(i.start, i.strand) for i in read_bed(tmp_path / "a.bed.gz")] == [(1, ""), (3, "-")]
    with pytest.raises(RegionError, match="does not exist"):
        read_bed(tmp_path / "none.bed")


def test_files_that_leave_everything_as_it_is_are_noted(tmp_path):
    blacklist = write(tmp_path / "black.bed", ("1", 0, 5_000))
    assert "has nothing in the regions" in " ".join(
        read_strata(Annotations(blacklist=blacklist), WHOLE).notes
    )
    blacklist = write(tmp_path / "black.bed", ("chr1", 0, 25))
    (note,) = read_strata(Annotations(blacklist=blacklist), WHOLE).notes
    assert note.startswith("1 of 200 bins touch the blacklist and are not scored")
