"""The Zarr store of one species: its format, and how to create, write, read and finish it."""

from epixs.compendium import accessor as accessor  # gives every xarray Dataset its `.epixs`
