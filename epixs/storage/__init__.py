"""Resumable, tiled stores of any content; nothing here is specific to genomes."""
