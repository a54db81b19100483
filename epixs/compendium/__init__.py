"""The Zarr store of one species: its format, creating, writing, reading and finishing it."""
