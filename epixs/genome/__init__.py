"""Assemblies, regions and bins: the places on a genome to which values belong."""
