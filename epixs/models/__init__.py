"""Kinds of model, and the folder that a trained one lies in."""
