"""Assemblies, regions and bins: where on a genome a number belongs."""
