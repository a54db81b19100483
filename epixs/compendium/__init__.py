"""The Zarr store of one species: schema, plan, ledger, store and ingest."""
