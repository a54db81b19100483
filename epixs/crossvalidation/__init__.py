"""Folds x training sets x models x seeds: each is fitted, imputes what its fold holds out, and is scored."""
