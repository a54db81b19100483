"""Score imputed tracks, beside the baselines that they must beat."""
