"""Check that a store is as it was written, and find odd experiments in it."""
