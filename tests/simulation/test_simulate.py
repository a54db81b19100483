import numpy as np
import pandas as pd
import pyBigWig
import pytest

from epixs.compendium.read import experiments_of, open_compendium
from epixs.errors import ConfigError, StoreError
from epixs.simulation.simulate import ASSAYS, SIZES, draw_species, elsewhere, planted_signal, simulate


def test_the_same_seed_writes_the_same_files(tmp_path, world):
    simulate(tmp_path / "again", size="tiny", seed=1)
    for path in sorted((world.folder / "tracks").iterdir())[:10]:
        assert path.read_bytes() == (tmp_path / "again" / "tracks" / path.name).read_bytes()
    simulate(tmp_path / "other", size="tiny", seed=2)
    one, two = (pd.read_csv(f / "metadata.tsv", sep="\t") for f in (world.folder, tmp_path / "other"))
    assert not one.equals(two)


def test_an_assay_that_differs_is_at_other_elements_in_mouse_and_all_else_is_the_same(tmp_path, world):
    simulate(tmp_path / "differs", size="tiny", seed=1, differs=["H3K27ac"])
    ours = ASSAYS.index(next(assay for assay in ASSAYS if assay.target == "H3K27ac"))
    changed = {
        path.stem
        for path in (world.folder / "tracks").iterdir()
        if path.read_bytes() != (tmp_path / "differs" / "tracks" / path.name).read_bytes()
    }
    mouse = {path.stem for path in (world.folder / "tracks").glob(f"SIM1??{ours:02d}.bigWig")}
    assert changed == mouse != set()


def test_an_experiment_is_what_is_planted_times_depth_and_noise(world):
    """Drawn from the same seed, the elements of mouse explain each of its tracks but for the noise."""
    mouse = SIZES["tiny"][1]
    genome, chosen = draw_species(mouse, np.random.Generator(np.random.PCG64([1, 1])))
    (chrom, start, n_bins), *_ = mouse.regions
    off = []
    for biosample, number in chosen:
        with pyBigWig.open(str(world.folder / "tracks" / f"SIM1{biosample:02d}{number:02d}.bigWig")) as file:
            written = np.nan_to_num(file.values(chrom, start, start + 25 * n_bins, numpy=True)[::25])
        own, other = (
            planted_signal(ASSAYS[number], genome[0], one % mouse.n_biosamples, n_bins)
            for one in (biosample, biosample + 1)
        )
        differ = np.abs(np.log((own + 0.1) / (other + 0.1))) > 1
        off.append([np.log((written + 0.1) / (one + 0.1))[differ] for one in (own, other)])
    of_own, of_other = (np.concatenate(logs) for logs in zip(*off, strict=True))
    assert of_own.size > 50
    assert np.abs(of_own).mean() < 0.3
    assert np.abs(of_other).mean() > 1


def test_no_rule_of_an_assay_that_differs_falls_on_another_or_stays():
    for assay in ASSAYS:
        other = elsewhere(assay)
        assert sorted(other.response.values()) == sorted(assay.response.values())
        assert not set(other.response.items()) & set(assay.response.items())


def test_files_are_real_bigwigs_on_the_whole_assembly(world):
    path = next((world.folder / "tracks").glob("SIM1*00.bigWig"))
    with pyBigWig.open(str(path)) as file:
        assert file.chroms("chr19") == 61_431_566
        assert file.chroms("chr1") == 195_471_971
        assert len(file.intervals("chr19")) > 10


def test_mouse_is_sparser_and_lacks_assays(world):
    tables = {s: experiments_of(open_compendium(world.store(s))) for s in ("human", "mouse")}
    mouse = set(tables["mouse"]["assay"])
    assert not any("H3K9me3" in a for a in mouse)
    assert set(tables["human"]["assay"]) > mouse
    for table in tables.values():
        pairs = table["biosample"].nunique() * table["assay"].nunique()
        assert 0.4 * pairs < len(table) < pairs
        assert {"histone", "protein_binding", "transcription", "accessibility"} == set(table["assay_class"])


def test_rna_is_sparse_and_strands_differ(world):
    dataset = open_compendium(world.store("human"))
    table = experiments_of(dataset)
    rna = table[table["assay_class"] == "transcription"]
    assert set(rna["strand"]) == {"plus", "minus"}
    assert (rna["covered_fraction"] < 0.6).all()
    assert (table.loc[table["assay_class"] == "histone", "covered_fraction"] > 0.9).all()
    first = rna["biosample"].iloc[0]
    plus, minus = (
        dataset.signal[int(rna.index[(rna["biosample"] == first) & (rna["strand"] == s)][0])].to_numpy()
        for s in ("plus", "minus")
    )
    assert np.corrcoef(plus, minus)[0, 1] < 0.5


def test_no_name_passes_for_real(world):
    table = experiments_of(open_compendium(world.store("human")))
    assert table["accession"].str.startswith("SIM").all()
    assert table["biosample"].str.startswith("simulated-").all()


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "thesis.docx").write_text("precious")
    with pytest.raises(StoreError, match="not empty"):
        simulate(tmp_path, size="tiny")
    with pytest.raises(ConfigError, match="seed; got -1"):
        simulate(tmp_path / "new", size="tiny", seed=-1)
    with pytest.raises(ConfigError, match="differs; got 'H3K27' .did you mean 'H3K27ac'"):
        simulate(tmp_path / "new", size="tiny", differs=["H3K27"])
    with pytest.raises(ConfigError, match="size; got 'huge'; expected demo or tiny or large"):
        simulate(tmp_path / "new", size="huge")
    assert not (tmp_path / "new").exists()
