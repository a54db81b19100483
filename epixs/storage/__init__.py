"""A resumable, tiled store, whatever it holds; knows nothing of genomes."""
