"""Genome factors of any regions, fitted for a trained model, in a store of their own."""
