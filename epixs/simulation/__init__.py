"""Simulate a world of known rules, and run all of epixs on it."""
