"""The Zarr store of one species: its format, creating, writing, reading and finishing it."""

from epixs.compendium import accessor as accessor  # gives every xarray Dataset its `.epixs`
