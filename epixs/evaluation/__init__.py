"""Scores of what was imputed, beside the baselines that it has to beat."""
