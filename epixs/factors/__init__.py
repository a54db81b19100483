"""Fit genome factors of any regions for a trained model, in a store of their own."""
