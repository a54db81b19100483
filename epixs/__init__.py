"""Epigenomes across species: bigWig tracks to compendia to cross-species imputations."""
