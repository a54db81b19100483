"""Fitting a model: plan and cost, the run, what happens between steps."""
