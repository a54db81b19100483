import dataclasses
import json

import numpy as np
import pytest
import xarray as xr

from epixs.compendium.read import open_compendium
from epixs.compendium.status import store_status
from epixs.errors import AxisError, StoreError
from epixs.imputation.pairs import choose_pairs, unknown_biosamples
from epixs.imputation.predict import Predictor
from epixs.imputation.write import impute, open_imputed


@pytest.fixture(scope="module")
def imputed(world, trained):
    path = world.folder / "all.imputed.zarr"
    impute(trained, world.store("mouse"), path)
    return path


def test_default_is_every_pair_not_trained_on(world, trained, imputed, held_out):
    with xr.open_zarr(imputed) as dataset:
        found = set(
            zip(dataset.biosample.to_numpy().tolist(), dataset.assay.to_numpy().tolist(), strict=True)
        )
        assert dataset.attrs["kind"] == "imputed"
        assert dataset.signal.dtype == np.float32
        assert not np.isnan(dataset.signal.to_numpy()).any()
        assert json.loads(dataset.attrs["provenance"])["model_fingerprint"] == trained.fingerprint
    axis = trained.axis
    seen = set(axis.part("mouse").training[["biosample", "assay"]].itertuples(index=False, name=None))
    everything = {(b, a) for b in axis.part("mouse").biosamples for a in axis.assays}
    assert found == everything - seen
    assert {(b, a) for _, b, a in held_out} <= found
    assert any("H3K9me3" in a for _, a in found)  # never performed in mouse


def test_every_imputed_experiment_has_an_accession_of_its_own(world, trained, imputed, held_out, tmp_path):
    with xr.open_zarr(imputed) as dataset:
        accessions = dataset.accession.to_numpy().tolist()
        labels = zip(dataset.biosample.to_numpy(), dataset.assay.to_numpy(), strict=True)
        by_label = dict(zip(labels, accessions, strict=True))
        assert len(set(accessions)) == len(accessions)
        assert dataset.set_xindex("accession").sel(accession=accessions[1]).signal.ndim == 1
    impute(trained, world.store("mouse"), tmp_path / "one.zarr", pairs=held_out[:1])
    alone = open_compendium(tmp_path / "one.zarr").accession.item()
    assert alone == by_label[held_out[0][1:]]  # whatever else is imputed beside it


def test_predictions_are_the_models_bounded_by_what_the_assay_has_shown(world, trained, held_out):
    species, biosample, assay = held_out[0]
    predictor = Predictor(trained, held_out)
    got = predictor.predict(100, 160)
    part, axis = trained.axis.part(species), trained.axis
    inputs = {
        "position": part.positions(np.arange(100, 160)) + axis.offsets(species),
        "biosample": np.full((60, 1), axis.biosample_index(species, [biosample])[0]),
        "assay": np.full((60, 1), axis.assay_index([assay])[0]),
    }
    raw = trained.model(inputs).numpy()[:, 0, 0]
    low, high = trained.bounds[assay]
    np.testing.assert_allclose(got[0], np.clip(raw, low, high), atol=3e-4)
    assert (got >= 0).all()


def test_blocks_do_not_change_predictions(trained, held_out, monkeypatch):
    predictor = Predictor(trained, held_out)
    whole = predictor.predict(0, 700)
    monkeypatch.setattr("epixs.models.avocado.predict.BLOCK_BINS", 7)
    np.testing.assert_array_equal(predictor.predict(0, 700), whole)


def test_lazy_view_is_what_is_written(world, trained, imputed):
    lazy = open_imputed(trained, world.store("mouse"))
    assert lazy.attrs["kind"] == "imputed"
    stored = open_compendium(imputed).signal
    np.testing.assert_allclose(lazy.signal[:, :50].to_numpy(), stored[:, :50].to_numpy(), atol=6e-4)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")  # Zarr's own, of what xarray writes
def test_a_lazy_dataset_is_all_ok_and_its_copy_no_store(world, trained, held_out, tmp_path):
    lazy = open_imputed(trained, world.store("mouse"), pairs=held_out)
    assert lazy.isel(experiment=lazy.status == "ok").sizes == lazy.sizes
    lazy.to_zarr(tmp_path / "copy.zarr")
    with pytest.raises(StoreError, match="is no store, but a copy of a lazy Dataset"):
        open_compendium(tmp_path / "copy.zarr")


def test_all_pairs_and_chosen_pairs(world, trained, held_out):
    axis = trained.axis
    assert len(choose_pairs(trained.axis, "mouse", everything=True)) == len(axis.all_pairs("mouse"))
    assert choose_pairs(trained.axis, "mouse", pairs=held_out) == held_out
    with pytest.raises(AxisError, match=r"no pair of this store's species; got \['mouse'\]; expected human"):
        choose_pairs(trained.axis, "human", pairs=held_out)
    with pytest.raises(AxisError, match="cannot be imputed.*: unknown assay 'ChIP-seq_XYZ'"):
        choose_pairs(trained.axis, "mouse", pairs=[("mouse", "simulated-mouse-00", "ChIP-seq_XYZ")])


def test_interrupted_imputation_resumes(world, trained, held_out, tmp_path, monkeypatch):
    monkeypatch.setattr("epixs.compendium.plan.CHUNK_BINS", 100)
    monkeypatch.setattr("epixs.compendium.plan.FEWEST_SHARD_CHUNKS", 1)

    class Cut(Exception):
        pass

    def stop(progress):
        if progress.tiles_done == 5:
            raise Cut

    path = tmp_path / "i.zarr"
    with pytest.raises(Cut):
        impute(trained, world.store("mouse"), path, pairs=held_out, progress=stop)
    assert store_status(path).tiles_done == 5
    predicted = []
    original = Predictor.predict
    monkeypatch.setattr(Predictor, "predict", lambda self, *a: predicted.append(a) or original(self, *a))
    impute(trained, world.store("mouse"), path, pairs=held_out)
    assert len(predicted) == 15
    assert not np.isnan(open_compendium(path).signal.to_numpy()).any()


def test_model_and_store_must_fit(world, trained, tmp_path, imputed):
    from epixs.catalog.experiments import read_catalog
    from epixs.genome.bed import make_regions
    from epixs.ingestion.run import ingest

    catalog = read_catalog(world.catalog, "mouse")
    other, _ = make_regions(catalog.assembly, [("chr19", 10_000_000, 10_010_000, "part")])
    ingest(catalog, other, tmp_path / "part.zarr")
    with pytest.raises(AxisError, match=r"do not fit together: regions of mouse; got 1 regions, 400 bins"):
        impute(trained, tmp_path / "part.zarr", tmp_path / "i.zarr")
    assert not (tmp_path / "i.zarr").exists()


def test_biosamples_that_the_model_does_not_know_are_named(world, trained, tmp_path):
    from epixs.catalog.experiments import read_catalog
    from epixs.genome.bed import read_regions
    from epixs.ingestion.run import ingest

    assert unknown_biosamples(trained, world.store("mouse")) == []
    catalog = read_catalog(world.catalog, "mouse")
    names = catalog.experiments["biosample"].replace("simulated-mouse-00", "stranger")
    catalog.experiments["biosample"] = names
    regions, _ = read_regions(world.bed("mouse"), catalog.assembly)
    ingest(catalog, regions, tmp_path / "a.zarr")
    assert unknown_biosamples(trained, tmp_path / "a.zarr") == ["stranger"]


def test_species_must_be_known(world, trained, tmp_path):
    from epixs.catalog.experiments import read_catalog
    from epixs.genome.bed import read_regions
    from epixs.ingestion.run import ingest

    catalog = dataclasses.replace(read_catalog(world.catalog, "mouse"), species="rat")
    regions, _ = read_regions(world.bed("mouse"), catalog.assembly)
    ingest(catalog, regions, tmp_path / "a.zarr")
    with pytest.raises(AxisError, match="got 'rat'; expected one of mouse, human"):
        impute(trained, tmp_path / "a.zarr", tmp_path / "i.zarr")


def test_observed_and_imputed_are_never_confused(world, trained, imputed, held_out):
    from epixs.axis.join import joint_axis

    with pytest.raises(AxisError, match="is imputed; expected an observed"):
        joint_axis([imputed])
    with pytest.raises(StoreError, match="holds observed tracks.*Choose another"):
        impute(trained, world.store("mouse"), world.store("mouse"), pairs=held_out)
