"""Kinds of model, and the folder of a trained model."""
